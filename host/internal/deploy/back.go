package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/certwright/certwright/sdk"
)

// back undoes what forward did, in reverse, and goes on after an error: as much
// as possible shall be as before.
func (w *work) back(ctx context.Context) error {
	return errors.Join(w.undo(ctx), w.revive(ctx))
}

// undo brings back what was on disk.
func (w *work) undo(ctx context.Context) error {
	var errs []error
	if w.fresh != nil {
		// The process may have died, or hang.
		fresh, err := w.fresh(ctx)
		if err == nil {
			w.target = fresh
		}
		errs = append(errs, err)
	}
	rollback := w.rollback(ctx)
	errs = append(errs, rollback)
	// What could not be rolled back may name a pointer that was made for it: a
	// server would not start without.
	if w.moved && (w.from != 0 || rollback == nil) {
		if err := w.Pointers.SetPointer(w.name(), w.cert.Lineage, w.from); err != nil {
			errs = append(errs, fmt.Errorf("move the pointer back: %w", err))
		}
	}
	return errors.Join(errs...)
}

// revive has the target serve what is on disk, if it may serve something else.
func (w *work) revive(ctx context.Context) error {
	if !w.restarted {
		return nil
	}
	if err := w.target.ConfigTest(w.operation(ctx, "test-back"), w); err != nil {
		return fmt.Errorf("test the configuration: %w", err)
	}
	err := w.target.Restart(w.operation(ctx, "restart-back"), w)
	var problem *sdk.Problem
	if w.stopped = !broken(err) && errors.As(err, &problem) && problem.Code == sdk.NotRunning; w.stopped {
		w.Story.Warn(w.cert.Lineage, "%s is not running, so it serves what is put back once it is started", w.name())
		return nil
	}
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return nil
}

// rollback takes back what was written, finalised or not.
func (w *work) rollback(ctx context.Context) error {
	if w.rolledBack {
		return nil
	}
	if !slices.Contains(w.target.Description.Features, sdk.FeatureRollback) {
		if w.checkpoint.ID != "" || w.unsure {
			return fmt.Errorf("the plugin %s cannot roll back", w.target.Config.Plugin)
		}
		return nil
	}
	asked := w.unsure
	if asked {
		if err := w.ask(ctx); err != nil {
			return err
		}
	}
	var err error
	switch {
	case w.checkpoint.ID != "":
		err = w.take(ctx, 1)
	case !asked: // it has dropped what is unfinished
		err = w.take(ctx, 0)
	}
	if err != nil {
		return err
	}
	if err := w.entry.RolledBack(); err != nil {
		return fmt.Errorf("journal the roll back: %w", err)
	}
	w.rolledBack = true
	return nil
}

// ask finds out whether there is a checkpoint that Save did not live to tell of:
// the same operation again has the same outcome. What is only staged is dropped
// first, or it would be saved now.
func (w *work) ask(ctx context.Context) error {
	if err := w.take(ctx, 0); err != nil {
		return err
	}
	if err := w.finalise(ctx); err != nil {
		return fmt.Errorf("ask for the checkpoint: %w", err)
	}
	if w.checkpoint.ID == "" {
		return nil
	}
	if err := w.entry.Saved(w.checkpoint.ID); err != nil {
		return fmt.Errorf("journal the checkpoint: %w", err)
	}
	return nil
}

func (w *work) take(ctx context.Context, count int) error {
	if err := w.target.Rollback(w.operation(ctx, fmt.Sprintf("rollback-%d", count)), count, w); err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}

// broken says that a call did not come to its own end: what it has done is not
// known. A plugin that reports a failure has undone its part.
func broken(err error) bool {
	// The error of a process that died has a hint, and is a problem as well.
	var call interface{ CallBroke() }
	var problem *sdk.Problem
	return err != nil && (errors.As(err, &call) || !errors.As(err, &problem) || problem.Code == sdk.Timeout || problem.Code == sdk.Cancelled)
}
