package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
	"github.com/certwright/certwright/sdk/responder"
)

// haproxy is both roles: one instance is one running haproxy.
type haproxy struct {
	settings settings
	runtime  *runtime
	systemd  systemd
	edits    *checkpoint.Edits[staging]
	listener responder.Listener
	entries  entries
	// step, if set, is called before each change outside of this process. It is
	// there for tests that kill the process, or break something, at every step.
	step func(what string)
	// changing is held by who changes the running haproxy's certificates, which
	// has one transaction for all.
	// brought is what it got from this process, by file.
	changing gate
	brought  map[string][sha256.Size]byte

	mu sync.Mutex
	// staged are the files of each operation's lineage in this process.
	staged map[string][]string
}

var _ interface {
	sdk.Authenticator
	sdk.Preferrer
	sdk.Installer
	sdk.Configurer
	sdk.ConfigTester
	sdk.Rollbacker
	sdk.Namer
	sdk.HealthChecker
} = (*haproxy)(nil)

func newHAProxy() *haproxy {
	return &haproxy{
		systemd:  systemd{program: systemctl, booted: bootedWith},
		changing: make(gate, 1), brought: map[string][sha256.Size]byte{}, staged: map[string][]string{},
	}
}

func (h *haproxy) at(format string, args ...any) {
	if h.step != nil {
		h.step(fmt.Sprintf(format, args...))
	}
}

// Configure checks the settings, and undoes what a crash left.
func (h *haproxy) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := h.settings.check(); err != nil || instance.ValidateOnly {
		return err
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	h.runtime = &runtime{address: h.settings.Socket, step: func(what string) { h.at("%s", what) }}
	h.listener.Port, h.listener.Config, h.entries.turn = h.settings.Listen, "haproxy.cfg", make(gate, 1)
	store, err := checkpoint.Open(instance.StateDir)
	if err != nil {
		return err
	}
	store.Step = h.step
	h.edits = checkpoint.NewEdits[staging](ctx, store)
	return nil
}

// Health says whether haproxy runs, and with deep whether its configuration is
// accepted and its socket allows what is needed.
func (h *haproxy) Health(ctx context.Context, deep bool) error {
	up, err := h.running(ctx)
	if err != nil {
		return err
	}
	if !up {
		err := sdk.Problemf(sdk.NotRunning, "haproxy is not running: %s", h.silent())
		return sdk.Hint(err, "start it, for instance by: %s", h.settings.startCommand())
	}
	if !deep {
		return nil
	}
	errs := []error{h.testConfiguration(ctx)}
	if h.settings.Socket != "" && h.settings.CrtDir != "" {
		_, err := h.runtime.inventory(ctx)
		errs = append(errs, h.explain(err))
	}
	return errors.Join(errs...)
}

// Names gives the names that conditions of the configuration and filters of the
// crt-list ask for.
func (h *haproxy) Names(context.Context) ([]sdk.Site, error) {
	c, err := readConfiguration(h.settings.Config)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = sdk.WithCode(err, sdk.NotFound)
		}
		return nil, sdk.Hint(sdk.Subject(err, "config"), "correct the setting config")
	}
	var out []sdk.Site
	for _, s := range c.sites {
		out = append(out, sdk.Site{ID: s.section, Names: s.names, File: s.file, TLS: s.tls})
	}
	if h.settings.CrtList == "" {
		return out, nil
	}
	list, err := h.readCrtList()
	if err != nil {
		return nil, err
	}
	names := slices.Compact(slices.Sorted(slices.Values(list.names())))
	if len(names) > 0 {
		out = append(out, sdk.Site{ID: "crt-list " + h.settings.CrtList, Names: names, File: h.settings.CrtList, TLS: true})
	}
	return out, nil
}

// explain says what to do about what the socket refuses.
func (h *haproxy) explain(err error) error {
	switch {
	case errors.Is(err, errNotRunning):
		err = sdk.RetryAfter(sdk.WithCode(err, sdk.NotRunning), 0)
		return sdk.Hint(err, "start it, for instance by: %s; if it runs, correct the setting socket", h.settings.startCommand())
	case errors.Is(err, errLevel):
		err = sdk.WithCode(err, sdk.PermissionDenied)
		return sdk.Hint(err, "write \"level admin\" into the line \"stats socket\" of haproxy.cfg, or set reload")
	case errors.Is(err, errUnknown):
		err = sdk.WithCode(err, sdk.Unsupported)
		return sdk.Hint(err, "set reload, or use haproxy 2.4 or later")
	case errors.Is(err, errTooLong):
		err = sdk.WithCode(err, sdk.Unsupported)
		return sdk.Hint(err, "raise tune.bufsize in haproxy.cfg above the size of the certificate file, or set reload")
	case errors.Is(err, errSilent):
		err = sdk.RetryAfter(sdk.WithCode(err, sdk.Unavailable), 0)
		return sdk.Hint(err, "see whether haproxy has just been reloaded, and try again")
	case errors.Is(err, errNotNamed):
		err = sdk.WithCode(err, sdk.NotFound)
		return sdk.Hint(err, "name crt_dir after \"crt\", or crt_list after \"crt-list\", in a bind line and reload haproxy, or set reload")
	case errors.Is(err, errKept):
		return sdk.Hint(sdk.WithCode(err, sdk.Unsupported), "reload haproxy, or set reload to have it done")
	}
	return err
}

// gate lets one in at a time, and those who wait can give up.
type gate chan struct{}

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }
