package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// program is the nginx that the settings name.
type program struct {
	settings settings
	// path, version and built-in paths, as it says itself.
	path    string
	version string
	built   map[string]string
}

// searchPath is the same however certwright was started, by cron too.
var searchPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// leastVersion has all that is used here; -e came with it too.
const leastVersion = "1.19.5"

// find looks for the program and asks it what it is.
func (s settings) find(ctx context.Context) (*program, error) {
	p := &program{settings: s, built: map[string]string{}}
	var err error
	if p.path, err = locate(s.Binary); err != nil {
		problem := sdk.Permanent(sdk.Subject(sdk.WithCode(fmt.Errorf("find nginx: %w", err), sdk.NotInstalled), "binary"))
		return nil, sdk.Hint(problem, "install nginx, or name the program in the setting binary")
	}
	out, err := p.run(ctx, "-V")
	if err != nil {
		return nil, sdk.Subject(sdk.Problemf(sdk.NotInstalled, "ask %s for its version: %w: %s", p.path, err, out), "binary")
	}
	for _, m := range builtIn.FindAllStringSubmatch(out, -1) {
		p.built[m[1]] = strings.Trim(m[2], "'")
	}
	if m := versionLine.FindStringSubmatch(out); m != nil {
		p.version = m[1]
	}
	switch {
	case older(p.version, leastVersion) && s.ErrorLog != "":
		err = sdk.Problemf(sdk.Unsupported, "%s is version %s, which does not know -e", p.path, p.version)
		return nil, sdk.Hint(sdk.Subject(sdk.Permanent(err), "error_log"), "take out the setting error_log, or update nginx to %s", leastVersion)
	case !strings.Contains(out, "--with-http_ssl_module") || !strings.Contains(out, "TLS SNI support enabled"):
		err = sdk.Problemf(sdk.Unsupported, "%s is built without TLS with server names", p.path)
		return nil, sdk.Hint(sdk.Subject(sdk.Permanent(err), "binary"), "install an nginx with the module http_ssl")
	}
	return p, nil
}

var (
	builtIn     = regexp.MustCompile(`--([a-z-]+)=('[^']*'|\S+)`)
	versionLine = regexp.MustCompile(`(?m)^nginx version: \S*?([0-9]+(?:\.[0-9]+)+)`)
)

func locate(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, executable(name)
	}
	for _, dir := range searchPath {
		path := filepath.Join(dir, name)
		if executable(path) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no program %s in %s", name, strings.Join(searchPath, ":"))
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable", path)
	}
	return nil
}

// older compares versions by their numbers.
func older(version, than string) bool {
	a, b := strings.Split(version, "."), strings.Split(than, ".")
	for i := range b {
		n := 0
		if i < len(a) {
			n, _ = strconv.Atoi(a[i])
		}
		m, _ := strconv.Atoi(b[i])
		if n != m {
			return n < m
		}
	}
	return false
}

// args are those that say which nginx is meant.
func (p *program) args(more ...string) []string {
	var out []string
	if p.settings.Prefix != "" {
		out = append(out, "-p", strings.TrimSuffix(p.settings.Prefix, "/")+"/")
	}
	out = append(out, "-c", p.settings.Config)
	if p.settings.ErrorLog != "" {
		out = append(out, "-e", p.settings.ErrorLog)
	}
	return append(out, more...)
}

// outputLimit bounds what an error quotes, in bytes.
const outputLimit = 8 << 10

func (p *program) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Env, cmd.Dir = []string{"PATH=" + strings.Join(searchPath, ":")}, "/"
	cmd.WaitDelay = 2 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s was stopped: %w", p.path, ctx.Err())
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	text := strings.TrimSpace(strings.ToValidUTF8(out.String(), "?"))
	if len(text) > outputLimit {
		text = strings.ToValidUTF8(text[:outputLimit], "") + " …"
	}
	return text, err
}

// test has nginx check its configuration.
func (p *program) test(ctx context.Context) error {
	out, err := p.run(ctx, p.args("-t", "-q")...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	problem := sdk.Problemf(sdk.ConfigTestFailed, "nginx does not accept its configuration %s (%w)", p.settings.Config, err)
	problem.Detail = out
	problem.Hint = "mend what nginx complains about; check it with: " + p.command("-t")
	if strings.Contains(out, "(13: Permission denied)") {
		problem.Hint += "; if that is content with it, the sandbox is in the way: name the directory of the file in the setting writes"
	}
	return problem
}

// command is what a user types.
func (p *program) command(args ...string) string {
	words := []string{p.path}
	all := p.args(args...)
	if p.isSystem() {
		all = args
	}
	for _, a := range all {
		if strings.ContainsAny(a, " \t'\"\\$*?;&|<>()") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// isSystem says whether this is the nginx of the system: all is as built.
func (p *program) isSystem() bool {
	return p.settings.Prefix == "" && p.settings.ErrorLog == "" && p.settings.Config == p.built["conf-path"]
}

func (p *program) prefix() string {
	if p.settings.Prefix != "" {
		return p.settings.Prefix
	}
	return p.built["prefix"]
}

// pidFile is where the master's number is.
func (p *program) pidFile(c *configuration) string {
	path := p.built["pid-path"]
	if path == "" {
		path = "logs/nginx.pid"
	}
	c.each(c.main, c.main.root, func(at place) {
		if at.node.name() == "pid" && !at.node.isBlock() {
			path = at.node.arg(1)
		}
	})
	return p.absolute(path)
}

func (p *program) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.prefix(), path)
}

// errorLogs are where nginx may say why a reload failed.
func (p *program) errorLogs(c *configuration) []string {
	var out []string
	add := func(path string) {
		if path != "" && path != "stderr" && !strings.HasPrefix(path, "syslog:") && !strings.HasPrefix(path, "memory:") {
			out = append(out, p.absolute(path))
		}
	}
	c.each(c.main, c.main.root, func(at place) {
		if at.node.name() == "error_log" && !at.node.isBlock() {
			add(at.node.arg(1))
		}
	})
	add(p.settings.ErrorLog)
	add(p.built["error-log-path"])
	return out
}

// master gives the process that runs; 0: none does.
func (p *program) master(c *configuration) (int, error) {
	data, err := os.ReadFile(p.pidFile(c))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find out whether nginx runs: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 || !isNginx(pid, p.path) {
		return 0, nil //nolint:nilerr // nginx -t leaves an empty file where there was none
	}
	return pid, nil
}
