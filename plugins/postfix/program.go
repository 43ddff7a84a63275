package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
)

// programs run Postfix's own commands on one configuration.
type programs struct {
	settings settings
	// confined: in a sandbox nothing may chroot, which postsuper does, and without
	// postsuper neither "postfix check" nor "postfix reload" succeeds.
	confined bool
}

// inSandbox says whether root is refused what root may do: chroot, which to /
// changes nothing, or to write Postfix's pid file, as its own commands do.
func inSandbox(s settings) bool {
	if os.Geteuid() != 0 {
		return false
	}
	f, err := os.OpenFile(s.pidFile(), os.O_RDWR, 0)
	if err == nil {
		_ = f.Close()
	}
	return errors.Is(err, fs.ErrPermission) || syscall.Chroot("/") != nil
}

// searchPath is the same however certwright was started, by cron too.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// leastVersion is the first with smtpd_tls_chain_files.
const leastVersion = "3.4"

// outputLimit bounds what an error quotes, in bytes.
const outputLimit = 8 << 10

func (p programs) path(name string) string { return filepath.Join(p.settings.CommandDirectory, name) }

// find says whether Postfix is there and new enough.
func (p programs) find(ctx context.Context) (version string, err error) {
	for _, name := range []string{"postconf", "postfix"} {
		info, err := os.Stat(p.path(name))
		if err == nil && (!info.Mode().IsRegular() || info.Mode()&0o111 == 0) {
			err = fmt.Errorf("%s is not executable", p.path(name))
		}
		if err != nil {
			err = sdk.Permanent(sdk.Subject(sdk.WithCode(fmt.Errorf("find Postfix: %w", err), sdk.NotInstalled), "command_directory"))
			return "", sdk.Hint(err, "install postfix, or name the directory of its programs in the setting command_directory")
		}
	}
	if _, err := os.Stat(p.settings.mainCF()); err != nil {
		err = sdk.Permanent(sdk.Subject(sdk.WithCode(fmt.Errorf("find Postfix's configuration: %w", err), sdk.InvalidConfig), "config_dir"))
		return "", sdk.Hint(err, "correct the setting config_dir")
	}
	found, err := p.postconf(ctx, "-d", "mail_version")
	if err != nil {
		return "", sdk.WithCode(err, sdk.NotInstalled)
	}
	version = found["mail_version"]
	if older(version, leastVersion) {
		err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "%s is of Postfix %s, which does not know smtpd_tls_chain_files", p.path("postconf"), version))
		return "", sdk.Hint(err, "update Postfix to %s or later, or use the installer files", leastVersion)
	}
	return version, nil
}

// postconf asks for parameters, or whatever else it prints as "name = value".
func (p programs) postconf(ctx context.Context, args ...string) (map[string]string, error) {
	out, err := p.postconfLines(ctx, args...)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, line := range out {
		if name, value, ok := strings.Cut(line, " ="); ok {
			values[name] = strings.TrimSpace(value)
		}
	}
	return values, nil
}

func (p programs) postconfLines(ctx context.Context, args ...string) ([]string, error) {
	out, words, err := p.run(ctx, "postconf", append([]string{"-c", p.settings.ConfigDir}, args...)...)
	if err != nil {
		return nil, p.unreadable(err, words)
	}
	var lines []string
	for line := range strings.Lines(out) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

func (p programs) unreadable(err error, words string) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	problem := sdk.Problemf(sdk.ConfigTestFailed, "read Postfix's configuration in %s (%w)", p.settings.ConfigDir, err)
	problem.Detail = words
	return sdk.Hint(problem, "mend what postconf complains about; check it with: %s", p.command("postconf", "-n"))
}

// edited gives main.cf as "postconf -e" makes it: of a copy, so that nobody sees
// it before it is to be seen.
func (p programs) edited(ctx context.Context, dir string, content []byte, edits []string) (_ []byte, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil { // a crash may have left it
		return nil, fmt.Errorf("make room for an edited main.cf: %w", err)
	}
	if n := len(content); n > 0 && content[n-1] != '\n' {
		content = append(bytes.Clone(content), '\n') // or postconf would go on in the last line
	}
	copied := filepath.Join(dir, "main.cf")
	if err := os.WriteFile(copied, content, 0o600); err != nil {
		return nil, fmt.Errorf("copy main.cf: %w", err)
	}
	_, words, err := p.run(ctx, "postconf", append([]string{"-c", dir, "-e"}, edits...)...)
	if err != nil {
		problem := sdk.Problemf(sdk.Internal, "have postconf edit a copy of %s (%w)", p.settings.mainCF(), err)
		problem.Detail = words
		return nil, problem
	}
	return os.ReadFile(copied)
}

// check has Postfix look at its configuration. What "postfix check" finds it tells
// its log only, unless it speaks to a terminal; postconf and postmap tell anybody.
func (p programs) check(ctx context.Context) error {
	for _, what := range []string{"-n", "-M", "-P"} {
		if _, err := p.postconfLines(ctx, what); err != nil {
			return err
		}
	}
	if err := p.checkValues(ctx); err != nil {
		return err
	}
	if p.confined {
		return p.checkConfined(ctx)
	}
	out, words, err := p.run(ctx, "postfix", "-c", p.settings.ConfigDir, "check")
	if err == nil || ctx.Err() != nil {
		return err
	}
	problem := p.refused(strings.TrimSpace(out + words))
	if problem.Detail == "" {
		problem.Detail = fmt.Sprintf("it says why in its log only (%v)", err)
	}
	if os.Geteuid() != 0 {
		return sdk.Hint(sdk.WithCode(problem, sdk.PermissionDenied), "run certwright as root: the command postfix is for the superuser only")
	}
	return problem
}

// checkValues has a program of Postfix read main.cf as its daemons do, and as
// postconf does not: a value that is refused here would end the master process
// when it reloads. Looking something up in an empty table is the least of them.
func (p programs) checkValues(ctx context.Context) error {
	_, words, err := p.run(ctx, "postmap", "-c", p.settings.ConfigDir, "-q", "x", "static:x")
	var exit *exec.ExitError
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case !errors.As(err, &exit):
		return p.refused(fmt.Sprintf("have postmap read it: %v", err))
	case p.confined && strings.Contains(words, "Permission denied"):
		return nil // to root it is the sandbox that says so, and Postfix is in none
	}
	return p.refused(words)
}

// directories are those without which no command of Postfix does anything.
var directories = []string{"daemon_directory", "queue_directory", "data_directory", "meta_directory", "shlib_directory"}

// checkConfined holds what "postfix check" demands of the configuration, besides
// the queue being in order.
func (p programs) checkConfined(ctx context.Context) error {
	if _, err := os.Stat(p.settings.masterCF()); err != nil {
		return p.refused(err.Error())
	}
	values, err := p.postconf(ctx, append([]string{"-x", "maillog_file"}, directories...)...)
	if err != nil {
		return err
	}
	for _, name := range directories {
		dir := values[name]
		if name == "shlib_directory" && dir == "no" {
			continue
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return p.refused(fmt.Sprintf("%s = %s: there is no such directory", name, dir))
		}
	}
	if values["maillog_file"] == "" {
		return nil
	}
	services, err := p.postconfLines(ctx, "-M", "postlog/unix-dgram")
	if err == nil && len(services) == 0 {
		err = p.refused("maillog_file is set, and master.cf lacks the service postlog")
	}
	return err
}

func (p programs) refused(detail string) *sdk.Problem {
	problem := sdk.Problemf(sdk.ConfigTestFailed, "Postfix does not accept its configuration in %s", p.settings.ConfigDir)
	problem.Detail = detail
	problem.Hint = "see why by: " + p.command("postfix", "check")
	return problem
}

// running says whether the master process of this configuration lives.
func (p programs) running(ctx context.Context) (bool, error) {
	if p.confined {
		pid, err := p.master()
		return pid != 0, err
	}
	_, _, err := p.run(ctx, "postfix", "-c", p.settings.ConfigDir, "status")
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return false, ctx.Err()
	}
	return err == nil, err
}

// master gives the process in Postfix's pid file, which it keeps locked as long
// as it lives; 0: it does not.
func (p programs) master() (pid int, err error) {
	f, err := os.Open(p.settings.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err == nil {
		defer func() { _ = f.Close() }()
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if err == nil {
			return 0, nil // nobody has it
		}
		const digits = 64
		text := make([]byte, digits)
		var n int
		if n, err = f.ReadAt(text, 0); err == nil || errors.Is(err, io.EOF) {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text[:n])))
		}
	}
	if err == nil && pid <= 1 {
		err = fmt.Errorf("%d is no process of Postfix", pid)
	}
	if err != nil {
		err = sdk.Subject(sdk.WithCode(fmt.Errorf("find Postfix's master process: %w", err), sdk.InvalidConfig), "queue_directory")
		return 0, sdk.Hint(err, "set queue_directory to what main.cf says")
	}
	return pid, nil
}

// reload has the master process read main.cf. Connections that are open go on.
func (p programs) reload(ctx context.Context) error {
	if p.confined {
		return p.hangUp()
	}
	out, words, err := p.run(ctx, "postfix", "-c", p.settings.ConfigDir, "reload")
	if err == nil || ctx.Err() != nil {
		return err
	}
	problem := sdk.Problemf(sdk.Unavailable, "have Postfix reload (%w)", err)
	problem.Detail = strings.TrimSpace(out + words)
	return sdk.Hint(problem, "see Postfix's log, and try: %s", p.command("postfix", "reload"))
}

// hangUp is what "postfix reload" comes to.
func (p programs) hangUp() error {
	pid, err := p.master()
	if err == nil && pid == 0 {
		err = errors.New("its master process has ended")
	}
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGHUP)
	}
	if err != nil {
		return sdk.Problemf(sdk.Unavailable, "have Postfix reload: %w", err)
	}
	return nil
}

// run gives what a program wrote to stdout and to stderr.
func (p programs) run(ctx context.Context, name string, args ...string) (out, words string, err error) {
	cmd := exec.CommandContext(ctx, p.path(name), args...)
	cmd.Env, cmd.Dir = []string{"PATH=" + searchPath, "LC_ALL=C"}, "/"
	cmd.WaitDelay = 2 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", "", fmt.Errorf("%s was stopped: %w", p.path(name), context.Cause(ctx))
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // something in the background keeps the pipe
	case errors.Is(err, fs.ErrPermission):
		err = sdk.WithCode(err, sdk.PermissionDenied)
	}
	return strings.ToValidUTF8(stdout.String(), "?"), shorten(stderr.String()), err
}

func shorten(text string) string {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "?"))
	if len(text) > outputLimit {
		text = strings.ToValidUTF8(text[:outputLimit], "") + " …"
	}
	return text
}

// command is what a user types.
func (p programs) command(name string, args ...string) string {
	words := []string{name}
	if p.settings.CommandDirectory != "/usr/sbin" {
		words[0] = p.path(name)
	}
	if !p.isSystem() {
		words = append(words, "-c", p.settings.ConfigDir)
	}
	return strings.Join(append(words, args...), " ")
}

// isSystem says whether this is the Postfix of the system.
func (p programs) isSystem() bool { return filepath.Clean(p.settings.ConfigDir) == "/etc/postfix" }

// older compares versions by their numbers.
func older(version, than string) bool {
	a, b := strings.FieldsFunc(version, notDigit), strings.FieldsFunc(than, notDigit)
	for i := range b {
		n := 0
		if i < len(a) {
			n, _ = strconv.Atoi(a[i])
		}
		if m, _ := strconv.Atoi(b[i]); n != m {
			return n < m
		}
	}
	return false
}

func notDigit(r rune) bool { return r < '0' || r > '9' }
