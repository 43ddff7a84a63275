package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
)

// obtain gets a new version and keeps it.
func (e *Engine) obtain(ctx context.Context, r model.Request, l model.Lineage, t *team) (model.Lineage, error) {
	client, release, err := e.account(ctx, r, t)
	if err != nil {
		return e.failed(ctx, l, err)
	}
	defer release()
	deps := e.orderDeps(client, t, r, l)
	deps.Replaces = e.replaces(ctx, client, r, l)
	result, err := order.Obtain(ctx, deps, r)
	if err != nil {
		return e.failed(ctx, l, err)
	}
	next := l
	next.Request, next.Instances, next.Failures, next.Skipped, next.ARI = r, t.configs(r, l), nil, result.Skipped, nil
	next, err = e.Store.Commit(next, result.OrderID, result.Issued)
	if err != nil {
		return e.failed(ctx, l, fmt.Errorf("keep the certificate: %w", err))
	}
	if err := result.Done(); err != nil {
		e.Terminal.Warn(r.Name, "%v", err)
	}
	e.Terminal.Tell(r.Name, "version %d is obtained, valid until %s", next.Version.Number, next.Version.NotAfter.UTC().Format("2006-01-02 15:04 UTC"))
	return next, nil
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
