package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
)

const (
	// tick is how often a file or a process is looked at that gives no event.
	tick = 10 * time.Millisecond
	// repeatAfter: a signal that arrives while httpd reads its configuration is
	// lost.
	repeatAfter = 5 * time.Second
	// reloadLimit is how long httpd may read its configuration.
	reloadLimit = time.Minute
	// undoLimit bounds what has to be done whatever has become of the call.
	undoLimit = 30 * time.Second
)

// stopped says that no server runs.
type stopped struct{ pidFile string }

func (s *stopped) Error() string { return "httpd is not running, says " + s.pidFile }

func (s *stopped) problem(settings settings) error {
	p := sdk.Problemf(sdk.NotRunning, "httpd is not running")
	p.Detail = "no process has the number in " + s.pidFile
	p.Hint = "start it: " + settings.spoken("-k", "start")
	if unit := settings.unit(); unit != "" {
		p.Hint = "start it: systemctl start " + unit
	}
	return p
}

// reload makes the configuration live. A server that is stopped is started only
// by systemd: as a child of this plugin it would live in the plugin's sandbox,
// and die with it.
func (a *apache) reload(ctx context.Context, f facts, r sdk.Reporter) error {
	err := a.reloadRunning(ctx, f)
	var down *stopped
	if !errors.As(err, &down) {
		return err
	}
	unit := a.settings.unit()
	if unit == "" {
		return down.problem(a.settings)
	}
	r.Progress("", "httpd is not running, systemd starts "+unit)
	out, err := exec.CommandContext(ctx, "systemctl", "start", unit).CombinedOutput()
	if err != nil {
		p := sdk.Problemf(sdk.NotRunning, "start %s: %w", unit, err)
		p.Detail = lastWords(string(out))
		p.Hint = "see why it does not start: systemctl status " + unit
		return p
	}
	return nil
}

// unit is systemd's name of this very server; empty: it has none.
func (s settings) unit() string {
	if _, err := os.Stat("/run/systemd/system"); err != nil || !s.standard() {
		return ""
	}
	for _, name := range []string{"apache2.service", "httpd.service"} {
		ctx, cancel := context.WithTimeout(context.Background(), undoLimit)
		err := exec.CommandContext(ctx, "systemctl", "cat", name).Run()
		cancel()
		if err == nil {
			return name
		}
	}
	return ""
}

// reloadRunning tells httpd to reload gracefully and waits until it has read its
// configuration: then it writes its pid file anew. The signal is sent from here
// rather than by "-k graceful", which would start a server that is stopped.
func (a *apache) reloadRunning(ctx context.Context, f facts) error {
	pid, running := process(f.pidFile)
	if !running {
		return &stopped{pidFile: f.pidFile}
	}
	before, err := os.Stat(f.pidFile)
	if err != nil {
		return fmt.Errorf("reload httpd: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reloadLimit, errors.New("it does not read its configuration"))
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var sent time.Time
	for {
		if time.Since(sent) > repeatAfter {
			if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil && !errors.Is(err, syscall.ESRCH) {
				return sdk.Hint(sdk.WithCode(fmt.Errorf("reload httpd (process %d): %w", pid, err), sdk.PermissionDenied),
					"run certwright as the user that httpd was started by, mostly root")
			}
			sent = time.Now()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("reload httpd: %w", context.Cause(ctx))
		}
		now, err := os.Stat(f.pidFile)
		if err == nil && (!os.SameFile(before, now) || !now.ModTime().Equal(before.ModTime())) {
			return nil
		}
		if !alive(pid) {
			p := sdk.Problemf(sdk.NotRunning, "httpd ended when it was told to reload, though it accepts its configuration")
			p.Hint = "see the end of its ErrorLog, and start it: " + a.settings.spoken("-k", "start")
			return p
		}
	}
}

// process is the server's, by its pid file.
func process(pidFile string) (int, bool) {
	data, err := os.ReadFile(pidFile)
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return 0, false
	}
	return pid, alive(pid)
}

// alive says whether a process is there, is not a zombie and, where that can be
// seen, is httpd: the pid file may be older than the last boot.
func alive(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) {
		_, err := os.Stat("/proc/self/stat")
		return err != nil // no /proc of this kind: nothing more is known
	}
	_, rest, _ := bytes.Cut(stat, []byte("("))
	name, state, ok := bytes.Cut(rest, []byte(") "))
	if err != nil || !ok {
		return true
	}
	is := bytes.Contains(name, []byte("httpd")) || bytes.Contains(name, []byte("apache"))
	return is && !bytes.HasPrefix(state, []byte("Z"))
}
