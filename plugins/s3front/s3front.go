package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// front is the authenticator and the installer.
type front struct {
	settings settings
	cloud    *cloud
	book     book
	edits    *checkpoint.Edits[staging]
	// step is for tests that kill the process; see checkpoint.Store.
	step func(string)
	// patience is for tests that do not want to wait.
	patience patience
}

var _ interface {
	sdk.Authenticator
	sdk.Installer
	sdk.Hook
	sdk.Configurer
	sdk.HealthChecker
	sdk.Namer
	sdk.Preferrer
	sdk.Rollbacker
} = (*front)(nil)

func newFront() *front { return &front{step: func(string) {}, patience: real} }

// Configure checks the settings, and undoes what a crash left on disk. Nobody is
// asked yet.
func (f *front) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := f.settings.check(); err != nil {
		return err
	}
	f.cloud = newCloud(f.settings, f.patience)
	if instance.ValidateOnly {
		return nil
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	f.book = book{dir: filepath.Join(instance.StateDir, "certificates"), step: f.step}
	if err := os.MkdirAll(f.book.dir, 0o700); err != nil {
		return err
	}
	store, err := checkpoint.Open(instance.StateDir)
	if err != nil {
		return err
	}
	store.Step = f.step
	f.edits = checkpoint.NewEdits[staging](ctx, store)
	return nil
}

// Health looks at the credentials and at each distribution; deep only.
func (f *front) Health(ctx context.Context, deep bool) error {
	if !deep {
		return nil
	}
	for _, id := range f.settings.Distributions {
		if _, err := f.cloud.distribution(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// Run is told of the end of a run: what its deployments have replaced can go.
func (f *front) Run(ctx context.Context, e sdk.HookEvent, r sdk.Reporter) (sdk.HookResult, error) {
	if e.Event != sdk.EventPost {
		return sdk.HookResult{}, nil
	}
	for _, lineage := range e.Renewed {
		if err := f.sweep(ctx, lineage, r); err != nil {
			r.Progress("", "what the new certificate replaced is still in AWS, and is removed another time: "+err.Error())
		}
	}
	return sdk.HookResult{}, nil
}
