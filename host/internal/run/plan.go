package run

import (
	"context"
	"runtime/debug"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/plan"
)

// Plan says what Run would do, and what would be written.
func (e *Engine) Plan(ctx context.Context, w Want) (model.Plan, error) {
	lineages := e.lineages()
	p, err := e.plan(ctx, w, lineages)
	if err == nil {
		e.preview(ctx, w, p, lineages)
	}
	return p, err
}

// decide reads what exists and plans what has to be done. That may be ten
// thousand certificates of which none is due, so the collector leaves less lying
// about than usual, at the price of some more work.
func (e *Engine) decide(ctx context.Context, w Want) (model.Plan, map[string]model.Lineage, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	lineages := e.lineages()
	if w.BackOff {
		e.windows(ctx, lineages)
	}
	p, err := e.plan(ctx, w, lineages)
	return p, lineages, err
}

// lineages reads what exists, by name. The others are not to suffer from one
// that cannot be read: each certificate is for itself.
func (e *Engine) lineages() map[string]model.Lineage {
	list, err := e.Store.Lineages()
	if err != nil {
		e.Terminal.Warn("", "%v", err)
	}
	out := make(map[string]model.Lineage, len(list))
	for _, l := range list {
		out[l.Name] = l
	}
	return out
}

func (e *Engine) plan(ctx context.Context, w Want, lineages map[string]model.Lineage) (model.Plan, error) {
	requests, err := w.Requests(ctx, lineages)
	if err != nil {
		return model.Plan{}, err
	}
	return plan.Make(plan.Input{
		Now: e.Now(), Requests: requests, Lineages: lineages, Stale: e.stale(requests, lineages),
		Force: w.Force || e.DryRun, NoDeploy: w.NoDeploy, BackOff: w.BackOff, DeployTo: w.DeployTo,
	}), nil
}
