package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

type settings struct {
	Dir         string        `setting:"dir,required" doc:"directory of the scripts, for instance dnsapi of a copy of acme.sh"`
	Script      string        `setting:"script,required" doc:"which one: dns_nsupdate, or just nsupdate"`
	Env         sdk.SecretMap `setting:"env" doc:"variables of the script (env.NAME); describe with dir and script shows which there are"`
	AccountConf string        `setting:"account_conf" doc:"an account.conf of acme.sh whose settings are taken over"`
	Wait        time.Duration `setting:"wait" default:"20s" doc:"how long to wait, when all records are added, before the CA is asked"`
	CallTimeout time.Duration `setting:"call_timeout" default:"5m" doc:"how long the script may take for one record"`
	Shell       string        `setting:"shell" default:"sh" doc:"what runs the script: a POSIX shell, with arguments if it needs any (busybox sh)"`
	Isolate     bool          `setting:"isolate" doc:"give each record a shell of its own, so that a script finds no variable of the call before"`
}

// source is the script that the settings name.
type source struct {
	// name is dns_NAME, file its path, text what is in it.
	name, file, text string
	shell            []string
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// sourceOf checks the settings and finds the script. It runs nothing of it.
func sourceOf(ctx context.Context, s settings) (source, error) {
	var out source
	if err := errors.Join(checkEnv(s.Env), checkTimes(s)); err != nil {
		return out, err
	}
	shell := strings.Fields(s.Shell)
	if len(shell) == 0 {
		return out, wrong("shell", "name a shell, for instance sh", "setting shell is empty")
	}
	program, err := script.Look("the shell", shell[0])
	if err != nil {
		return out, sdk.Subject(sdk.WithCode(err, sdk.InvalidConfig), "shell")
	}
	out.shell = append([]string{program}, shell[1:]...)
	if err := checkPlace("dir", s.Dir, true); err != nil {
		return out, err
	}
	if out.name, err = nameOf(s); err != nil {
		return out, err
	}
	out.file = filepath.Join(s.Dir, out.name+".sh")
	if err := checkPlace("script", out.file, false); err != nil {
		return out, err
	}
	text, err := os.ReadFile(out.file)
	if err != nil {
		return out, wrong("script", "let this user read it", "read the script: %w", err)
	}
	out.text = string(text)
	if err := out.check(ctx); err != nil {
		return out, err
	}
	if s.AccountConf != "" && !filepath.IsAbs(s.AccountConf) {
		return out, wrong("account_conf", "give the whole path, which another process can find too",
			"setting account_conf is %q, which is not an absolute path", s.AccountConf)
	}
	return out, nil
}

func wrong(setting, hint, format string, args ...any) error {
	err := sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, format, args...))
	return sdk.Subject(sdk.Hint(err, "%s", hint), setting)
}

func checkTimes(s settings) error {
	var errs []error
	if s.Wait < 0 {
		errs = append(errs, wrong("wait", "write a time such as 30s, or 0s", "setting wait is %s, which is in the past", s.Wait))
	}
	if s.CallTimeout <= 0 {
		errs = append(errs, wrong("call_timeout", "write a time such as 5m",
			"setting call_timeout is %s: no script ends in that time", s.CallTimeout))
	}
	return errors.Join(errs...)
}

// ours are variables that the shim needs for itself.
var ours = []string{"IFS", "HTTP_HEADER", "ACCOUNT_CONF_PATH", "DOMAIN_CONF", "LE_CONFIG_HOME", "LE_WORKING_DIR"}

func checkEnv(env sdk.SecretMap) error {
	var errs []error
	for name := range env {
		if !identifier.MatchString(name) {
			errs = append(errs, wrong("env."+name, "write it as the script does", "%q cannot be the name of a variable", name))
		} else if slices.Contains(ours, name) || strings.HasPrefix(name, "_cw_") {
			errs = append(errs, wrong("env."+name, "leave it out", "the variable %s is set by this plugin", name))
		}
	}
	return errors.Join(errs...)
}

// checkPlace refuses what others could have written: it is run with all that this
// user may do.
func checkPlace(setting, path string, dir bool) error {
	if !filepath.IsAbs(path) {
		return wrong(setting, "give the whole path", "setting %s is %q, which is not an absolute path", setting, path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !dir:
		return missing(path)
	case err != nil:
		return wrong(setting, "correct the path, or let this user read it", "find the directory of the scripts: %w", err)
	case dir != info.IsDir():
		return wrong(setting, "correct the path", "%s is %s", path, map[bool]string{true: "no directory", false: "a directory"}[dir])
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return wrong(setting, fmt.Sprintf("make it root's, or the user's that runs certwright: chown %d %s", os.Geteuid(), path),
			"%s belongs to user %d, who could have anything run as user %d by it", path, stat.Uid, os.Geteuid())
	}
	mode := info.Mode().Perm()
	if mode&0o002 != 0 || mode&0o020 != 0 && stat.Gid != 0 && int(stat.Gid) != os.Getegid() {
		return wrong(setting, "run chmod go-w "+path, "%s may be written by others (mode %04o), who could have anything run by it", path, mode)
	}
	return nil
}

// nameOf takes dns_x, x and dns_x.sh.
func nameOf(s settings) (string, error) {
	name := strings.TrimSuffix(s.Script, ".sh")
	if !strings.HasPrefix(name, "dns_") {
		name = "dns_" + name
	}
	if !identifier.MatchString(name) || name == "dns_" {
		return "", wrong("script", "write the name of a file in dir, such as dns_nsupdate", "setting script is %q, which is not the name of a script", s.Script)
	}
	return name, nil
}

// missing says which scripts there are.
func missing(path string) error {
	dir, name := filepath.Split(path)
	files, err := filepath.Glob(filepath.Join(dir, "dns_*.sh"))
	if err != nil || len(files) == 0 {
		return wrong("dir", "name the directory that holds the dns_*.sh files", "there is no dns_*.sh in %s", dir)
	}
	var near, all []string
	for _, f := range files {
		other := strings.TrimSuffix(filepath.Base(f), ".sh")
		all = append(all, other)
		word, mine := strings.TrimPrefix(other, "dns_"), strings.TrimSuffix(strings.TrimPrefix(name, "dns_"), ".sh")
		if strings.Contains(word, mine) || strings.Contains(mine, word) {
			near = append(near, other)
		}
	}
	if len(near) == 0 {
		near = all
	}
	const most = 12
	hint := "use one of those that are there: " + strings.Join(near[:min(len(near), most)], ", ")
	if len(near) > most {
		hint += fmt.Sprintf(" and %d more", len(near)-most)
	}
	return wrong("script", hint, "there is no %s in %s", name, dir)
}

// check looks for the two functions and for mistakes that the shell finds without
// running anything.
func (s source) check(ctx context.Context) error {
	for _, action := range []string{add, remove} {
		function := s.name + "_" + action
		if !regexp.MustCompile(`(?m)^\s*(function\s+)?` + function + `\s*(\(\)|\{)`).MatchString(s.text) {
			return wrong("script", "name a script of acme.sh's dnsapi, or one of the same kind", "%s has no function %s", s.file, function)
		}
	}
	_, err := script.Run(ctx, script.Command{
		Name: s.file, Path: s.shell[0], Args: append(slices.Clone(s.shell[1:]), "-n", s.file), Limit: 20 * time.Second,
		Hint: "mend the script, or set shell to the one that it was written for",
	})
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	p := sdk.ProblemOf(err)
	return wrong("script", p.Hint, "%s cannot be read by %s: %s", s.file, strings.Join(s.shell, " "), p.Detail)
}
