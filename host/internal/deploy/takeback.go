package deploy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Past is what a target is taken back to: what there was before a deployment
// that has ended well.
type Past struct {
	Lineage     string
	Identifiers []model.Identifier
	Checkpoint  model.Checkpoint
	// LeafPEM of the version that is served then, if there is one.
	LeafPEM []byte
}

// TakeBack reverts the newest checkpoint of a target on the user's word: what
// its configuration was, the version that it named, and what is served. The
// state that it returns is to be kept if changed is set, with an error too. What
// is begun is not given up when ctx is cancelled; what breaks is ended by
// [Recover].
func TakeBack(ctx context.Context, d Deps, t Target, before model.Target, p Past) (after model.Target, changed bool, err error) {
	w := &work{
		Deps: d, target: t, before: before, run: d.RunID,
		cert:       Certificate{Lineage: p.Lineage, Version: before.Deployed, Identifiers: p.Identifiers},
		checkpoint: sdk.Checkpoint{ID: p.Checkpoint.ID}, from: p.Checkpoint.From, restarted: true,
	}
	if !slices.Contains(t.Description.Features, sdk.FeatureRollback) {
		return before, false, fmt.Errorf("the plugin %s cannot roll back", t.Config.Plugin)
	}
	now, err := w.Pointers.Pointer(w.name(), p.Lineage)
	if err != nil {
		return before, false, fmt.Errorf("read what %s serves: %w", w.name(), err)
	}
	w.moved = now != w.from
	w.entry, err = w.Journal.Deploying(Begun{
		Lineage: p.Lineage, Identifiers: p.Identifiers, Instance: t.Config,
		From: w.from, To: before.Deployed, RunID: w.run, Undo: p.Checkpoint.ID,
	})
	if err != nil {
		return before, false, fmt.Errorf("journal the roll back of %s: %w", w.name(), err)
	}
	ctx = context.WithoutCancel(ctx) // half of it is on disk from here on
	if err := w.rollback(ctx); err != nil {
		if broken(err) {
			return before, false, err // how far it came is not known: the journal keeps it
		}
		return before, false, both(err, w.entry.Done())
	}
	if err := w.undo(ctx); err != nil { // the pointer is left
		return before, false, err
	}
	after = before.Undone(w.from, before.Deployed, p.Checkpoint.ID)
	after.At, after.Proven, after.RolledBack = w.Now().UTC(), 0, before.Deployed
	after.Failures, after.Retry = 0, time.Time{}
	if after.Deployed != before.Deployed {
		after.Since = after.At
	}
	err = w.revive(ctx)
	open := broken(err) // it may serve the old files still: the journal keeps it
	shows := w.from > 0 && !w.stopped
	if err == nil && shows {
		err = w.served(ctx, after.Endpoints, p.LeafPEM, "the certificate of before")
	}
	if err != nil {
		after.Error = err.Error()
	} else if after.Error = ""; shows && len(after.Endpoints) > 0 {
		after.Proven = w.from
	}
	if d.Keep != nil {
		if keep := d.Keep(map[string]model.Target{w.name(): after}); keep != nil {
			return after, true, both(keep, err)
		}
	}
	if open {
		return after, true, err
	}
	return after, true, both(err, w.entry.Done())
}
