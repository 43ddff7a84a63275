package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

// Spec is one instance to start.
type Spec struct {
	Name, Plugin string
	// Key tells processes of one instance with different settings apart: a
	// certificate may be renewed with the settings that it was obtained with
	// while another one uses new ones. Empty: there is one process only.
	Key      string
	Settings map[string]any
	Secrets  map[string][]byte
	// Timeout bounds each streaming call; zero: the client's defaults.
	Timeout time.Duration
	// Sandbox is the level of its sandbox; empty: the default.
	Sandbox string
	// User that the process runs as; empty: the host's.
	User string
	// ValidateOnly has the plugin check its settings and touch nothing; all that
	// the instance is good for then is Stop.
	ValidateOnly bool
}

// Start runs and configures the process of one instance. It ends with Stop or
// Close, not with ctx, which bounds the start only. What is wrong with settings
// comes as a *SettingsError with one problem for each.
func (h *Host) Start(ctx context.Context, s Spec) (*Instance, error) {
	ctx, leave, err := h.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("start instance %s: %w", s.Name, err)
	}
	defer leave()
	if !namePattern.MatchString(s.Name) {
		return nil, fmt.Errorf("%q cannot be the name of an instance: use lower-case letters, digits and dashes", s.Name)
	}
	id := s.Name + "\x00" + s.Key
	if err := h.reserve(id, s.Name); err != nil {
		return nil, err
	}
	i, err := h.start(ctx, s)
	h.settle(id, i)
	return i, err
}

// StartAll starts instances in parallel: all of them, or none. The error joins
// those of all that failed.
func (h *Host) StartAll(ctx context.Context, specs []Spec) (map[string]*Instance, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	started := map[string]*Instance{}
	errs := make([]error, len(specs))
	for n, s := range specs {
		wg.Go(func() {
			i, err := h.Start(ctx, s)
			mu.Lock()
			defer mu.Unlock()
			if errs[n] = err; err == nil {
				started[s.Name] = i
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, stopAll(ctx, started))
	}
	return started, nil
}

func (h *Host) start(ctx context.Context, s Spec) (*Instance, error) {
	h.masks.add(s.Secrets)
	d, err := h.Describe(ctx, s.Plugin)
	if err != nil {
		return nil, fmt.Errorf("start instance %s: %w", s.Name, err)
	}
	secretNames := slices.Sorted(maps.Keys(s.Secrets))
	if problems := CheckSettings(d, s.Settings, secretNames); len(problems) > 0 {
		return nil, &SettingsError{Instance: s.Name, Plugin: s.Plugin, Problems: problems}
	}
	stateDir, err := h.stateDir(s)
	if err != nil {
		return nil, err
	}
	i, err := h.run(ctx, s, d, stateDir)
	if err != nil {
		return nil, err
	}
	if err := i.configure(ctx, s, stateDir); err != nil {
		// Hurry: it has done nothing yet.
		done, cancel := context.WithCancel(ctx)
		cancel()
		return nil, errors.Join(err, i.Stop(done))
	}
	return i, nil
}

// stateDir makes the directory of an instance, unless nothing is to be touched.
func (h *Host) stateDir(s Spec) (string, error) {
	root, err := filepath.Abs(h.opts.StateDir)
	dir := filepath.Join(root, s.Name)
	if err == nil && s.ValidateOnly {
		return dir, nil
	}
	if err == nil {
		err = os.MkdirAll(root, 0o700)
	}
	if err == nil && s.User != "" {
		err = errors.Join(passable(root), passable(filepath.Dir(root)))
	}
	if err == nil {
		if err = os.Mkdir(dir, 0o700); errors.Is(err, os.ErrExist) {
			var fi os.FileInfo
			if fi, err = os.Lstat(dir); err == nil && !fi.IsDir() {
				err = fmt.Errorf("%s is not a directory; move it away", dir)
			}
		}
	}
	if err != nil {
		return "", fmt.Errorf("make the state directory of instance %s: %w", s.Name, err)
	}
	return dir, nil
}

// run starts the process and connects to it.
func (h *Host) run(ctx context.Context, s Spec, d sdk.Description, stateDir string) (*Instance, error) {
	if at, running := h.opts.Dev.Running[s.Plugin]; running {
		return h.attach(s, d, at)
	}
	path, err := h.find(s.Plugin)
	if err != nil {
		return nil, fmt.Errorf("start instance %s: %w", s.Name, err)
	}
	b, err := h.open(path)
	if err != nil {
		return nil, fmt.Errorf("start instance %s: %w", s.Name, err)
	}
	defer b.file.Close()
	h.sweep.Do(func() { sweepSocketDirs(socketBase(), time.Now()) })
	sockets, err := makeSocketDir(socketBase())
	if err != nil {
		return nil, fmt.Errorf("start instance %s: %w", s.Name, err)
	}
	policy, err := h.policy(b, d, s, stateDir, sockets.path)
	if err != nil {
		return nil, errors.Join(err, sockets.remove())
	}
	pump := newLogPump(h.log.Named(s.Name), h.masks)
	env := append(h.environment(d), client.LifelineEnv)
	if policy.Confinement != nil {
		env = append(env, "TMPDIR="+sockets.path)
	}
	c := newConnection(h.limits, b, policy, env, sockets, pump)
	ctx, cancel := context.WithTimeoutCause(ctx, h.limits.start, errHandshakeSlow)
	defer cancel()
	cl, err := c.open(ctx)
	if err != nil {
		cause := context.Cause(ctx)
		closeErr := c.close(ctx)
		defer pump.close(h.limits.reap)
		failed := &StartError{Instance: s.Name, Plugin: s.Plugin, Reason: c.failure(cause, err), LastWords: pump.lastWords()}
		return nil, errors.Join(sdk.Hint(failed, "run `%s describe` to see whether the plugin works, and reinstall it if not", b.path), closeErr)
	}
	i := &Instance{host: h, name: s.Name, plugin: s.Plugin, description: d, connection: c, client: cl}
	cl.Timeout, cl.Explain, cl.Mask = s.Timeout, i.explain, i.mask
	return i, nil
}

// policy decides how the process of an instance is launched, and gives it its
// directories.
func (h *Host) policy(b *binary, d sdk.Description, s Spec, stateDir, sockets string) (sandbox.Policy, error) {
	box, err := SandboxOf(sandbox.ThisKernel(), d, s)
	if err != nil {
		return sandbox.Policy{}, err
	}
	u, err := userOf(d, s)
	if err != nil {
		return sandbox.Policy{}, err
	}
	h.confined(s.Name, box, sandbox.ThisKernel())
	p := b.policy(nil, box)
	if err := h.enclose(&p, stateDir, sockets); err != nil {
		return p, fmt.Errorf("start instance %s: %w", s.Name, err)
	}
	if p.User = u; box.Confinement != nil {
		p.Limits = box.Confinement.Limits(u)
	}
	dirs := []string{sockets}
	if !s.ValidateOnly {
		dirs = append(dirs, stateDir)
	}
	for _, dir := range dirs {
		if err := hand(dir, u); err != nil {
			return p, fmt.Errorf("start instance %s: give %s to its user: %w", s.Name, dir, err)
		}
	}
	if u != nil {
		r := resolver{d, s.Settings}
		u.Reads = append(r.reads(d.Permissions.Read), r.reads(d.Permissions.Execute)...)
		u.Writes = append(r.writes(d.Permissions.Write), dirs...)
	}
	return p, nil
}
