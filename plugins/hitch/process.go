package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/service"
)

const unit = "hitch.service"

// test has hitch check its configuration and load what that names.
func (h *hitch) test(ctx context.Context) error {
	h.at("test: %s --test", h.settings.Binary)
	out, err := service.Run(ctx, h.settings.Binary, "--config="+h.settings.Config, "--test")
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("test hitch's configuration: %w", ctx.Err())
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		err = sdk.Problemf(sdk.NotInstalled, "test hitch's configuration: %w", err)
		return sdk.Hint(sdk.Subject(err, "binary"), "install hitch, or set binary to its program")
	}
	p := sdk.Problemf(sdk.ConfigTestFailed, "hitch does not accept its configuration %s", h.settings.Config)
	p.Detail, p.Subject = service.Tail(out), h.settings.Config
	p.Hint = fmt.Sprintf("run %s --config=%s --test and mend what it says; of a file that a sandbox does not let through, write the path into also_read",
		h.settings.Binary, h.settings.Config)
	return p
}

// pid is that of hitch's main process, by its pidfile.
func (h *hitch) pid() (int, error) {
	data, err := os.ReadFile(h.settings.Pidfile)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s holds no process number", h.settings.Pidfile)
	}
	if !isProgram(pid, h.settings.Binary) {
		return 0, fmt.Errorf("the process %d that %s names is not hitch, or has ended", pid, h.settings.Pidfile)
	}
	return pid, nil
}

// running says whether there is a hitch to be told something.
func (h *hitch) running(ctx context.Context) error {
	var reason error
	if h.settings.Pidfile != "" {
		if _, reason = h.pid(); reason == nil {
			return nil
		}
	} else {
		if h.unit.Active(ctx) {
			return nil
		}
		reason = errors.New("the setting pidfile is missing, and systemd has no active " + unit)
	}
	if h.settings.Pidfile != "" && h.unit.Active(ctx) {
		err := sdk.Problemf(sdk.NotRunning, "hitch cannot be told of a new certificate: %w", reason)
		return sdk.Hint(sdk.Subject(err, "pidfile"), "leave the setting pidfile out: %s runs, and is reloaded then", unit)
	}
	err := sdk.RetryAfter(sdk.Problemf(sdk.NotRunning, "hitch is not running: %w", reason), 0)
	return sdk.Hint(err, "start it, for instance by: %s --daemon --config=%s --pidfile=%s; set pidfile to that file",
		h.settings.Binary, h.settings.Config, pidfileOr(h.settings.Pidfile))
}

func pidfileOr(path string) string {
	if path == "" {
		return "/run/hitch.pid"
	}
	return path
}

// reload tells hitch to read its configuration and its files again. What comes
// of it shows in a handshake only.
func (h *hitch) reload(ctx context.Context) error {
	h.at("reload")
	if h.settings.Pidfile == "" {
		out, err := h.unit.Do(ctx, "reload")
		if err != nil {
			p := sdk.Problemf(sdk.Unavailable, "systemctl reload %s failed (%w)", unit, err)
			p.Detail, p.Hint = service.Tail(out), "see journalctl -u "+unit
			return p
		}
		return nil
	}
	pid, err := h.pid()
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGHUP)
	}
	if err != nil {
		err = fmt.Errorf("tell hitch to reload: %w", err)
		if errors.Is(err, syscall.EPERM) {
			err = sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied), "run certwright as root or as hitch's user")
		}
	}
	return err
}

// startable says whether systemd can start hitch. A unit that runs is not stopped,
// whatever a pidfile says.
func (h *hitch) startable(ctx context.Context) bool {
	return h.unit.Exists(ctx) && !h.unit.Active(ctx)
}

// start starts a stopped hitch if it is systemd's; it is never started as a
// child of this process.
func (h *hitch) start(ctx context.Context, r sdk.Reporter, stopped error) error {
	if !h.startable(ctx) {
		return stopped
	}
	h.at("start: systemctl start %s", unit)
	r.Progress("", "hitch is not running: starting "+unit)
	out, err := h.unit.Do(ctx, "start")
	if err != nil {
		p := sdk.Problemf(sdk.NotRunning, "hitch is not running, and systemctl start %s failed (%w)", unit, err)
		p.Detail, p.Hint = service.Tail(out), "see journalctl -u "+unit+" and mend what it says"
		return p
	}
	return nil
}
