package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// undoLimit bounds the wait for another process that has the store locked, when
// something must be put back whatever has become of the call.
const undoLimit = 30 * time.Second

// Edits does for an installer what the contract asks of Save and Rollback: one
// transaction for each certificate (the lineage of the call's operation), from
// the first Deploy to the Save with a title; on a failure everything as it was;
// the same Save again, in a new process too, gives the same checkpoint.
//
// S is what the installer stages in Deploy and writes in Save. Methods may be
// called from several goroutines; what is given to Stage and Save to be called
// is called by one at a time.
type Edits[S any] struct {
	// Dropped, if set, is called with what was staged and is given up.
	Dropped func(*S)

	store *Store
	// entry holds one token: the lock of what follows, which can be given up.
	entry       chan struct{}
	unrecovered error
	open        map[string]*edit[S]
	saved       map[string]saved
}

// edit is a transaction.
type edit[S any] struct {
	staged S
	// draft is nil until something is written.
	draft *Draft
}

// saved is the outcome of a Save with a title.
type saved struct {
	operation, title string
	checkpoint       sdk.Checkpoint
}

// NewEdits undoes what a crash has left in the store. What cannot be undone now
// is tried again by Rollback; until then only its own files are refused, and
// Unrecovered says why.
func NewEdits[S any](ctx context.Context, store *Store) *Edits[S] {
	return &Edits[S]{
		store: store, entry: make(chan struct{}, 1), unrecovered: store.Recover(ctx),
		open: map[string]*edit[S]{}, saved: map[string]saved{},
	}
}

func (e *Edits[S]) enter(ctx context.Context) error {
	select {
	case e.entry <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *Edits[S]) leave() { <-e.entry }

func lineage(ctx context.Context) string { return sdk.OperationFrom(ctx).Lineage }

// Store is where the checkpoints are.
func (e *Edits[S]) Store() *Store { return e.store }

// Unrecovered is what a crash has left and could not be undone yet; mostly nil.
func (e *Edits[S]) Unrecovered(ctx context.Context) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	return e.unrecovered
}

// Stage is for Deploy: it lets stage change what is staged for the certificate,
// which is the zero value at first. If it fails for the first name of a
// certificate there is no transaction.
func (e *Edits[S]) Stage(ctx context.Context, stage func(*S) error) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	t := e.open[lineage(ctx)]
	if t == nil {
		t = &edit[S]{}
	}
	if err := stage(&t.staged); err != nil {
		return err
	}
	e.open[lineage(ctx)] = t
	return nil
}

// Save is sdk.Installer.Save. write brings what is staged to disk, through the
// draft that begin gives, the same for every Save of the transaction; it is
// called again for each name, and what is written already it should leave. A
// draft that was never begun gives no checkpoint. If write fails, everything
// that it wrote is put back and the transaction is over with the next Rollback.
func (e *Edits[S]) Save(ctx context.Context, req sdk.SaveRequest,
	write func(ctx context.Context, staged *S, begin func() (*Draft, error)) error,
) (sdk.Checkpoint, error) {
	if req.Temporary {
		return sdk.Checkpoint{}, nil // nothing here belongs to a challenge
	}
	if err := e.enter(ctx); err != nil {
		return sdk.Checkpoint{}, err
	}
	defer e.leave()
	t := e.open[lineage(ctx)]
	if t == nil {
		return e.again(ctx, req.Title)
	}
	err := write(ctx, &t.staged, func() (draft *Draft, err error) {
		if t.draft == nil {
			t.draft, err = e.store.Begin(ctx, lineage(ctx))
		}
		return t.draft, err
	})
	if err == nil && req.Title == "" {
		return sdk.Checkpoint{}, nil
	}
	var c sdk.Checkpoint
	if err == nil {
		c, err = e.finalise(ctx, t, req.Title)
	}
	if err != nil {
		if errors.Is(err, ErrHeld) && e.unrecovered != nil {
			err = fmt.Errorf("%w: an interrupted deployment could not be undone: %w", err, e.unrecovered)
		}
		return sdk.Checkpoint{}, errors.Join(err, discard(ctx, t))
	}
	e.saved[lineage(ctx)] = saved{operation: sdk.OperationFrom(ctx).ID, title: req.Title, checkpoint: c}
	delete(e.open, lineage(ctx))
	return c, nil
}

func (e *Edits[S]) finalise(ctx context.Context, t *edit[S], title string) (sdk.Checkpoint, error) {
	if t.draft == nil {
		return sdk.Checkpoint{}, nil
	}
	t.draft.Operation = sdk.OperationFrom(ctx).ID
	c, err := t.draft.Finalise(ctx, title)
	if err != nil {
		return sdk.Checkpoint{}, err
	}
	t.draft = nil
	if cause := ctx.Err(); cause != nil {
		// The host is not listening any more, so for it there is no checkpoint.
		ctx, cancel := undoing(ctx)
		defer cancel()
		_, err := e.store.Rollback(ctx, 1, Scope{Label: lineage(ctx)})
		return sdk.Checkpoint{}, errors.Join(cause, err)
	}
	return toSDK(c), nil
}

// again gives what the same Save has made before, in another process too.
func (e *Edits[S]) again(ctx context.Context, title string) (sdk.Checkpoint, error) {
	op := sdk.OperationFrom(ctx)
	if op.ID == "" || title == "" {
		return sdk.Checkpoint{}, nil
	}
	if last := e.saved[op.Lineage]; last.operation == op.ID && last.title == title {
		return last.checkpoint, nil
	}
	list, err := e.store.List()
	newest := slices.IndexFunc(list, func(c Checkpoint) bool { return c.Label == op.Lineage })
	if newest < 0 || list[newest].Operation != op.ID || list[newest].Title != title {
		return sdk.Checkpoint{}, err
	}
	return toSDK(list[newest]), nil
}

// Rollback is sdk.Rollbacker.Rollback: it drops what is staged or unfinished,
// then reverts checkpoints: those of the operation's lineage, so that the
// failure of one certificate does not take back another one, or without a
// lineage the newest of all.
func (e *Edits[S]) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	if count < 0 {
		return sdk.Problemf(sdk.InvalidConfig, "roll back %d checkpoints: the number must not be negative", count)
	}
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	op := sdk.OperationFrom(ctx)
	var errs []error
	for name, t := range e.open {
		if op.Lineage != "" && name != op.Lineage {
			continue
		}
		errs = append(errs, discard(ctx, t))
		delete(e.open, name)
		if e.Dropped != nil {
			e.Dropped(&t.staged)
		}
	}
	e.unrecovered = e.store.Recover(ctx)
	if err := errors.Join(append(errs, about(e.unrecovered, op.Lineage))...); err != nil {
		// What is older must not be put over what could not be undone.
		return err
	}
	reverted, err := e.store.Rollback(ctx, count, Scope{Label: op.Lineage, Operation: op.ID})
	for _, c := range reverted {
		delete(e.saved, c.Label)
		r.Progress("", fmt.Sprintf("took back %q: %s", c.Title, strings.Join(c.Files, ", ")))
		for _, copied := range c.Edited {
			r.Progress("", "a file had been changed since; how it was is kept in "+copied)
		}
	}
	return err
}

// discard puts back what was written, also if the call was cancelled: nobody
// may come back to do it.
func discard[S any](ctx context.Context, t *edit[S]) error {
	if t.draft == nil {
		return nil
	}
	ctx, cancel := undoing(ctx)
	defer cancel()
	err := t.draft.Discard(ctx)
	t.draft = nil
	return err
}

func undoing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
}

func toSDK(c Checkpoint) sdk.Checkpoint {
	return sdk.Checkpoint{ID: c.ID, Title: c.Title, Created: c.Created, Files: c.Files}
}
