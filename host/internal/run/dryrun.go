package run

import (
	"context"
	"crypto"
	"errors"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/hook"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// dryRun proves every name as a real run would, and keeps nothing of what comes
// of it. What its targets would be given is shown.
func (e *Engine) dryRun(ctx context.Context, item model.Item, l model.Lineage, t *team) (map[string]string, error) {
	r := item.Request
	if item.Action == model.Deploy {
		return e.previews(ctx, item, l, model.Issued{}, t)
	}
	c := t.told[r.Name]
	ctx = c.Into(ctx)
	diffs, err := e.tryOut(ctx, item, l, t)
	if err == nil && l.Version != nil && c.Wants(sdk.EventDryRun) {
		var v hook.Version
		if v, err = e.version(l); err == nil {
			err = c.DryRun(ctx, v)
		}
	}
	if err == nil {
		e.Terminal.Tell(r.Name, "the dry run was successful: nothing is kept")
	}
	return diffs, errors.Join(err, c.Attempted(ctx, nil, err, false))
}

// tryOut proves the names, and asks what would be written.
func (e *Engine) tryOut(ctx context.Context, item model.Item, l model.Lineage, t *team) (map[string]string, error) {
	issued, err := e.rehearse(ctx, item.Request, l, t)
	if err != nil {
		return nil, err
	}
	return e.previews(ctx, item, l, issued, t)
}

// rehearse obtains a certificate that is not kept.
func (e *Engine) rehearse(ctx context.Context, r model.Request, l model.Lineage, t *team) (model.Issued, error) {
	c := t.told[r.Name]
	if err := c.Begin(ctx); err != nil {
		return model.Issued{}, err
	}
	r, err := e.requested(ctx, r, c)
	if err != nil {
		return model.Issued{}, err
	}
	if test := config.TestServer(r.Server); test != r.Server {
		r.Server, r.Account = test, config.AccountName(test)
	}
	client, release, err := e.account(ctx, r, t)
	if err != nil {
		return model.Issued{}, err
	}
	defer release()
	deps := e.orderDeps(client, t, r, l)
	deps.DryRun, deps.Keys, deps.Replaces = true, unkept{}, ""
	deps.Journal, deps.Hooks = unordered{deps.Journal}, c
	result, err := order.Obtain(ctx, deps, r)
	return result.Issued, err
}

// unkept makes keys that are on no disk.
type unkept struct{}

func (unkept) NewKey(_, _ string, kt model.KeyType) (crypto.Signer, error) {
	return store.GenerateKey(kt)
}

func (u unkept) ReuseKey(lineage, orderID string, kt model.KeyType) (crypto.Signer, error) {
	return u.NewKey(lineage, orderID, kt)
}

func (unkept) KeepRequest(string, string, []byte) error { return nil }

func (unkept) DropOrder(string, string) error { return nil }

// unordered journals what is put in place, but no order: nothing of it is worth
// finishing.
type unordered struct{ order.Journal }

func (unordered) Ordering(model.Request, model.Order) (func() error, error) {
	return func() error { return nil }, nil
}
