package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// facts are what httpd itself says of its configuration.
type facts struct {
	version    [3]int
	serverRoot string
	configFile string
	pidFile    string
	modules    map[string]bool
	defines    map[string]string
	// environment are the variables that ${} may name beside the defines.
	environment map[string]string
}

const (
	searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	shell      = "/bin/sh"
	// outputLimit bounds what an error quotes, in bytes.
	outputLimit = 4 << 10
)

// command makes one of httpd, with the environment that Debian's scripts set.
func (s settings) command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	ctl, err := s.control()
	if err != nil {
		return nil, err
	}
	all := []string{ctl}
	env := []string{"PATH=" + searchPath, "LC_ALL=C"}
	if s.ServerRoot != "" {
		all = append(all, "-d", s.ServerRoot)
		env = append(env, "APACHE_CONFDIR="+s.ServerRoot)
	}
	if config := s.explicitConfig(); config != "" {
		all = append(all, "-f", config)
	}
	all = append(all, args...)
	if vars := s.envvars(); vars != "" && !strings.HasSuffix(ctl, "ctl") {
		// httpd itself does not read this file.
		all = append([]string{shell, "-c", `. "$0" && exec "$@"`, vars}, all...)
	}
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Env, cmd.Dir = env, "/"
	cmd.WaitDelay = 2 * time.Second
	return cmd, nil
}

// explicitConfig is what -f is to say; empty: nothing.
func (s settings) explicitConfig() string {
	if s.Config != standardConfig {
		return s.Config
	}
	return ""
}

// envvars is Debian's file of variables that its configuration uses.
func (s settings) envvars() string {
	dirs := []string{s.ServerRoot}
	if s.ServerRoot == "" {
		dirs = []string{filepath.Dir(s.Config)}
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, "envvars")
		if _, err := os.Stat(path); err == nil && dir != "" {
			return path
		}
	}
	return ""
}

// output runs httpd; its words are the problem's detail if it fails.
func (s settings) output(ctx context.Context, args ...string) (string, error) {
	cmd, err := s.command(ctx, args...)
	if err != nil {
		return "", err
	}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("run %s %s: %w", cmd.Path, strings.Join(args, " "), context.Cause(ctx))
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return out.String(), nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		p := sdk.Problemf(sdk.NotInstalled, "run %s: %w", cmd.Path, err)
		p.Hint = "install Apache httpd, or correct the setting ctl"
		return "", p
	}
	return "", &refusal{words: lastWords(errOut.String(), out.String())}
}

// refusal is what httpd says when it does not take its configuration.
type refusal struct{ words string }

func (r *refusal) Error() string { return r.words }

// lastWords is the end of what was said, on standard error if anything was.
func lastWords(texts ...string) string {
	for _, text := range texts {
		text = strings.TrimSpace(strings.ToValidUTF8(text, "?"))
		if len(text) > outputLimit {
			text = "… " + strings.ToValidUTF8(text[len(text)-outputLimit:], "")
		}
		if text != "" {
			return text
		}
	}
	return "it says nothing"
}

// test has httpd read its configuration.
func (s settings) test(ctx context.Context) error {
	_, err := s.output(ctx, "-t")
	return s.refused(err)
}

// refused makes a problem of a refusal, with httpd's own words, which have file
// and line.
func (s settings) refused(err error) error {
	var r *refusal
	if !errors.As(err, &r) {
		return err
	}
	p := sdk.Problemf(sdk.ConfigTestFailed, "httpd does not accept its configuration")
	p.Detail = r.words
	p.Hint = "mend what it names, and try " + s.spoken("-t")
	return p
}

// spoken is the command line that a person would type.
func (s settings) spoken(args ...string) string {
	cmd, err := s.command(context.Background(), args...)
	if err != nil {
		return "httpd " + strings.Join(args, " ")
	}
	text := strings.Join(cmd.Args, " ")
	if cmd.Path == shell {
		text = ". " + strings.Join(cmd.Args[3:4], "") + " && " + strings.Join(cmd.Args[4:], " ")
	} else if s.ServerRoot != "" && strings.HasSuffix(cmd.Args[0], "ctl") {
		text = "APACHE_CONFDIR=" + s.ServerRoot + " " + text
	}
	return text
}

var (
	versionLine = regexp.MustCompile(`(?m)^Server version: Apache/(\d+)\.(\d+)\.(\d+)`)
	builtWith   = regexp.MustCompile(`(?m)^\s*-D ([A-Z_]+)="(.*)"$`)
	runLine     = regexp.MustCompile(`(?m)^(ServerRoot|PidFile): "(.*)"$`)
	defineLine  = regexp.MustCompile(`(?m)^Define: ([^=\n]+)(?:=(.*))?$`)
	moduleLine  = regexp.MustCompile(`(?m)^ (\w+) \((?:static|shared)\)$`)
)

// ask gathers the facts. A configuration that is broken is a refusal here.
func (s settings) ask(ctx context.Context) (facts, error) {
	built, err := s.output(ctx, "-V")
	if err != nil {
		return facts{}, s.refused(err)
	}
	dump, err := s.output(ctx, "-t", "-D", "DUMP_RUN_CFG", "-D", "DUMP_MODULES")
	if err != nil {
		return facts{}, s.refused(err)
	}
	f, err := s.understand(built, dump)
	if err == nil {
		f.environment, err = s.environment(ctx)
	}
	return f, err
}

// environment gives the variables that Debian's configuration uses.
func (s settings) environment(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	vars := s.envvars()
	if vars == "" {
		return out, nil
	}
	cmd := exec.CommandContext(ctx, shell, "-c", `. "$0" >&2 && exec env`, vars)
	cmd.Env, cmd.Dir = []string{"PATH=" + searchPath, "LC_ALL=C"}, "/"
	if s.ServerRoot != "" {
		cmd.Env = append(cmd.Env, "APACHE_CONFDIR="+s.ServerRoot)
	}
	cmd.WaitDelay = 2 * time.Second
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read the variables in %s: %w", vars, err)
	}
	for entry := range strings.SplitSeq(string(text), "\n") {
		if name, value, ok := strings.Cut(entry, "="); ok {
			out[name] = value
		}
	}
	return out, nil
}

func (s settings) understand(built, dump string) (facts, error) {
	f := facts{modules: map[string]bool{}, defines: map[string]string{}}
	m := versionLine.FindStringSubmatch(built)
	if m == nil {
		return f, sdk.Problemf(sdk.Unsupported, "httpd does not say its version: %s", lastWords(built))
	}
	for i := range f.version {
		f.version[i], _ = strconv.Atoi(m[i+1]) // digits, by the pattern
	}
	if f.version[0] != 2 || f.version[1] < 4 {
		p := sdk.Problemf(sdk.Unsupported, "httpd %s is not supported", strings.Join(m[1:], "."))
		p.Hint = "update to httpd 2.4"
		return f, sdk.Permanent(p)
	}
	compiled := map[string]string{}
	for _, m := range builtWith.FindAllStringSubmatch(built, -1) {
		compiled[m[1]] = m[2]
	}
	for _, m := range runLine.FindAllStringSubmatch(dump, -1) {
		if m[1] == "ServerRoot" {
			f.serverRoot = m[2]
		} else {
			f.pidFile = m[2]
		}
	}
	for _, m := range defineLine.FindAllStringSubmatch(dump, -1) {
		if !strings.HasPrefix(m[1], "DUMP_") {
			f.defines[m[1]] = m[2]
		}
	}
	for _, m := range moduleLine.FindAllStringSubmatch(dump, -1) {
		f.modules[m[1]] = true
	}
	root := s.ServerRoot
	if root == "" {
		root = compiled["HTTPD_ROOT"]
	}
	f.configFile = s.explicitConfig()
	if f.configFile == "" {
		f.configFile = compiled["SERVER_CONFIG_FILE"]
	}
	if !filepath.IsAbs(f.configFile) {
		f.configFile = filepath.Join(root, f.configFile)
	}
	if f.serverRoot == "" {
		f.serverRoot = root
	}
	return f, nil
}
