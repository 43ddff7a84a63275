package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/hook"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// obtain gets a new version and keeps it; the hooks are told. With an error the
// lineage may have a new version all the same: what is issued is kept, whatever
// a hook says.
func (e *Engine) obtain(ctx context.Context, r model.Request, l model.Lineage, t *team) (model.Lineage, error) {
	c := t.told[r.Name]
	ctx = c.Into(ctx)
	next, err := e.issue(ctx, r, l, t, c)
	if number(next) > number(l) {
		var told error
		next, told = e.tellNew(ctx, next, c)
		return next, errors.Join(err, told)
	}
	var pending *order.UnfinishedError
	return e.failed(ctx, l, errors.Join(err, c.Attempted(ctx, nil, err, errors.As(err, &pending))))
}

// issue gets a new version from the CA and keeps it.
func (e *Engine) issue(ctx context.Context, r model.Request, l model.Lineage, t *team, c *hook.Certificate) (model.Lineage, error) {
	if err := t.usable(ctx, l, r.Deploy); err != nil {
		return l, err
	}
	if err := c.Begin(ctx); err != nil {
		return l, err
	}
	ordered, err := e.requested(ctx, r, c)
	if err != nil {
		return l, err
	}
	client, release, err := e.account(ctx, r, t)
	if err != nil {
		return l, err
	}
	defer release()
	deps := e.orderDeps(client, t, r, l)
	deps.Replaces = e.replaces(ctx, client, r, l)
	if c.Wants(sdk.EventAttempt, sdk.EventAttempted, sdk.EventChallengeInvalid, sdk.EventSuccess, sdk.EventIssued) {
		deps.Hooks = c
	}
	result, err := order.Obtain(ctx, deps, ordered)
	if err != nil {
		return l, err
	}
	next := l
	next.Request, next.Instances, next.Failures, next.Skipped, next.ARI = r, t.configs(r, l), nil, result.Skipped, nil
	next.Events, next.Untold, next.HookCSR = t.events(r), nil, len(ordered.CSR) > len(r.CSR)
	if next.HookCSR {
		next.Skipped = without(r.Identifiers, without(ordered.Identifiers, result.Skipped))
	}
	told := model.Untold{OrderURL: result.OrderURL, CSR: result.CSR}
	if c.Wants(sdk.EventSuccess, sdk.EventAttempted) {
		next.Untold = &told
	}
	var hooks error
	next, err = e.Store.CommitTelling(next, result.OrderID, result.Issued, func(l model.Lineage, issued model.Issued, paths model.Paths) {
		hooks = c.Issued(ctx, told, hook.Version{Version: *l.Version, Issued: issued, Paths: paths})
	})
	if err != nil {
		return l, fmt.Errorf("keep the certificate: %w", err)
	}
	if err := result.Done(); err != nil {
		e.Terminal.Warn(r.Name, "%v", err)
	}
	e.Terminal.Tell(r.Name, "version %d is obtained, valid until %s", next.Version.Number, next.Version.NotAfter.UTC().Format("2006-01-02 15:04 UTC"))
	return next, hooks
}

// requested gives what is to be ordered: the request, or what a hook makes of
// it by a certificate request of its own.
func (e *Engine) requested(ctx context.Context, r model.Request, c *hook.Certificate) (model.Request, error) {
	if len(r.CSR) > 0 {
		return r, nil
	}
	data, err := c.CSR(ctx)
	if err != nil || len(data) == 0 {
		return r, err
	}
	if r.CSR, r.Identifiers, err = config.ParseCSR(data); err != nil {
		return r, fmt.Errorf("the certificate request of a hook cannot be used: %w", err)
	}
	e.Terminal.Tell(r.Name, "a hook gave the certificate request, for %v", model.Names(r.Identifiers))
	return r, nil
}

// Paths of the newest version. The key of a certificate request that was made
// elsewhere is there.
func Paths(s *store.Store, l model.Lineage) model.Paths {
	paths := s.LivePaths(l.Name)
	if len(l.Request.CSR) > 0 || l.HookCSR {
		paths.Privkey = l.Request.KeyPath
	}
	return paths
}

// failed keeps account of a failure, if there is a lineage to keep it in. To be
// interrupted is none.
func (e *Engine) failed(ctx context.Context, l model.Lineage, err error) (model.Lineage, error) {
	if l.Version == nil || ctx.Err() != nil {
		return l, err
	}
	f := model.Failures{Count: 1, Last: e.Now().UTC(), Error: e.Secrets.Redact(err.Error())}
	if l.Failures != nil {
		f.Count += l.Failures.Count
	}
	l.Failures = &f
	return l, errors.Join(err, e.Store.SaveLineage(l))
}
