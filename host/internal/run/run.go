// Package run ties the stages together: plan, order, store, deploy. What comes
// before it (config) and after it (report) belongs to its callers.
package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/plan"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/store"
)

// parallel is how many certificates are worked on at once: enough for the disk
// and the CA to be busy while others wait for them.
const parallel = 32

// Engine is everything that a run needs.
type Engine struct {
	Config   *config.Config
	Store    *store.Store
	Journal  *journal.Journal
	Plugins  *pluginhost.Host
	Terminal *report.Terminal
	Secrets  *report.Secrets
	// EAB binds new accounts, if the command line says so.
	EAB     *config.EAB
	Version string
	RunID   string
	// Verb of the command line, for hooks.
	Verb string
	// DryRun, Debug and NewKey: see order.Deps.
	DryRun bool
	Debug  bool
	NewKey bool
	Now    func() time.Time

	// Unread is what kept lineages from being read when the run began.
	Unread error

	resources resources
	lookup    lookup
	// resume are orders of interrupted runs, by lineage, that this one can go
	// on with.
	resumeLock sync.Mutex
	resume     map[string]resumed
	recovering sync.Mutex
	// left are lineages with something in the journal that was held by another
	// process when this run began.
	left map[string]bool
	// undone is what the user had wanted to be taken back, and this run has ended.
	undone []model.TakenBack
	// stuck says why what an interrupted run has left at an installer could not be
	// undone.
	stuck map[string]error
	// watch lets tests stand between the run and its plugins.
	watch watch
}

// Want is what one run is to do.
type Want struct {
	// Requests makes the requests once it is known what exists. A request may
	// leave to the lineage what it does not say.
	Requests func(ctx context.Context, lineages map[string]model.Lineage) ([]model.Request, error)
	Force    bool
	NoDeploy bool
	// BackOff leaves alone what has failed lately, and asks the CAs for renewal
	// windows: for runs by a timer.
	BackOff bool
	// DeployTo plans deployments to these targets and nothing else.
	DeployTo []string
	// Enhance lists the names of each enhancement that is set in this run, by
	// target.
	Enhance map[string]map[string][]string
	// MustEnhance refuses to deploy to none that can enhance, if that is wanted.
	MustEnhance bool
	// preview starts installers alone, to ask them what they would write.
	preview bool
	// KeyPath is where the key of a certificate is that was obtained by a CSR;
	// it is kept with the lineage.
	KeyPath string
}

// Run brings everything that is wanted to where it should be.
func (e *Engine) Run(ctx context.Context, w Want) (outcomes []model.Outcome, err error) {
	if err := e.Recover(ctx); err != nil {
		return nil, err
	}
	p, team, err := e.decide(ctx, w)
	if err != nil {
		return nil, err
	}
	defer team.stop(ctx)
	defer func() { e.ended(ctx, p, team, outcomes, err) }()
	team.hooks.Start(ctx)
	outcomes = make([]model.Outcome, len(p.Items))
	var group errgroup.Group
	group.SetLimit(team.parallel())
	for i, item := range p.Items {
		group.Go(func() error {
			outcomes[i] = e.do(ctx, item, team)
			return nil
		})
	}
	err = errors.Join(group.Wait(), e.forget(ctx))
	e.post(ctx, p, team, outcomes)
	return outcomes, err
}

// do brings one item to its end. Its failure is its own, even a mistake in this
// program.
func (e *Engine) do(ctx context.Context, item model.Item, t *team) (out model.Outcome) {
	r := item.Request
	out = model.Outcome{Name: r.Name, Action: item.Action, Why: item.Why, Due: item.Due}
	defer func() {
		if v := recover(); v != nil {
			e.Terminal.Detail(r.Name, "%v\n%s", v, debug.Stack())
			out.Err = fmt.Errorf("this is a mistake in certwright, please report it (-v shows more): %v", v)
		}
	}()
	if item.Action == model.None {
		relinked := e.relink(ctx, r, t)
		l, err := e.unchanged(ctx, r, t)
		out.Err = errors.Join(relinked, err)
		e.show(&out, l)
		return out
	}
	if out.Err = t.errs[r.Name]; out.Err != nil {
		return out
	}
	l, unlock, err := e.open(ctx, r)
	if err != nil {
		out.Err = err
		return out
	}
	defer unlock()
	if e.DryRun {
		out.Diffs, out.Err = e.dryRun(ctx, item, l, t)
		return out
	}
	if item.Action != model.Deploy {
		if l.Version != nil && l.Version.Number != item.Version && plan.Changed(l, r) == "" {
			e.Terminal.Tell(r.Name, "another run has obtained version %d meanwhile", l.Version.Number)
		} else {
			before := number(l)
			l, out.Err = e.obtain(ctx, r, l, t)
			out.Issued = number(l) > before
		}
	} else {
		l, out.Err = e.tellLate(ctx, l, t)
	}
	if (out.Err == nil || out.Issued || item.Action == model.Deploy) && l.Version != nil && len(item.Deploy) > 0 {
		l, err = e.deploy(ctx, l, r, item.Deploy, t)
		out.Tried, out.Err = item.Deploy, errors.Join(out.Err, err)
	}
	e.show(&out, l)
	return out
}

// show tells what there is of a lineage.
func (e *Engine) show(out *model.Outcome, l model.Lineage) {
	if l.Version == nil {
		return
	}
	out.Version, out.Targets, out.Paths = l.Version, l.Targets, Paths(e.Store, l)
}

// open locks a lineage, mends what a crash left of it, and reads it.
func (e *Engine) open(ctx context.Context, r model.Request) (model.Lineage, func(), error) {
	unlock, err := e.lock(ctx, r.Name)
	if err != nil {
		return model.Lineage{}, nil, err
	}
	return e.opened(r, unlock)
}

// opened is open with the lock held, which it takes over.
func (e *Engine) opened(r model.Request, unlock func()) (model.Lineage, func(), error) {
	if _, err := e.Store.Repair(r.Name); err != nil {
		unlock()
		return model.Lineage{}, nil, fmt.Errorf("mend what an earlier run left of %s: %w", r.Name, err)
	}
	l, err := e.Store.Lineage(r.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l = model.Lineage{Name: r.Name, Created: e.Now().UTC()}
	case err != nil:
		unlock()
		return l, nil, err
	}
	return l, unlock, nil
}
