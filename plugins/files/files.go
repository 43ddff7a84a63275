package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// files is the installer. Several certificates may be on their way at once: each
// operation's lineage has a transaction, and checkpoints, of its own.
type files struct {
	settings settings
	config   config
	edits    *checkpoint.Edits[staging]
	// step is for tests that kill the process; see checkpoint.Store.
	step func(string)

	// commands guards the operator's commands, which may not be made for running
	// twice at once.
	commands gate

	mu sync.Mutex
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

// staging is what is to be written for a certificate.
type staging struct {
	lineage string
	files   []content
	// changed: something was different when it was staged first. By the next
	// name of the certificate it may be written already.
	changed bool
}

func newFiles() *files {
	return &files{commands: make(gate, 1), names: map[string][]string{}, owners: map[string]string{}}
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
	store, err := checkpoint.Open(instance.StateDir)
	if err != nil {
		return err
	}
	store.Step = f.step
	f.edits = checkpoint.NewEdits[staging](ctx, store)
	f.edits.Dropped = f.disown
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
	if err := f.edits.Unrecovered(ctx); err != nil {
		// Only its own files are refused: another certificate can be deployed.
		r.Progress("", fmt.Sprintf("an interrupted deployment is not undone yet: %v", err))
	}
	err = f.edits.Stage(ctx, func(s *staging) error {
		if err := f.own(d, wanted); err != nil {
			return err
		}
		s.lineage, s.files, s.changed = d.Lineage, wanted, s.changed || changed
		result.Changed = s.changed
		return nil
	})
	if err != nil {
		return err
	}
	r.Result(result)
	return nil
}

// own notes which certificate each path belongs to.
func (f *files) own(d sdk.Deployment, wanted []content) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range wanted {
		if owner, ok := f.owners[c.path]; ok && owner != d.Lineage {
			err := sdk.Problemf(sdk.Conflict, "%s is deployed for the certificate %s already, so not for %s", c.path, owner, d.Lineage)
			return sdk.Hint(sdk.Subject(sdk.Permanent(err), c.setting), "write %s into the setting %s", placeholder, c.setting)
		}
	}
	for _, c := range wanted {
		f.owners[c.path] = d.Lineage
	}
	f.names[d.Lineage] = slices.Clone(d.Names)
	return nil
}

func (f *files) disown(s *staging) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range s.files {
		delete(f.owners, c.path)
	}
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
	return f.edits.Save(ctx, req, func(ctx context.Context, s *staging, begin func() (*checkpoint.Draft, error)) error {
		for _, c := range s.files {
			if err := f.write(ctx, begin, c, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *files) write(ctx context.Context, begin func() (*checkpoint.Draft, error), c content, r sdk.Reporter) error {
	_, differs, err := c.compare()
	if err != nil || !differs {
		return err
	}
	draft, err := begin()
	if err != nil {
		return err
	}
	if err := draft.WriteFile(ctx, c.path, c.data, c.want); err != nil {
		return explain(err, c)
	}
	r.Progress(c.setting, "wrote "+c.path)
	return nil
}

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
	f.mu.Lock()
	names := slices.Clone(f.names[op.Lineage])
	f.mu.Unlock()
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

// Rollback takes back what was written.
func (f *files) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	return f.edits.Rollback(ctx, count, r)
}

// explain says what to do about a file that cannot be written.
func explain(err error, c content) error {
	if errors.Is(err, fs.ErrPermission) {
		err = sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied),
			"run certwright as root, or give its user the directory and take out the setting owner")
	}
	return sdk.Subject(err, c.setting)
}
