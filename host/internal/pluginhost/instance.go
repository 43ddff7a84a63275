package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

// Instance is one running, configured plugin process. The roles may be called
// from several goroutines. Which ones the plugin has is in its description; a
// call to another one fails.
type Instance struct {
	host         *Host
	name, plugin string
	// id is the name with what tells it from another process of the instance.
	id          string
	description sdk.Description
	connection  *connection
	client      *client.Client

	stopping atomic.Bool
	stop     sync.Once
	stopErr  error
}

// Name of the instance in the user's configuration.
func (i *Instance) Name() string { return i.name }

// Description of the plugin.
func (i *Instance) Description() sdk.Description { return i.description }

// Authenticator gives the role; it is also an sdk.Preferrer.
func (i *Instance) Authenticator() *client.Authenticator { return i.client.Authenticator() }

// Installer gives the role with its optional interfaces.
func (i *Instance) Installer() *client.Installer { return i.client.Installer() }

// Hook gives the role.
func (i *Instance) Hook() sdk.Hook { return i.client.Hook() }

// Health asks whether the plugin could work now, deep with its credentials, and
// how many calls are running.
func (i *Instance) Health(ctx context.Context, deep bool) (problems []*sdk.Problem, inFlight int, err error) {
	problems, inFlight, err = i.client.Health(ctx, deep)
	i.maskAll(problems)
	return problems, inFlight, err
}

// configure asks the running process what it is and hands the settings over.
func (i *Instance) configure(ctx context.Context, s Spec, stateDir string) error {
	slow := fmt.Errorf("it did not answer within %s; Configure must be quick", i.host.limits.configure)
	ctx, cancel := context.WithTimeoutCause(ctx, i.host.limits.configure, slow)
	defer cancel()
	running, err := i.client.Describe(ctx, i.host.opts.HostVersion)
	if err != nil {
		return i.startError(err)
	}
	if d := i.description; running.Name != d.Name || running.Version != d.Version || !slices.Equal(running.Roles, d.Roles) {
		return i.startError(fmt.Errorf("`describe` said %s %s %v, the running process says %s %s %v; reinstall the plugin",
			d.Name, d.Version, d.Roles, running.Name, running.Version, running.Roles))
	}
	problems, err := i.client.Configure(ctx, client.Configuration{
		Instance: sdk.Instance{
			Name: s.Name, StateDir: stateDir, HostVersion: i.host.opts.HostVersion, ValidateOnly: s.ValidateOnly,
			NonInteractive: i.host.opts.NonInteractive, Quiet: i.host.opts.Quiet,
		},
		Settings: s.Settings, Secrets: s.Secrets,
	})
	if err != nil {
		return i.startError(err)
	}
	if len(problems) > 0 {
		i.maskAll(problems)
		return &SettingsError{Instance: s.Name, Plugin: s.Plugin, Problems: problems}
	}
	return nil
}

func (i *Instance) mask(s string) string { return i.host.masks.mask(s) }

func (i *Instance) maskAll(problems []*sdk.Problem) {
	for _, p := range problems {
		p.Summary, p.Detail, p.Hint = i.mask(p.Summary), i.mask(p.Detail), i.mask(p.Hint)
	}
}

// startError keeps an error that names the instance and its last words already.
func (i *Instance) startError(err error) error {
	var died *DiedError
	if errors.As(err, &died) {
		return fmt.Errorf("start %w", err)
	}
	return &StartError{Instance: i.name, Plugin: i.plugin, Reason: err, LastWords: i.connection.pump.lastWords()}
}

// deathWait is how long a call that lost its connection waits to learn whether
// the process has died: the connection ends a moment earlier.
const deathWait = 3 * time.Second

// explain adds to the error of a broken call what the host knows of the process.
func (i *Instance) explain(err error) error {
	if i.stopping.Load() {
		return fmt.Errorf("instance %s (plugin %s) was stopped: %w", i.name, i.plugin, err)
	}
	p, _ := i.connection.runner.process()
	wait := time.Duration(0)
	var broken *client.BrokenError
	if errors.As(err, &broken) && status.Code(broken.Err) == codes.Unavailable {
		wait = deathWait
	}
	if broken == nil || !within(context.Background(), p.gone, wait) {
		return fmt.Errorf("instance %s (plugin %s): %w", i.name, i.plugin, err)
	}
	return sdk.Hint(&DiedError{
		Instance: i.name, Plugin: i.plugin, Call: broken.Call, Fate: p.fate(),
		LastWords: i.connection.pump.lastWords(), Err: err,
	}, "try again, and report it to the author of plugin %s if it happens again", i.plugin)
}

// Details asks the process what it is now that it is configured: its settings
// may bring others along.
func (i *Instance) Details(ctx context.Context) (sdk.Description, error) {
	return i.client.Describe(ctx, i.host.opts.HostVersion)
}

// Stop ends the instance: running calls get 5 s to end, the server is shut
// down, and the process group is killed. Calls still open fail. ctx makes it
// hurry, and it is bounded anyway. Calling it again waits for the first and
// gives the same answer.
func (i *Instance) Stop(ctx context.Context) error {
	i.stop.Do(func() {
		i.stopping.Store(true)
		i.drain(ctx)
		i.stopErr = i.connection.close(ctx)
		i.connection.pump.close(i.host.limits.reap)
		i.host.settle(i.id, nil)
		if i.stopErr != nil {
			i.stopErr = fmt.Errorf("stop instance %s (plugin %s): %w", i.name, i.plugin, i.stopErr)
		}
	})
	return i.stopErr
}

func (i *Instance) drain(ctx context.Context) {
	grace := i.host.limits.grace
	ctx, cancel := context.WithTimeout(ctx, grace+time.Second)
	defer cancel()
	abandoned, err := i.client.Drain(ctx, grace)
	// An error leaves nothing to be done: the process is ended next, anyhow.
	if err == nil && len(abandoned) > 0 {
		i.host.log.Named(i.name).Warn("the plugin did not end its work in time", "operations", abandoned)
	}
}
