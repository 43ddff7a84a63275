package run

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/store"
)

// resumed is an order of an interrupted run that this one can go on with. Until
// it does, or gives it up, the order is in this run's journal.
type resumed struct {
	journal.Order
	done func() error
}

// recoverOrder finishes an order if everything is proven, so that no
// certificate is lost. One that still has names to prove is kept for this run,
// if it comes to the same certificate; else it is forgotten. The lineage's lock
// is held.
func (e *Engine) recoverOrder(ctx context.Context, t *team, o journal.Order) error {
	l, _, err := e.opened(o.Request, func() {})
	if err != nil {
		return err
	}
	if number(l) > o.Follows {
		// It is stored already, or another order was faster.
		return e.Store.DropOrder(o.Lineage, o.OrderID)
	}
	result, err := e.finish(ctx, t, o)
	switch {
	case errors.Is(err, order.ErrPending):
		return e.carry(o)
	case errors.Is(err, order.ErrDead):
		if err != order.ErrDead { //nolint:errorlint // with a reason, or without
			e.Terminal.Warn(o.Lineage, "the order %s of an interrupted run is given up: %v", o.OrderURL, err)
		}
		return e.Store.DropOrder(o.Lineage, o.OrderID)
	case err != nil && !o.Expires.IsZero() && e.Now().After(o.Expires):
		e.Terminal.Warn(o.Lineage, "the order %s of an interrupted run is given up: it has expired, and could not be finished: %v", o.OrderURL, err)
		return e.Store.DropOrder(o.Lineage, o.OrderID)
	case err != nil:
		return err
	}
	l.Request, l.Instances, l.Failures, l.Skipped, l.ARI = o.Request, o.Instances, nil, result.Skipped, nil
	if l.HookCSR = o.Asked != nil; l.HookCSR {
		l.Request, l.Skipped = *o.Asked, without(o.Asked.Identifiers, without(o.Request.Identifiers, result.Skipped))
	}
	// The plugins are not there yet: they are told when the certificate's turn
	// comes.
	l.Untold = &model.Untold{OrderURL: o.OrderURL, CSR: result.CSR, Late: true}
	l, err = e.Store.Commit(l, o.OrderID, result.Issued)
	if err != nil {
		return err
	}
	e.Terminal.Tell(o.Lineage, "version %d is obtained by finishing the order of an interrupted run", l.Version.Number)
	return nil
}

// finish asks the CA what has become of an order, and finishes it if it can be.
// No account is registered for that: a new one would know of no order.
func (e *Engine) finish(ctx context.Context, t *team, o journal.Order) (order.Result, error) {
	r := o.Request
	var key crypto.Signer
	var err error
	if len(r.CSR) > 0 {
		err = e.Store.KeepRequest(o.Lineage, o.OrderID, r.CSR)
	} else if key, err = e.Store.OrderKey(o.Lineage, o.OrderID); errors.Is(err, fs.ErrNotExist) {
		key, err = nil, nil // the run died before it was made
	}
	if err != nil {
		return order.Result{}, err
	}
	client, err := t.cas.get(ctx, r)
	if err != nil {
		return order.Result{}, err
	}
	if _, err := client.Directory(ctx); err != nil {
		return order.Result{}, err
	}
	_, release, err := e.known(ctx, client, e.wanted(r))
	if errors.Is(err, fs.ErrNotExist) {
		return order.Result{}, fmt.Errorf("%w: its account %s is not known any more", order.ErrDead, r.Account)
	}
	if err != nil {
		return order.Result{}, err
	}
	defer release()
	return order.Finish(ctx, client, e.Terminal, r, o.OrderURL, key)
}

// carry takes an order over into the journal of this run. Of several orders of
// a lineage one can be gone on with.
func (e *Engine) carry(o journal.Order) error {
	id, err := e.Journal.Order(o)
	if err != nil {
		return err
	}
	e.resumeLock.Lock()
	before, several := e.resume[o.Lineage]
	e.resume[o.Lineage] = resumed{o, func() error { return e.Journal.OrderDone(id) }}
	e.resumeLock.Unlock()
	if !several {
		return nil
	}
	if before.OrderID != o.OrderID {
		err = e.Store.DropOrder(o.Lineage, before.OrderID)
	}
	return errors.Join(err, before.done())
}

// resumable gives the order that this run can go on with, and what ends its
// place in the journal when it has another. A dry run leaves it to a real one. An
// order is known by the key that is kept for it; that of a request made elsewhere
// has none here, and is known by the request.
func (e *Engine) resumable(r model.Request) (url string, done func() error) {
	e.resumeLock.Lock()
	defer e.resumeLock.Unlock()
	o, ok := e.resume[r.Name]
	if !ok || e.DryRun || !bytes.Equal(o.Request.CSR, r.CSR) {
		return "", nil
	}
	delete(e.resume, r.Name)
	// An order that fails is followed by another one, which has a place too.
	return o.OrderURL, sync.OnceValue(o.done)
}

// forget drops the keys of orders that nobody went on with.
func (e *Engine) forget(ctx context.Context) error {
	if e.DryRun {
		return nil
	}
	var errs []error
	for lineage, o := range e.resume {
		unlock, err := e.Store.Lock(ctx, store.LineageLock(lineage), true)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, e.Store.DropOrder(lineage, o.OrderID), o.done())
		unlock()
	}
	return errors.Join(errs...)
}

// number of the newest version; 0: there is none.
func number(l model.Lineage) int {
	if l.Version == nil {
		return 0
	}
	return l.Version.Number
}
