package deploy

import (
	"context"
	"fmt"
	"slices"

	"github.com/certwright/certwright/sdk"
)

// Interrupted is a deployment that a killed run has left, as its journal has it.
type Interrupted struct {
	Begun
	// Entry is told how the undoing goes on; its Done is not called.
	Entry Entry
	// Checkpoint that is known to be finalised.
	Checkpoint string
	// RolledBack and Restarting: what the run had come to.
	RolledBack, Restarting bool
	// Deleted: the lineage is gone, and its pointers with it.
	Deleted bool
}

// Recover puts a target back to what it served before a deployment that was
// interrupted. It may be repeated: its operations have the same IDs again, and
// those that the interrupted run would have undone it with. A target may refuse
// what it served before; that is on disk all the same.
func Recover(ctx context.Context, d Deps, t Target, i Interrupted) (refused, err error) {
	w := &work{
		Deps: d, target: t, cert: Certificate{Lineage: i.Lineage, Version: i.To, Identifiers: i.Identifiers},
		entry: i.Entry, run: i.RunID, from: i.From,
		checkpoint: sdk.Checkpoint{ID: i.Checkpoint}, unsure: i.Checkpoint == "", rolledBack: i.RolledBack, restarted: i.Restarting,
	}
	if !slices.Contains(t.Description.Features, sdk.FeatureRollback) {
		// Nobody can take back what was written; the next deployment goes on.
		d.Story.Warn(i.Lineage, "%s cannot roll back what an interrupted run has written", w.name())
		return nil, nil
	}
	if !i.Deleted {
		now, err := w.Pointers.Pointer(w.name(), i.Lineage)
		if err != nil {
			return nil, fmt.Errorf("read what %s serves: %w", w.name(), err)
		}
		w.moved = now != i.From
	}
	d.Story.Warn(i.Lineage, "putting %s back to what it served before", w.name())
	if err := w.undo(ctx); err != nil {
		return nil, err
	}
	refused = w.revive(ctx)
	if i.Undo != "" && broken(refused) {
		return nil, refused // no deployment follows that would restart it
	}
	if refused != nil {
		// It is as it was, and was no better: before a first deployment a server
		// may lack the very files. The next deployment restarts it.
		d.Story.Warn(i.Lineage, "what %s served before is back, but it does not take that: %v", w.name(), refused)
	}
	return refused, nil
}
