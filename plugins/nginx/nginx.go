package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// nginx is the plugin in both its roles. What a deployment writes and what a
// challenge needs may concern the same files: only one call at a time works on
// them (turn), a deployment takes the challenges out of the files before it
// writes and the restart that ends it puts them in again, while nginx goes on
// answering them from memory. So a deployment never waits for a challenge; a
// challenge waits for a deployment that is between its first write and its end.
type nginx struct {
	settings settings
	program  *program
	edits    *checkpoint.Edits[staging]
	// step is for tests that kill the process; see checkpoint.Store.
	step func(string)

	turn gate
	// The rest is guarded by turn.

	// outstanding challenges, and the checkpoint that holds them on disk; nil:
	// they are not there. base is what the files were without them.
	outstanding map[answer]bool
	draft       *checkpoint.Draft
	base        map[string][]byte
	// active deployments, by lineage; ended is closed when one ends.
	active map[string]bool
	ended  chan struct{}
}

var _ interface {
	sdk.Authenticator
	sdk.Installer
	sdk.Configurer
	sdk.ConfigTester
	sdk.Rollbacker
	sdk.Namer
	sdk.Enhancer
	sdk.HealthChecker
} = (*nginx)(nil)

func newNginx() *nginx {
	return &nginx{
		turn: make(gate, 1), outstanding: map[answer]bool{}, active: map[string]bool{}, ended: make(chan struct{}),
	}
}

// Configure checks the settings, and undoes what a crash left, before any file
// is read.
func (n *nginx) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := n.settings.check(); err != nil || instance.ValidateOnly {
		return err
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	var err error
	if n.program, err = n.settings.find(ctx); err != nil {
		return err
	}
	store, err := checkpoint.Open(instance.StateDir)
	if err != nil {
		return err
	}
	store.Step = n.step
	n.edits = checkpoint.NewEdits[staging](ctx, store)
	return nil
}

func (n *nginx) at(step string) {
	if n.step != nil {
		n.step(step)
	}
}

// read gives the configuration as it is without challenges.
func (n *nginx) read(ctx context.Context) (*configuration, error) {
	return load(ctx, n.settings.Config, n.base)
}

// ConfigTest is nginx -t.
func (n *nginx) ConfigTest(ctx context.Context, _ sdk.Reporter) error {
	if err := n.turn.enter(ctx); err != nil {
		return err
	}
	defer n.turn.leave()
	n.at("test")
	return n.program.test(ctx)
}

// Restart reloads, and ends the deployment.
func (n *nginx) Restart(ctx context.Context, r sdk.Reporter) error {
	if err := n.turn.enter(ctx); err != nil {
		return err
	}
	defer n.turn.leave()
	if err := n.program.test(ctx); err != nil {
		return err
	}
	if n.draft == nil && len(n.outstanding) > 0 {
		n.relay(ctx, r)
	}
	c, err := n.read(ctx)
	if err != nil {
		return err
	}
	n.at("restart: reload")
	if err := n.program.reload(ctx, c); err != nil {
		return err
	}
	n.at("restart: reloaded")
	n.end(ctx)
	return nil
}

// Rollback drops what is staged or unfinished, then reverts checkpoints.
func (n *nginx) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	if err := n.turn.enter(ctx); err != nil {
		return err
	}
	defer n.turn.leave()
	if err := n.lift(ctx); err != nil {
		return err
	}
	err := n.edits.Rollback(ctx, count, r)
	// Also after an error: what comes next tests the configuration that there is.
	n.end(ctx)
	if err == nil && len(n.active) == 0 {
		n.relay(ctx, r)
	}
	return err
}

// end notes that a deployment is over, or all if the call is for none.
func (n *nginx) end(ctx context.Context) {
	lineage := sdk.OperationFrom(ctx).Lineage
	delete(n.active, lineage)
	if lineage == "" {
		clear(n.active)
	}
	if len(n.active) == 0 {
		close(n.ended)
		n.ended = make(chan struct{})
	}
}

// quiet enters when no deployment is under way.
func (n *nginx) quiet(ctx context.Context) error {
	for {
		if err := n.turn.enter(ctx); err != nil {
			return err
		}
		if len(n.active) == 0 {
			return nil
		}
		ended := n.ended
		n.turn.leave()
		select {
		case <-ended:
		case <-ctx.Done():
			return fmt.Errorf("wait for a deployment to the same nginx: %w", context.Cause(ctx))
		}
	}
}

// Names gives the names of all server blocks.
func (n *nginx) Names(ctx context.Context) ([]sdk.Site, error) {
	if err := n.turn.enter(ctx); err != nil {
		return nil, err
	}
	defer n.turn.leave()
	c, err := n.read(ctx)
	if err != nil {
		return nil, err
	}
	var out []sdk.Site
	for _, s := range c.servers {
		site := sdk.Site{ID: s.id(), File: strings.ToValidUTF8(s.file.path, "?"), TLS: c.isTLS(s)}
		for _, name := range s.names {
			if zone, ok := strings.CutPrefix(name, "."); ok {
				site.Names = append(site.Names, zone, "*."+zone)
			} else if isPlainName(strings.TrimPrefix(name, "*.")) {
				site.Names = append(site.Names, name)
			}
		}
		out = append(out, site)
	}
	return out, nil
}

// Health says whether the configuration is accepted and the server runs.
func (n *nginx) Health(ctx context.Context, _ bool) error {
	if err := n.turn.enter(ctx); err != nil {
		return err
	}
	defer n.turn.leave()
	if err := n.program.test(ctx); err != nil {
		return err
	}
	c, err := n.read(ctx)
	if err != nil {
		return err
	}
	master, err := n.program.master(c)
	if err == nil && master == 0 {
		err = sdk.Hint(sdk.Problemf(sdk.NotRunning, "nginx does not run"), "start it: %s", n.program.command())
	}
	return err
}

// undoLimit bounds what must be put back whatever has become of the call.
const undoLimit = 30 * time.Second

func undoing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
}

// heldLimit is how long files are waited for that another process has under way.
const heldLimit = 2 * time.Minute

// write puts the edited files in place, through a draft. What was read must
// still be there once the path is registered: another process may have been at
// it meanwhile, and then false is given and the edits are to be made again.
func (n *nginx) write(ctx context.Context, draft *checkpoint.Draft, c *configuration) (bool, error) {
	files := c.changes()
	for _, f := range files {
		if err := touch(ctx, draft, f.real); err != nil {
			return false, explain(err, f)
		}
	}
	for _, f := range files {
		if same, err := f.unchanged(); err != nil || !same {
			return false, explain(err, f)
		}
	}
	for _, f := range files {
		if err := draft.WriteFile(ctx, f.real, []byte(f.root.print()), checkpoint.Attributes{}); err != nil {
			return false, explain(err, f)
		}
	}
	return true, nil
}

// unchanged says whether a file is still as it was read.
func (f *file) unchanged() (bool, error) {
	data, err := os.ReadFile(f.real)
	return bytes.Equal(data, []byte(f.src)), err
}

func touch(ctx context.Context, draft *checkpoint.Draft, path string) error {
	limit, cancel := context.WithTimeout(ctx, heldLimit)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		err := draft.Touch(ctx, path)
		if !errors.Is(err, checkpoint.ErrHeld) || wait(limit, pause) != nil {
			return err
		}
	}
}

// explain says what to do about a file that cannot be written.
func explain(err error, f *file) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, checkpoint.ErrHeld):
		err = sdk.Hint(sdk.WithCode(err, sdk.Conflict), "wait until the other run of certwright has ended, and try again")
	case errors.Is(err, fs.ErrPermission):
		err = sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied), "run certwright as root, or as the owner of %s", f.path)
	}
	return err
}
