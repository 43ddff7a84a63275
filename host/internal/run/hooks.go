package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/certwright/certwright/host/internal/hook"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// idle are the events of a certificate for which nothing is to be done: who
// wants one of them is started all the same.
var idle = []string{sdk.EventStart, sdk.EventUnchanged, sdk.EventFinish}

// idlers names the instances that have to be told although the certificate is
// not to be obtained. Those that the lineage remembers are known; a hook that
// is new is looked at, and so is everybody if something is left to be told.
func idlers(r model.Request, l model.Lineage) []string {
	wanted := slices.Clone(idle)
	if l.Untold != nil {
		wanted = append(wanted, sdk.EventSuccess, sdk.EventAttempted)
	}
	hooks := r.AllHooks()
	return slices.DeleteFunc(instances(r), func(name string) bool {
		events, known := l.Events[name]
		if !known {
			return !slices.Contains(hooks, name) && l.Untold == nil
		}
		return !slices.ContainsFunc(events, func(e string) bool { return slices.Contains(wanted, e) })
	})
}

// idle adds those that want to be told although there is nothing to do. What is
// wrong with them fails nothing: nothing is tried.
func (e *Engine) idle(ctx context.Context, r model.Request, l model.Lineage, mine, members map[string]*member) {
	for _, name := range idlers(r, l) {
		if mine[name] != nil {
			continue
		}
		m, err := e.resolve(ctx, r, l, name)
		if err != nil {
			e.Terminal.WarnError(fmt.Errorf("a hook is not told that there is nothing to do: %w", err))
			continue
		}
		if l.Untold == nil && !slices.ContainsFunc(idle, func(event string) bool { return slices.Contains(m.description.HookEvents, event) }) {
			continue
		}
		key := m.key()
		if members[key] == nil {
			members[key] = m
		}
		mine[name] = members[key]
	}
}

// instances are those of a request in the order in which they are told: the
// hooks as they stand, then what it is deployed to, then who proves its names.
func instances(r model.Request) []string {
	out := append(r.AllHooks(), r.Deploy...)
	for _, rule := range r.Authenticate {
		out = append(out, rule.Instances()...)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(name string) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
}

// tellable makes the members of a certificate that want to be told part of the
// run.
func (t *team) tellable(r model.Request) {
	named := r.AllHooks()
	var members []hook.Member
	for _, name := range instances(r) {
		m := t.byLineage[r.Name][name]
		if m == nil || !slices.Contains(m.description.Roles, sdk.RoleHook) {
			continue
		}
		members = append(members, hook.Member{
			Name: name, Key: m.key(), Events: m.description.HookEvents, Named: slices.Contains(named, name),
			Hook: func(ctx context.Context) (sdk.Hook, error) {
				running, err := t.get(ctx, r.Name, name)
				if err != nil {
					return nil, err
				}
				return running.Hook(), nil
			},
		})
	}
	t.told[r.Name] = t.hooks.Certificate(r, t.hooks.Join(members))
}

// events gives what the instances of a request want to be told, to be
// remembered.
func (t *team) events(r model.Request) map[string][]string {
	out := map[string][]string{}
	for _, name := range r.Uses() {
		if m := t.byLineage[r.Name][name]; m != nil {
			out[name] = append([]string{}, m.description.HookEvents...)
		}
	}
	return out
}

// remember notes that a target belongs to the lineage.
func (t *team) remember(l model.Lineage, target string) model.Lineage {
	if !slices.Contains(l.Request.Deploy, target) {
		l.Request.Deploy = append(slices.Clone(l.Request.Deploy), target)
	}
	l.Instances = t.configs(l.Request, l)
	events := maps.Clone(l.Events)
	if events == nil {
		events = map[string][]string{}
	}
	maps.Copy(events, t.events(l.Request))
	l.Events = events
	return l
}

// version is what hooks are told of the newest one.
func (e *Engine) version(l model.Lineage) (hook.Version, error) {
	issued, err := e.Store.Read(l.Name, l.Version.Number)
	return hook.Version{Version: *l.Version, Issued: issued, Paths: Paths(e.Store, l)}, err
}

// tellNew tells of a version that is live, and notes that it is told.
func (e *Engine) tellNew(ctx context.Context, l model.Lineage, c *hook.Certificate) (model.Lineage, error) {
	if l.Untold == nil {
		return l, nil
	}
	v, err := e.version(l)
	if err != nil {
		return l, err
	}
	failed := c.Success(ctx, *l.Untold, v)
	failed = errors.Join(failed, c.Attempted(ctx, &v, nil, false))
	if ctx.Err() != nil {
		return l, errors.Join(failed, context.Cause(ctx)) // the next run tells it
	}
	l.Untold = nil
	return l, errors.Join(failed, e.Store.SaveLineage(l))
}

// unchanged tells that nothing is to be done for a certificate, or what is left
// to be told.
func (e *Engine) unchanged(ctx context.Context, r model.Request, t *team) (model.Lineage, error) {
	l, c := t.lineages[r.Name], t.told[r.Name]
	if l.Version == nil {
		return l, nil
	}
	if l.Untold != nil && !e.DryRun {
		return e.catchUp(ctx, r, t)
	}
	if !c.Wants(sdk.EventStart, sdk.EventUnchanged) {
		return l, nil
	}
	v, err := e.version(l)
	if err != nil {
		return l, err
	}
	return l, c.Unchanged(ctx, v)
}

// catchUp tells what a run that was interrupted has not.
func (e *Engine) catchUp(ctx context.Context, r model.Request, t *team) (model.Lineage, error) {
	l, unlock, err := e.open(ctx, r)
	if err != nil {
		return l, err
	}
	defer unlock()
	return e.tellLate(ctx, l, t)
}

// tellLate tells of the newest version, if that is left to be done. The
// lineage's lock is held.
func (e *Engine) tellLate(ctx context.Context, l model.Lineage, t *team) (model.Lineage, error) {
	if l.Version == nil || l.Untold == nil {
		return l, nil // another run may have told it meanwhile
	}
	c := t.told[l.Name]
	if err := c.Begin(ctx); err != nil {
		return l, err
	}
	return e.tellNew(ctx, l, c)
}

// post tells that everything that was due is done. Its errors belong to the
// certificates that do not allow them.
func (e *Engine) post(ctx context.Context, p model.Plan, t *team, outcomes []model.Outcome) {
	errs := t.hooks.Post(context.WithoutCancel(ctx), e.summary(p, outcomes))
	fatal := map[string]bool{}
	for i := range outcomes {
		err := t.told[outcomes[i].Name].Post(errs)
		if err == nil {
			continue
		}
		outcomes[i].Err = errors.Join(outcomes[i].Err, err)
		for _, part := range hook.Parts(err) {
			fatal[part.Instance] = true
		}
	}
	for _, err := range errs {
		for _, part := range hook.Parts(err) {
			if !fatal[part.Instance] {
				e.Terminal.WarnError(err)
			}
		}
	}
}

// ended tells that the run has ended.
func (e *Engine) ended(ctx context.Context, p model.Plan, t *team, outcomes []model.Outcome, err error) {
	event := e.summary(p, outcomes)
	all, failed := 0, 0
	for _, o := range outcomes {
		parts := o.Parts()
		all, failed = all+parts.All, failed+parts.Failed
		if o.Err != nil {
			event.Messages = append(event.Messages, e.Secrets.Redact(o.Name+": "+o.Err.Error()))
			err = errors.Join(err, o.Err)
		}
	}
	event.Messages = append(event.Messages, e.Terminal.Warnings()...)
	switch {
	case err == nil:
		event.Outcome = "ok"
	case failed < all:
		event.Outcome = "partial"
	default:
		event.Outcome = "failed"
	}
	event.Problem = sdk.ProblemOf(err)
	t.hooks.Finish(ctx, event)
}

// summary says what was obtained and what was not.
func (e *Engine) summary(p model.Plan, outcomes []model.Outcome) sdk.HookEvent {
	var event sdk.HookEvent
	for i, o := range outcomes {
		ids := p.Items[i].Request.Identifiers
		switch {
		case o.Action != model.Issue && o.Action != model.Renew:
		case o.Issued || e.DryRun && o.Err == nil:
			event.Renewed = append(event.Renewed, o.Name)
			event.RenewedIdentifiers = append(event.RenewedIdentifiers, ids...)
		case o.Err != nil:
			event.Failed = append(event.Failed, o.Name)
			event.FailedIdentifiers = append(event.FailedIdentifiers, ids...)
		}
	}
	return event
}

// without gives the identifiers that are not among others.
func without(ids, others []model.Identifier) []model.Identifier {
	return slices.DeleteFunc(slices.Clone(ids), func(id model.Identifier) bool { return slices.Contains(others, id) })
}
