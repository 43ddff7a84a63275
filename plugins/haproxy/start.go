package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/service"
)

const (
	systemctl = "/usr/bin/systemctl"
	unit      = "haproxy.service"
	// Sockets of systemctl: root's own, and the bus for others.
	systemdSocket = "/run/systemd/private"
	busSocket     = "/run/dbus/system_bus_socket"
	// bootedWith is there if systemd manages the machine, see sd_booted(3).
	bootedWith = "/run/systemd/system"
	// dialLimit bounds the question whether something listens on this machine.
	dialLimit = 5 * time.Second
)

// running says whether haproxy runs: by its socket, or for want of one by its
// addresses. If there is no way to know, it is taken to run.
func (h *haproxy) running(ctx context.Context) (bool, error) {
	if h.settings.Socket != "" {
		_, err := h.runtime.probe(ctx)
		if errors.Is(err, errNotRunning) {
			return false, nil
		}
		return true, err
	}
	c, err := readConfiguration(h.settings.Config)
	if err != nil {
		return true, nil //nolint:nilerr // its test will tell; who only listens need not have it
	}
	var addresses []string
	for _, b := range c.binds {
		if !b.closed {
			addresses = append(addresses, b.reachable()...)
		}
	}
	return len(addresses) == 0 || !allRefused(ctx, addresses), nil
}

func allRefused(ctx context.Context, addresses []string) bool {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	var dialer net.Dialer
	refused := make([]bool, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() {
			conn, err := dialer.DialContext(ctx, "tcp", address)
			if err == nil {
				_ = conn.Close()
			}
			refused[i] = errors.Is(err, syscall.ECONNREFUSED)
		})
	}
	all.Wait()
	for _, r := range refused {
		if !r {
			return false
		}
	}
	return true
}

// start starts a stopped haproxy if it is systemd's; it is never started as a
// child of this process. Otherwise the problem names the command.
func (h *haproxy) start(ctx context.Context, r sdk.Reporter) error {
	if !h.systemd.owns(ctx, h.settings.Config) {
		err := sdk.RetryAfter(sdk.Problemf(sdk.NotRunning, "haproxy is not running: %s", h.silent()), 0)
		return sdk.Hint(err, "start it, for instance by: %s", h.settings.startCommand())
	}
	h.at("start: systemctl start %s", unit)
	r.Progress("", "haproxy is not running: starting "+unit)
	return h.systemd.start(ctx)
}

func (h *haproxy) silent() string {
	if h.settings.Socket != "" {
		return "nothing listens on the socket " + h.settings.Socket
	}
	return "no address of " + h.settings.Config + " answers"
}

// systemd is how the service manager is spoken to.
type systemd struct {
	program string
	booted  string
}

// owns says whether there is a unit that starts haproxy with this configuration.
func (s systemd) owns(ctx context.Context, config string) bool {
	if _, err := os.Stat(s.booted); err != nil {
		return false
	}
	out, err := service.Run(ctx, s.program, "show", unit, "--property=LoadState,ExecStart,Environment")
	if err != nil {
		return false
	}
	return strings.Contains(out, "LoadState=loaded") && mentions(out, config)
}

// mentions says whether a text has a path as a word of its own.
func mentions(text, path string) bool {
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n;=\"'", r) }) {
		if field == path {
			return true
		}
	}
	return false
}

func (s systemd) start(ctx context.Context) error {
	out, err := service.Run(ctx, s.program, "start", unit)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("start %s: %w", unit, ctx.Err())
	}
	p := sdk.Problemf(sdk.NotRunning, "haproxy is not running, and systemctl start %s failed (%w)", unit, err)
	p.Detail, p.Hint = service.Tail(out), "see journalctl -u "+unit+" and mend what it says"
	return p
}
