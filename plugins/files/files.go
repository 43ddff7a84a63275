package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// files is the installer. Several certificates may be on their way at once: each
// operation's lineage has a transaction, and checkpoints, of its own.
type files struct {
	settings settings
	config   config
	store    *checkpoint.Store
	// step is for tests that kill the process; see checkpoint.Store.
	step func(string)

	// working guards the fields below; commands guards the operator's commands,
	// which may not be made for running twice at once.
	working  gate
	commands gate
	// unrecovered is what a crash left and could not be undone.
	unrecovered error
	open        map[string]*transaction
	saved       map[string]outcome
	// names of each lineage, for the commands; owners of each path.
	names  map[string][]string
	owners map[string]string
}

var _ interface {
	sdk.Installer
	sdk.Configurer
	sdk.ConfigTester
	sdk.Rollbacker
} = (*files)(nil)

// transaction is what is between the first Deploy and the Save with a title.
type transaction struct {
	staged []staging
	// draft is nil until something is written.
	draft *checkpoint.Draft
}

type staging struct {
	lineage string
	files   []content
	// changed: something was different when it was staged first. By the next
	// name of the certificate it may be written already.
	changed bool
}

// outcome of a Save with a title, so that the same again has the same.
type outcome struct {
	operation string
	title     string
	result    sdk.Checkpoint
}

func newFiles() *files {
	return &files{
		working: make(gate, 1), commands: make(gate, 1),
		open: map[string]*transaction{}, saved: map[string]outcome{},
		names: map[string][]string{}, owners: map[string]string{},
	}
}

// Configure checks the settings, and undoes what a crash left.
func (f *files) Configure(ctx context.Context, instance sdk.Instance) error {
	c, err := f.settings.parse()
	if err != nil {
		return err
	}
	f.config = c
	if instance.ValidateOnly {
		return nil
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	if f.store, err = checkpoint.Open(instance.StateDir); err != nil {
		return err
	}
	f.store.Step = f.step
	// A certificate whose files are not affected can be deployed all the same;
	// the others are refused by their checkpoint.
	f.unrecovered = f.store.Recover(ctx)
	return nil
}

// Deploy stages the files in memory.
func (f *files) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	wanted, err := f.config.render(d)
	if err != nil {
		return err
	}
	var diff strings.Builder
	changed := false
	for _, c := range wanted {
		difference, differs, err := c.compare()
		if err != nil {
			return err
		}
		if differs {
			changed = true
			diff.WriteString(difference.text())
		}
	}
	result := sdk.Result{Subject: d.Name, Changed: changed, Endpoints: f.endpoints(d.Lineage)}
	if d.DryRun {
		result.Diff = diff.String()
		r.Result(result)
		return nil
	}
	if err := f.working.enter(ctx); err != nil {
		return err
	}
	defer f.working.leave()
	if f.unrecovered != nil {
		r.Progress("", fmt.Sprintf("an interrupted deployment is not undone yet: %v", f.unrecovered))
	}
	if result.Changed, err = f.stage(ctx, d, wanted, changed); err != nil {
		return err
	}
	r.Result(result)
	return nil
}

func (f *files) stage(ctx context.Context, d sdk.Deployment, wanted []content, changed bool) (bool, error) {
	for _, c := range wanted {
		if owner, ok := f.owners[c.path]; ok && owner != d.Lineage {
			err := sdk.Problemf(sdk.Conflict, "%s is deployed for the certificate %s already, so not for %s", c.path, owner, d.Lineage)
			return false, sdk.Hint(sdk.Subject(sdk.Permanent(err), c.setting), "write %s into the setting %s", placeholder, c.setting)
		}
	}
	for _, c := range wanted {
		f.owners[c.path] = d.Lineage
	}
	f.names[d.Lineage] = slices.Clone(d.Names)
	t := f.open[scope(ctx)]
	if t == nil {
		t = &transaction{}
		f.open[scope(ctx)] = t
	}
	for i := range t.staged {
		if s := &t.staged[i]; s.lineage == d.Lineage {
			s.files, s.changed = wanted, s.changed || changed
			return s.changed, nil
		}
	}
	t.staged = append(t.staged, staging{lineage: d.Lineage, files: wanted, changed: changed})
	return changed, nil
}

func (f *files) endpoints(lineage string) []sdk.Endpoint {
	var out []sdk.Endpoint
	for _, e := range f.config.endpoints {
		e.Address = strings.ReplaceAll(e.Address, placeholder, lineage)
		out = append(out, e)
	}
	return out
}

// Save writes what differs from what is staged; with a title it finalises.
func (f *files) Save(ctx context.Context, req sdk.SaveRequest, r sdk.Reporter) (sdk.Checkpoint, error) {
	if req.Temporary {
		return sdk.Checkpoint{}, nil // nothing here belongs to a challenge
	}
	if err := f.working.enter(ctx); err != nil {
		return sdk.Checkpoint{}, err
	}
	defer f.working.leave()
	key := scope(ctx)
	t := f.open[key]
	if t == nil {
		return f.again(sdk.OperationFrom(ctx).ID, key, req.Title)
	}
	c, err := f.save(ctx, t, key, req.Title, r)
	if err != nil {
		return sdk.Checkpoint{}, errors.Join(err, f.discard(ctx, t))
	}
	if req.Title != "" {
		f.saved[key] = outcome{operation: sdk.OperationFrom(ctx).ID, title: req.Title, result: c}
		delete(f.open, key)
	}
	return c, nil
}

// again gives what the same Save has made before, in another process too.
func (f *files) again(operation, key, title string) (sdk.Checkpoint, error) {
	if operation == "" || title == "" {
		return sdk.Checkpoint{}, nil
	}
	if last := f.saved[key]; last.operation == operation && last.title == title {
		return last.result, nil
	}
	list, err := f.store.List()
	newest := slices.IndexFunc(list, func(c checkpoint.Checkpoint) bool { return c.Label == key })
	if newest < 0 || list[newest].Operation != operation || list[newest].Title != title {
		return sdk.Checkpoint{}, err
	}
	return toSDK(list[newest]), nil
}

func toSDK(c checkpoint.Checkpoint) sdk.Checkpoint {
	return sdk.Checkpoint{ID: c.ID, Title: c.Title, Created: c.Created, Files: c.Files}
}

func (f *files) save(ctx context.Context, t *transaction, key, title string, r sdk.Reporter) (sdk.Checkpoint, error) {
	for _, s := range t.staged {
		for _, c := range s.files {
			if err := f.write(ctx, t, key, c, r); err != nil {
				return sdk.Checkpoint{}, err
			}
		}
	}
	if title == "" || t.draft == nil {
		return sdk.Checkpoint{}, nil
	}
	t.draft.Operation = sdk.OperationFrom(ctx).ID
	c, err := t.draft.Finalise(ctx, title)
	if err != nil {
		return sdk.Checkpoint{}, err
	}
	t.draft = nil
	if ctx.Err() != nil {
		// The host is not listening any more, so for it there is no checkpoint.
		return sdk.Checkpoint{}, errors.Join(ctx.Err(), f.revert(ctx, key))
	}
	return toSDK(c), nil
}

func (f *files) write(ctx context.Context, t *transaction, key string, c content, r sdk.Reporter) error {
	_, differs, err := c.compare()
	if err != nil || !differs {
		return err
	}
	if t.draft == nil {
		if t.draft, err = f.store.Begin(ctx, key); err != nil {
			return err
		}
	}
	if err := t.draft.WriteFile(ctx, c.path, c.data, c.want); err != nil {
		return explain(err, c, f.unrecovered)
	}
	r.Progress(c.setting, "wrote "+c.path)
	return nil
}

// discard puts back what was written, also if the call was cancelled: nobody
// may come back to do it.
func (f *files) discard(ctx context.Context, t *transaction) error {
	if t.draft == nil {
		return nil
	}
	ctx, cancel := undoing(ctx)
	defer cancel()
	err := t.draft.Discard(ctx)
	t.draft = nil
	return err
}

func (f *files) revert(ctx context.Context, key string) error {
	ctx, cancel := undoing(ctx)
	defer cancel()
	_, err := f.store.Rollback(ctx, 1, checkpoint.Scope{Label: key})
	return err
}

func undoing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
}

// undoLimit bounds the wait for another process that has the checkpoints locked.
const undoLimit = 30 * time.Second

// ConfigTest runs the test command.
func (f *files) ConfigTest(ctx context.Context, _ sdk.Reporter) error {
	return f.command(ctx, "test", f.config.test, sdk.ConfigTestFailed)
}

// Restart runs the reload command.
func (f *files) Restart(ctx context.Context, _ sdk.Reporter) error {
	return f.command(ctx, "reload", f.config.reload, sdk.Unavailable)
}

func (f *files) command(ctx context.Context, setting, command string, code sdk.Code) error {
	if command == "" {
		return nil
	}
	op := sdk.OperationFrom(ctx)
	if err := f.working.enter(ctx); err != nil {
		return err
	}
	names := slices.Clone(f.names[op.Lineage])
	f.working.leave()
	if names == nil {
		for _, id := range op.Identifiers {
			names = append(names, id.String())
		}
	}
	if err := f.commands.enter(ctx); err != nil {
		return err
	}
	defer f.commands.leave()
	return run(ctx, setting, command, environment(op.Lineage, names), code)
}

// Rollback drops what is staged or unfinished, then reverts checkpoints: those
// of the operation's lineage, so that the failure of one certificate does not
// take back another one, or without a lineage the newest of all.
func (f *files) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	if count < 0 {
		return sdk.Problemf(sdk.InvalidConfig, "roll back %d checkpoints: the number must not be negative", count)
	}
	if err := f.working.enter(ctx); err != nil {
		return err
	}
	defer f.working.leave()
	op := sdk.OperationFrom(ctx)
	var errs []error
	for key, t := range f.open {
		if op.Lineage == "" || key == op.Lineage {
			errs = append(errs, f.discard(ctx, t))
			delete(f.open, key)
			f.disown(t)
		}
	}
	f.unrecovered = f.store.Recover(ctx)
	if err := errors.Join(append(errs, f.unrecovered)...); err != nil {
		// What is older must not be put over what could not be undone.
		return err
	}
	reverted, err := f.store.Rollback(ctx, count, checkpoint.Scope{Label: op.Lineage, Operation: op.ID})
	for _, c := range reverted {
		delete(f.saved, c.Label)
		r.Progress("", fmt.Sprintf("took back %q: %s", c.Title, strings.Join(c.Files, ", ")))
	}
	return err
}

func (f *files) disown(t *transaction) {
	for _, s := range t.staged {
		for _, c := range s.files {
			delete(f.owners, c.path)
		}
	}
}

// scope is what a call belongs to: the lineage of its operation.
func scope(ctx context.Context) string { return sdk.OperationFrom(ctx).Lineage }

// explain says what to do about a file that cannot be written.
func explain(err error, c content, unrecovered error) error {
	switch {
	case errors.Is(err, checkpoint.ErrHeld) && unrecovered != nil:
		err = fmt.Errorf("%w: an interrupted deployment could not be undone: %w", err, unrecovered)
	case errors.Is(err, fs.ErrPermission):
		err = sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied),
			"run certwright as root, or give its user the directory and take out the setting owner")
	}
	return sdk.Subject(err, c.setting)
}
