package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"syscall"

	"google.golang.org/grpc"

	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

// reach prepares a connection to a plugin that its author runs, if the socket is
// one of ours: it is given the secrets of its instance.
func (h *Host) reach(plugin string, at client.Reattach) (*grpc.ClientConn, error) {
	if at.Network == "unix" {
		fi, err := os.Stat(at.Address)
		if err != nil {
			return nil, notReached(plugin, at, err)
		}
		if uid, _ := ids(fi); uid != 0 && uid != h.rule.uid {
			return nil, notReached(plugin, at, fmt.Errorf("the socket belongs to another user, %s", name(uid, user.LookupId, userName)))
		}
	}
	conn, err := client.DialReattach(at)
	if err != nil {
		return nil, notReached(plugin, at, err)
	}
	return conn, nil
}

func notReached(plugin string, at client.Reattach, err error) error {
	if at.PID > 0 && errors.Is(syscall.Kill(at.PID, 0), syscall.ESRCH) {
		err = errors.New("the process has ended")
	}
	return sdk.Hint(fmt.Errorf("attach to plugin %s, process %d at %s: %w", plugin, at.PID, at.Address, err),
		"start it anew, `%s%s serve --reattach`, and set %s to what it prints", binaryPrefix, plugin, client.ReattachKey)
}

// describeRunning asks the process what it is.
func (h *Host) describeRunning(ctx context.Context, plugin string, at client.Reattach) (sdk.Description, error) {
	conn, err := h.reach(plugin, at)
	if err != nil {
		return sdk.Description{}, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, h.limits.describe)
	defer cancel()
	d, err := client.New(conn).Describe(ctx, h.opts.HostVersion)
	if err != nil {
		return d, notReached(plugin, at, err)
	}
	if d.Name != plugin {
		return d, notReached(plugin, at, fmt.Errorf("it says that its name is %q", d.Name))
	}
	d.Protocol = client.Majors()
	return d, nil
}

// attach makes an instance of a process that its author has started, and that is
// left alone when the instance is stopped. What it writes is not seen here, and how
// it ends is not known.
func (h *Host) attach(s Spec, d sdk.Description, at client.Reattach) (*Instance, error) {
	if _, err := h.Sandbox(d, s); err != nil {
		return nil, err
	}
	if err := h.take(s.Plugin); err != nil {
		return nil, fmt.Errorf("start instance %s: %w", s.Name, err)
	}
	conn, err := h.reach(s.Plugin, at)
	if err != nil {
		h.give(s.Plugin)
		return nil, fmt.Errorf("start instance %s: %w", s.Name, err)
	}
	pump := newLogPump(h.log.Named(s.Name), h.masks)
	c := &connection{limits: h.limits, pump: pump, runner: &pluginRunner{
		proc: &process{exited: make(chan struct{}), gone: make(chan struct{})},
	}}
	c.detach = func() error {
		h.give(s.Plugin)
		return conn.Close()
	}
	cl := client.New(conn)
	i := &Instance{host: h, name: s.Name, plugin: s.Plugin, description: d, connection: c, client: cl}
	cl.Timeout, cl.Explain, cl.Mask = s.Timeout, i.explain, i.mask
	return i, nil
}

// Sandbox says how an instance is confined as this host runs it, or why it cannot
// be started as it is configured. Nothing is started.
func (h *Host) Sandbox(d sdk.Description, s Spec) (Sandbox, error) {
	at, running := h.opts.Dev.Running[s.Plugin]
	switch {
	case !running:
		return SandboxHere(d, s)
	case s.Sandbox == string(sandbox.Required) || s.User != "":
		return Sandbox{}, fmt.Errorf("instance %s asks for a sandbox or a user, which process %d of plugin %s cannot be given any more; take out `sandbox` and `user`, or %s",
			s.Name, at.PID, s.Plugin, client.ReattachKey)
	}
	level, err := ParseLevel(s.Sandbox)
	return Sandbox{Level: level, Unconfined: fmt.Sprintf("it is process %d, which you have started (%s)", at.PID, client.ReattachKey)}, err
}

// take reserves a process: it has one configuration at a time.
func (h *Host) take(plugin string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.attached[plugin] {
		return fmt.Errorf("plugin %s, which %s leads to, serves one instance at a time, with one set of settings", plugin, client.ReattachKey)
	}
	if h.attached == nil {
		h.attached = map[string]bool{}
	}
	h.attached[plugin] = true
	return nil
}

func (h *Host) give(plugin string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.attached, plugin)
}
