package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/certwright/certwright/sdk"
)

// Options configure a [Host].
type Options struct {
	// Dirs are searched in order; see SearchPath.
	Dirs []string
	// StateDir gets one directory per instance, 0700.
	StateDir string
	// Private are paths that no plugin in a sandbox may reach, whatever it
	// declares; StateDir is one of them, but for the instance's own directory.
	Private []string
	// Shared are directories beside them that one who may read all may read, too.
	// They are made before a process is confined, which can be granted only what
	// is there.
	Shared      []string
	HostVersion string
	// NonInteractive and Quiet: see sdk.Instance.
	NonInteractive bool
	Quiet          bool
	// Log gets what plugins log, named by instance. Nil: it is dropped.
	Log hclog.Logger
	// Redact masks known secrets. Secrets given to Start are masked anyway.
	// Nil: nothing more is masked.
	Redact func(string) string
	// Lock, if set, has the last word.
	Lock Lock
	// Dev are plugins that their author works on. No Lock covers them: the caller
	// sees to that, and tells the user.
	Dev Dev
}

// Within fills in which directories an installation's state directory has for
// plugins, keeps from them, and shares with those that may read all.
func (o Options) Within(state string) Options {
	at := func(names ...string) (paths []string) {
		for _, name := range names {
			paths = append(paths, filepath.Join(state, name))
		}
		return paths
	}
	o.StateDir, o.Private, o.Shared = filepath.Join(state, "plugins"), at("accounts", "journal"), at("archive", "live", "deployed")
	return o
}

// Lock says which binaries may run, and what they were granted.
type Lock interface {
	// Verify has the last word on a binary that the trust rule allows. It reads
	// the descriptor that will be executed.
	Verify(plugin string, f io.ReaderAt) error
	// Permit has the last word on what the plugin says of itself.
	Permit(sdk.Description) error
}

// Time limits; fields of Host so that tests can shorten or extend them.
type limits struct {
	describe  time.Duration // `describe` as a whole
	start     time.Duration // from the fork to the connection
	configure time.Duration // Describe and Configure over the connection
	grace     time.Duration // for running calls to end by Drain
	shutdown  time.Duration // from Drain to the kill
	reap      time.Duration // from the kill to the end of the process
}

var defaultLimits = limits{
	describe: 10 * time.Second, start: 10 * time.Second, configure: 30 * time.Second,
	grace: 5 * time.Second, shutdown: 3 * time.Second, reap: 5 * time.Second,
}

// Host runs plugins. Its methods may be called from several goroutines.
type Host struct {
	opts   Options
	log    hclog.Logger
	masks  *masker
	rule   trustRule
	limits limits
	// describeWrites is where `describe` may write; tests record processes.
	describeWrites []string

	mu           sync.Mutex
	closed       bool
	busy         sync.WaitGroup // starts and descriptions under way
	cancels      map[*context.CancelCauseFunc]bool
	sweep        sync.Once
	noLandlock   sync.Once // see confined
	instances    map[string]*Instance
	attached     map[string]bool // see attach
	descriptions map[string]*descriptionEntry
	withheld     map[string]bool
}

var errClosed = errors.New("the plugin host is closed")

// redirectStandardLog is done once per process: go-plugin's broker, which is
// never used but always linked, logs to the standard logger.
var redirectStandardLog sync.Once

// New makes a host. Nothing is started before it is needed.
func New(opts Options) *Host {
	if opts.Log == nil {
		opts.Log = hclog.NewNullLogger()
	}
	redirectStandardLog.Do(func() {
		log.SetFlags(0)
		log.SetOutput(opts.Log.StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true}))
	})
	opts.Dirs = absolute(opts.Dirs)
	return &Host{
		opts: opts, log: opts.Log, masks: newMasker(opts.Redact), rule: currentRule(), limits: defaultLimits,
		cancels:   map[*context.CancelCauseFunc]bool{},
		instances: map[string]*Instance{}, descriptions: map[string]*descriptionEntry{}, withheld: map[string]bool{},
	}
}

func absolute(dirs []string) []string {
	out := make([]string, 0, len(dirs))
	for _, d := range dirs {
		if abs, err := filepath.Abs(d); err == nil {
			d = abs
		}
		out = append(out, d)
	}
	return out
}

// enter counts one piece of work that Close waits for. The context ends with
// the host; leave MUST be called.
func (h *Host) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, errClosed
	}
	h.busy.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	h.cancels[&cancel] = true
	return ctx, func() {
		h.mu.Lock()
		delete(h.cancels, &cancel)
		h.mu.Unlock()
		cancel(nil)
		h.busy.Done()
	}, nil
}

// reserve takes an instance's identity; nil stands for one that is being started.
func (h *Host) reserve(id, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, taken := h.instances[id]; taken {
		return fmt.Errorf("start instance %s: it is running already", name)
	}
	h.instances[id] = nil
	return nil
}

func (h *Host) settle(id string, i *Instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i == nil {
		delete(h.instances, id)
		return
	}
	i.id = id
	h.instances[id] = i
}

// Close stops all instances and what is being started, and waits for them. The
// host cannot be used afterwards. It may be called more than once.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	for cancel := range h.cancels {
		(*cancel)(errClosed)
	}
	h.mu.Unlock()
	h.busy.Wait()

	h.mu.Lock()
	running := make(map[string]*Instance, len(h.instances))
	for name, i := range h.instances {
		running[name] = i
	}
	h.mu.Unlock()
	return stopAll(ctx, running)
}

// stopAll stops instances in parallel.
func stopAll(ctx context.Context, running map[string]*Instance) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, i := range running {
		wg.Go(func() {
			err := i.Stop(ctx)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// descriptionEntry is one cached description. Its lock is a channel, so that
// one who waits for another's run of `describe` can be cancelled.
type descriptionEntry struct {
	lock  chan struct{}
	known bool
	value sdk.Description
}
