package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/sdk"
)

// Recover undoes what runs that were killed have left. What cannot be undone
// three times is only warned of.
func (e *Engine) Recover(ctx context.Context) error {
	e.resume = map[string]journal.Order{}
	t := &team{engine: e, byLineage: map[string]map[string]*member{}, cas: newCAs(e)}
	defer t.stop(ctx)
	err := journal.Recover(ctx, filepath.Join(e.Store.Dir(), "journal"), func(ctx context.Context, entry journal.Entry) error {
		e.Terminal.Tell("", "cleaning up after an interrupted run: %s", entry)
		switch {
		case entry.Perform != nil:
			return e.recoverPerform(ctx, t, *entry.Perform)
		case entry.Deploy != nil:
			return e.recoverDeploy(ctx, t, *entry.Deploy)
		case entry.Order != nil:
			return e.recoverOrder(ctx, t, *entry.Order)
		}
		return nil
	})
	warnings, blocking := journal.Split(err)
	for _, w := range warnings {
		e.Terminal.Warn("", "%v", w)
	}
	return e.unlessOrders(blocking)
}

// unlessOrders lets a run go on if only orders could not be finished: their CA
// may be down, which is no reason to renew nothing elsewhere. They are tried
// again by the next run.
func (e *Engine) unlessOrders(err error) error {
	// Each journal has its own errors: one may hold an order and a challenge.
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var blocking []error
		for _, one := range joined.Unwrap() {
			blocking = append(blocking, e.unlessOrders(one))
		}
		return errors.Join(blocking...)
	}
	var failed *journal.FailedError
	if errors.As(err, &failed) && failed.Entry.Order != nil {
		e.Terminal.Warn("", "%v", err)
		return nil
	}
	return err
}

// recoverPerform has challenges taken away by an instance with the settings
// that it had then.
func (e *Engine) recoverPerform(ctx context.Context, t *team, p journal.Perform) error {
	instance, err := t.recall(ctx, p.Lineage, p.Instance)
	if err != nil {
		return err
	}
	ctx = sdk.WithOperation(ctx, sdk.Operation{ID: p.OperationID + "-recover", RunID: e.RunID, Lineage: p.Lineage, Attempt: 1})
	_, err = order.Clean(ctx, instance.Authenticator(), p.Challenges, e.Terminal.Reporter(p.Lineage, p.Instance.Name))
	return err
}

// recoverDeploy drops what is unfinished and leads the pointer back to what was
// served. The plan then sees a target that is behind, and deploys again.
func (e *Engine) recoverDeploy(ctx context.Context, t *team, d journal.Deploy) error {
	unlock, err := e.Store.Lock(ctx, "lineage-"+d.Lineage, true)
	if err != nil {
		return err
	}
	defer unlock()
	l, err := e.Store.Lineage(d.Lineage)
	deleted := errors.Is(err, fs.ErrNotExist)
	if err != nil && !deleted {
		return err
	}
	if state := l.Targets[d.Instance.Name]; state.Deployed == d.To && state.Error == "" {
		return nil // it was done but for the last line of the journal
	}
	instance, err := t.recall(ctx, d.Lineage, d.Instance)
	if err != nil {
		return err
	}
	ctx = sdk.WithOperation(ctx, sdk.Operation{ID: "recover-" + d.Lineage, RunID: e.RunID, Lineage: d.Lineage, Attempt: 1})
	if err := instance.Installer().Rollback(ctx, 0, e.Terminal.Reporter(d.Lineage, d.Instance.Name)); err != nil {
		return fmt.Errorf("drop what %s has left unfinished: %w", d.Instance.Name, err)
	}
	if d.From == 0 || deleted {
		// The configuration may name it already; the next deployment moves it.
		return nil
	}
	return e.Store.SetPointer(d.Instance.Name, d.Lineage, d.From)
}

// recoverOrder finishes an order if everything is proven, so that no
// certificate is lost. One that still has names to prove is kept for this run,
// if it comes to the same certificate; else it is forgotten.
func (e *Engine) recoverOrder(ctx context.Context, t *team, o journal.Order) error {
	r := o.Request
	l, unlock, err := e.open(ctx, r)
	if err != nil {
		return err
	}
	defer unlock()
	key, err := e.Store.OrderKey(o.Lineage, o.OrderID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the certificate is kept already, or its key was never made
	}
	if err != nil {
		return err
	}
	client, release, err := e.account(ctx, r, t)
	if err != nil {
		if !o.Expires.IsZero() && e.Now().After(o.Expires) {
			e.Terminal.Warn(o.Lineage, "the order %s is forgotten: it has expired, and its CA cannot be asked: %v", o.OrderURL, err)
			return e.Store.DropOrder(o.Lineage, o.OrderID)
		}
		return err
	}
	defer release()
	result, err := order.Finish(ctx, client, e.Terminal, r, o.OrderURL, key)
	switch {
	case errors.Is(err, order.ErrPending):
		e.resume[o.Lineage] = o
		return nil
	case errors.Is(err, order.ErrDead):
		return e.Store.DropOrder(o.Lineage, o.OrderID)
	case err != nil:
		return err
	}
	l.Request, l.Instances, l.Failures, l.Skipped, l.ARI = r, o.Instances, nil, result.Skipped, nil
	l, err = e.Store.Commit(l, o.OrderID, result.Issued)
	if err != nil {
		return err
	}
	e.Terminal.Tell(o.Lineage, "version %d is obtained by finishing the order of an interrupted run", l.Version.Number)
	return nil
}

// resumable gives the order that this run can go on with.
func (e *Engine) resumable(lineage string) string {
	e.resumeLock.Lock()
	defer e.resumeLock.Unlock()
	o := e.resume[lineage]
	delete(e.resume, lineage)
	return o.OrderURL
}

// forget drops the keys of orders that nobody went on with.
func (e *Engine) forget(ctx context.Context) error {
	var errs []error
	for lineage, o := range e.resume {
		unlock, err := e.Store.Lock(ctx, "lineage-"+lineage, true)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, e.Store.DropOrder(lineage, o.OrderID))
		unlock()
	}
	return errors.Join(errs...)
}

// recall starts an instance as the journal remembers it; one that several
// entries need is started once.
func (t *team) recall(ctx context.Context, lineage string, i model.Instance) (running, error) {
	d, err := t.engine.Plugins.Describe(ctx, i.Plugin)
	if err != nil {
		return running{}, err
	}
	m, err := t.engine.member(config.Instance{Name: i.Name, Plugin: i.Plugin}, i, d)
	if err != nil {
		return running{}, err
	}
	for _, known := range t.byLineage {
		for _, other := range known {
			if other.key() == m.key() {
				return running{other.instance, other.config}, other.err
			}
		}
	}
	m.instance, m.err = t.engine.start(ctx, m)
	key := fmt.Sprintf("%s#%d", lineage, len(t.byLineage))
	t.byLineage[key] = map[string]*member{i.Name: m}
	return running{m.instance, m.config}, m.err
}
