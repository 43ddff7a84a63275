package run

import (
	"context"
	"errors"

	"github.com/certwright/certwright/host/internal/deploy"
	"github.com/certwright/certwright/host/internal/model"
)

// deploy brings the newest version to the targets, one after the other; one
// that fails does not stop the others.
func (e *Engine) deploy(ctx context.Context, l model.Lineage, targets []string, t *team) (model.Lineage, error) {
	issued, err := e.Store.Read(l.Name, l.Version.Number)
	if err != nil {
		return l, err
	}
	cert := deploy.Certificate{
		Lineage: l.Name, Version: l.Version.Number, Identifiers: l.Request.Identifiers, Issued: issued, Paths: e.Store.LivePaths(l.Name),
	}
	state := map[string]model.Target{}
	for name, target := range l.Targets {
		state[name] = target
	}
	var errs []error
	for _, name := range targets {
		after, err := e.deployTo(ctx, t, name, cert, l.Targets[name])
		after.Error = e.Secrets.Redact(after.Error)
		state[name] = after
		l.Targets = state
		l = t.remember(l, name)
		errs = append(errs, err, e.Store.SaveLineage(l))
	}
	return l, errors.Join(errs...)
}

func (e *Engine) deployTo(ctx context.Context, t *team, name string, cert deploy.Certificate, before model.Target) (model.Target, error) {
	fail := func(err error) (model.Target, error) {
		before.Error, before.At = err.Error(), e.Now().UTC()
		return before, err
	}
	instance, err := t.get(ctx, cert.Lineage, name)
	if err != nil {
		return fail(err)
	}
	// A roll back takes the newest checkpoint: one deployment at a time.
	unlock, err := e.Store.Lock(ctx, "instance-"+name, true)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	return deploy.Run(ctx, deploy.Deps{
		Pointers: e.Store, Journal: journalling{Journal: e.Journal}, Story: e.Terminal, RunID: e.RunID, Now: e.Now,
	}, deploy.Target{Config: instance.config, Description: instance.Description(), Installer: instance.Installer()}, cert, before)
}
