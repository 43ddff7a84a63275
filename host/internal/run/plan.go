package run

import (
	"context"
	"runtime/debug"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/plan"
)

// Plan says what Run would do, and what would be written. The error says what of
// it could not be done, which is not in the plan.
func (e *Engine) Plan(ctx context.Context, w Want) (model.Plan, error) {
	lineages := e.lineages()
	p, err := e.plan(ctx, w, lineages)
	if err != nil {
		return p, err
	}
	p, err = e.able(ctx, p, lineages)
	e.preview(ctx, w, p, lineages)
	return p, err
}

// Due says what there is to do, without a look at who would do it.
func (e *Engine) Due(ctx context.Context, w Want) (model.Plan, error) {
	return e.plan(ctx, w, e.lineages())
}

// decide reads what exists, plans what has to be done, and prepares that. It may be
// ten thousand certificates of which none is due, so the collector leaves less
// lying about than usual, at the price of some more work.
func (e *Engine) decide(ctx context.Context, w Want) (model.Plan, *team, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	lineages := e.lineages()
	if w.BackOff {
		e.windows(ctx, lineages)
	}
	p, err := e.plan(ctx, w, lineages)
	if err != nil {
		return p, nil, err
	}
	t, err := e.prepare(ctx, w, p, lineages)
	return p, t, err
}

// lineages reads what exists, by name. The others are not to suffer from one
// that cannot be read: each certificate is for itself.
func (e *Engine) lineages() map[string]model.Lineage {
	list, err := e.Store.Lineages()
	if e.Unread = err; err != nil {
		e.Terminal.Warn("", "%v", err)
	}
	out := make(map[string]model.Lineage, len(list))
	for _, l := range list {
		out[l.Name] = l
	}
	return out
}

// damaged looks at the files of certificates that a user asks for by name. A timer's
// run does not: what is recorded of each decides there, and to look at ten
// thousand directories takes its time.
func (e *Engine) damaged(w Want, requests []model.Request, lineages map[string]model.Lineage) map[string]string {
	if w.BackOff || len(w.DeployTo) > 0 {
		return nil
	}
	out := map[string]string{}
	for _, r := range requests {
		if l := lineages[r.Name]; l.Version != nil {
			if err := e.Store.CheckFiles(l); err != nil {
				out[r.Name] = "its files are damaged: " + err.Error()
			}
		}
	}
	return out
}

// relink mends the link to a newest version whose files are as they should be, for
// whoever asks for the certificate by name.
func (e *Engine) relink(ctx context.Context, r model.Request, t *team) error {
	l := t.lineages[r.Name]
	if t.want.BackOff || e.DryRun || l.Version == nil {
		return nil
	}
	if live, err := e.Store.Live(l.Name); err == nil && live == l.Version.Number {
		return nil
	}
	_, unlock, err := e.open(ctx, r)
	if err != nil {
		return err
	}
	unlock()
	e.Terminal.Tell(l.Name, "%s leads to version %d again", e.Store.LivePath(l.Name), l.Version.Number)
	return nil
}

func (e *Engine) plan(ctx context.Context, w Want, lineages map[string]model.Lineage) (model.Plan, error) {
	requests, err := w.Requests(ctx, lineages)
	if err != nil {
		return model.Plan{}, err
	}
	return plan.Make(plan.Input{
		Now: e.Now(), Requests: requests, Lineages: lineages, Damaged: e.damaged(w, requests, lineages), Stale: e.stale(requests, lineages),
		Force: w.Force || e.DryRun, NoDeploy: w.NoDeploy, BackOff: w.BackOff, DeployTo: w.DeployTo,
	}), nil
}
