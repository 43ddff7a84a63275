package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/service"
)

const (
	unit  = "icecast2.service"
	shell = "/bin/sh"
	// startLimit is how long Icecast has to stop, to start, and to show a
	// certificate.
	startLimit = 20 * time.Second
	firstPause = 10 * time.Millisecond
	mostPause  = 500 * time.Millisecond
)

// Restart stops and starts Icecast, which reads certificates only then: at a
// SIGHUP it does not. It cuts off listeners and sources, so if all that is on
// disk is served already, it is left alone.
func (i *icecast) Restart(ctx context.Context, r sdk.Reporter) error {
	doc, err := i.document()
	if err != nil {
		return err
	}
	leaf := i.leaf(doc)
	if leaf != nil && i.shows(ctx, doc, leaf) == nil {
		r.Progress("", "Icecast serves it already, and is not restarted")
		return nil
	}
	if err := i.running(ctx); err != nil && i.settings.Pidfile == "" && !i.unit.Exists(ctx) {
		return err
	}
	if err := i.restart(ctx); err != nil {
		return err
	}
	if leaf == nil {
		return nil // nothing of TLS is configured
	}
	return i.awaited(ctx, doc, leaf)
}

// awaited waits until Icecast shows the leaf. It is not told otherwise that there
// is something wrong with a certificate: it starts without TLS.
func (i *icecast) awaited(ctx context.Context, d document, leaf []byte) error {
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	var last error
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		err := i.shows(limited, d, leaf)
		if err == nil || errors.Is(err, errNotAllowed) {
			return nil // or the host looks, which may connect anywhere
		}
		if limited.Err() == nil || last == nil {
			last = err
		}
		if sleep(limited, pause) == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p := sdk.Problemf(sdk.Unavailable, "Icecast does not show the certificate after its restart: %w", last)
		p.Hint = "see its error log: \"Invalid cert file\" means that its user cannot read " + i.settings.Bundle + " (setting owner)"
		return p
	}
}

func (i *icecast) restart(ctx context.Context) error {
	i.at("restart")
	switch {
	case i.settings.Restart != "":
		out, err := service.Run(ctx, shell, "-c", i.settings.Restart)
		if err != nil && ctx.Err() == nil {
			// The command itself is not quoted: it may hold a password.
			p := sdk.Problemf(sdk.Unavailable, "the restart command failed (%w)", err)
			p.Detail, p.Subject = service.Tail(out), "restart_command"
			p.Hint = "run the command of setting restart_command by hand, see what it says and mend that"
			return p
		}
		return err
	case i.settings.Pidfile != "":
		pid, err := i.supervised(ctx)
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGTERM)
		}
		if err == nil {
			err = i.ended(ctx, pid)
		}
		if errors.Is(err, syscall.EPERM) {
			err = sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied), "run certwright as root or as Icecast's user")
		}
		if err != nil {
			return fmt.Errorf("stop Icecast, so that its supervisor starts it again: %w", err)
		}
		return nil
	}
	out, err := i.unit.Do(ctx, "restart")
	if err != nil && ctx.Err() == nil {
		p := sdk.Problemf(sdk.Unavailable, "systemctl restart %s failed (%w)", unit, err)
		p.Detail, p.Hint = service.Tail(out), "see journalctl -u "+unit+" and mend what it says"
		return p
	}
	return err
}

// supervised gives the process once its supervisor has started it, which may be at
// it just now.
func (i *icecast) supervised(ctx context.Context) (int, error) {
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		pid, err := i.pid()
		if err == nil {
			return pid, nil
		}
		if sleep(limited, pause) != nil {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			return 0, i.running(ctx)
		}
	}
}

// ended waits until a process is gone, or is another one's.
func (i *icecast) ended(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, sdk.Problemf(sdk.Timeout, "the process %d goes on after SIGTERM", pid))
	defer cancel()
	for pause := firstPause; isIcecast(pid, i.settings.Config); pause = min(2*pause, mostPause) {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// running says whether there is an Icecast that can be restarted, as far as can be
// known.
func (i *icecast) running(ctx context.Context) error {
	var reason error
	switch {
	case i.settings.Restart != "":
		return nil
	case i.settings.Pidfile != "":
		if _, reason = i.pid(); reason == nil {
			return nil
		}
	case i.unit.Active(ctx):
		return nil
	default:
		reason = errors.New("systemd has no active " + unit)
	}
	err := sdk.RetryAfter(sdk.Problemf(sdk.NotRunning, "Icecast is not running: %w", reason), 0)
	return sdk.Hint(err, "start it, for instance by: icecast2 -b -c %s; if systemd does not have it, set restart_command, or pidfile", i.settings.Config)
}

// pid is that of the process that the pidfile names, if it is Icecast.
func (i *icecast) pid() (int, error) {
	data, err := os.ReadFile(i.settings.Pidfile)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(data)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s holds no process number", i.settings.Pidfile)
	}
	if !isIcecast(pid, i.settings.Config) {
		return 0, fmt.Errorf("the process %d that %s names is not Icecast, or another one, or has ended", pid, i.settings.Pidfile)
	}
	return pid, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
