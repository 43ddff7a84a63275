package main

import (
	"context"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// apache is both roles. Calls of several certificates may come at once; what
// reads or changes the configuration does so at the desk.
type apache struct {
	settings settings
	desk     desk
	edits    *checkpoint.Edits[[]intent]
	stateDir string
	// posed are the challenges that are in place.
	posed posed
	// step is for tests that kill the process; see checkpoint.Store.
	step func(string)
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
} = (*apache)(nil)

// Configure checks the settings, and undoes what a crash left before anything
// is read.
func (a *apache) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := a.settings.parse(); err != nil {
		return err
	}
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
	store.Step = a.step
	a.stateDir = instance.StateDir
	a.edits = checkpoint.NewEdits[[]intent](ctx, store)
	return nil
}

// Health says, if it is to look deep, whether httpd is there and takes its
// configuration. Otherwise it answers at once: who asks wants to know whether
// this process lives, and whoever sits at the desk may have to wait for httpd.
func (a *apache) Health(ctx context.Context, deep bool) error {
	if !deep || a.edits == nil {
		return nil
	}
	leave, err := a.desk.sit(ctx, lineage(ctx))
	if err != nil {
		return err
	}
	defer leave()
	return a.settings.test(ctx)
}

// Names lists the virtual hosts.
func (a *apache) Names(ctx context.Context) ([]sdk.Site, error) {
	leave, err := a.desk.sit(ctx, lineage(ctx))
	if err != nil {
		return nil, err
	}
	defer leave()
	c, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	var out []sdk.Site
	for _, v := range c.vhosts {
		out = append(out, sdk.Site{
			ID: v.where(), Names: v.names(), File: v.file.path, TLS: v.secure(a.settings.httpsPort()),
		})
	}
	return out, nil
}

// read reads the configuration as it is without challenges.
func (a *apache) read(ctx context.Context) (*config, error) {
	facts, err := a.facts(ctx)
	if err != nil {
		return nil, err
	}
	return load(newWorkspace(a.posed.base), facts)
}

// facts asks httpd. What is loaded for challenges only will not stay.
func (a *apache) facts(ctx context.Context) (facts, error) {
	f, err := a.settings.ask(ctx)
	for _, module := range a.posed.modules {
		delete(f.modules, module)
	}
	return f, err
}

func lineage(ctx context.Context) string { return sdk.OperationFrom(ctx).Lineage }

func (a *apache) stepped(what string) {
	if a.step != nil {
		a.step(what)
	}
}
