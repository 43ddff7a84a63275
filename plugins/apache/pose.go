package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/certwright/certwright/sdk/checkpoint"
)

// challenge is one that the server answers, or is to.
type challenge struct {
	id    string
	token string
	body  string
	name  string
	// owners are the certificates that wait for it: a CA may give one pending
	// authorization to two orders.
	owners map[string]bool
	// contacts are where it is to be seen.
	contacts []string
}

func (c *challenge) path() string { return challengePath + c.token }

// posed is what challenges have put into the configuration: one temporary
// checkpoint for all that are under way in this process.
type posed struct {
	challenges map[string]*challenge
	// draft is nil while the files are as they were.
	draft *checkpoint.Draft
	// base are the files as they were; modules are there for challenges only.
	base    map[string]string
	modules []string
}

// leave takes an owner from a challenge, and gives the challenge if nobody is
// left.
func (p *posed) leave(token, owner string) *challenge {
	c := p.challenges[token]
	if c == nil {
		return nil
	}
	if owner != "" {
		delete(c.owners, owner)
		if len(c.owners) > 0 {
			return nil
		}
	}
	delete(p.challenges, token)
	return c
}

// join puts challenges beside those that are there, and has the server read them.
// Those that no virtual host could answer are refused; an error is about all.
func (a *apache) join(ctx context.Context, mine []*challenge) (map[*challenge]error, error) {
	if a.posed.challenges == nil {
		a.posed.challenges = map[string]*challenge{}
	}
	before := maps.Clone(a.posed.challenges)
	news := false
	for _, c := range mine {
		old := before[c.token]
		if old != nil && old.body == c.body && old.name == c.name {
			maps.Copy(old.owners, c.owners)
			c.contacts = old.contacts
			continue
		}
		news = true
		a.posed.challenges[c.token] = c
	}
	if !news && a.posed.draft != nil {
		return nil, nil //nolint:nilnil // all are there, none is refused
	}
	refused, err := a.pose(ctx, true)
	if err == nil && len(refused) < len(mine) {
		err = a.show(ctx)
	}
	if err == nil {
		return refused, nil
	}
	if ctx.Err() != nil {
		return refused, err // Cleanup takes away what is there
	}
	a.posed.challenges = before
	return refused, errors.Join(err, a.retreat(ctx))
}

// retreat is back to the challenges that were there before a failure.
func (a *apache) retreat(ctx context.Context) error {
	if len(a.posed.challenges) == 0 {
		return a.lift(ctx)
	}
	_, err := a.pose(ctx, true)
	return err
}

// repose puts the challenges back after the files were free for something else.
func (a *apache) repose(ctx context.Context) error {
	if len(a.posed.challenges) == 0 || a.posed.draft != nil {
		return nil
	}
	_, err := a.pose(ctx, true)
	return err
}

// lift puts the files back that the challenges have changed.
func (a *apache) lift(ctx context.Context) error {
	if a.posed.draft == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	err := a.posed.draft.Discard(ctx)
	if err != nil && !errors.Is(err, checkpoint.ErrClosed) {
		return err
	}
	a.posed.draft, a.posed.base, a.posed.modules = nil, nil, nil
	return nil
}

// pose writes all challenges into the files, and has httpd test them.
func (a *apache) pose(ctx context.Context, disabled bool) (map[*challenge]error, error) {
	if err := a.lift(ctx); err != nil {
		return nil, err
	}
	facts, err := a.settings.ask(ctx)
	if err != nil {
		return nil, err
	}
	ws := newWorkspace(nil)
	plan, err := a.planChallenges(ws, facts, disabled)
	if err != nil || len(a.posed.challenges) == 0 {
		return plan.refused, err
	}
	base, err := ws.originals()
	if err != nil {
		return plan.refused, err
	}
	draft, err := a.edits.Store().BeginTemporary(ctx, "challenges")
	if err != nil {
		return plan.refused, err
	}
	a.posed.draft, a.posed.base, a.posed.modules = draft, base, plan.modules
	if _, err = ws.write(ctx, func() (*checkpoint.Draft, error) { return draft, nil }); err == nil {
		err = a.settings.test(ctx)
	}
	if err == nil {
		return plan.refused, nil
	}
	if undo := a.lift(ctx); undo != nil {
		return plan.refused, errors.Join(err, undo)
	}
	if plan.disabled && ctx.Err() == nil {
		return a.pose(ctx, false) // a site may be disabled because it is broken
	}
	return plan.refused, explained(fmt.Errorf("put challenges into the configuration of httpd: %w", err))
}

// show has the server read the challenges. That it has to forget them is noted
// first, for the process that comes after this one.
func (a *apache) show(ctx context.Context) error {
	if err := a.owe(); err != nil {
		return err
	}
	f, err := a.facts(ctx)
	if err != nil {
		return err
	}
	a.stepped("perform: reload")
	err = a.reloadRunning(ctx, f)
	a.stepped("perform: reloaded")
	var notRunning *stopped
	if errors.As(err, &notRunning) {
		return notRunning.problem(a.settings)
	}
	return err
}

// challengePlan is how the challenges are put into the workspace.
type challengePlan struct {
	refused  map[*challenge]error
	modules  []string
	disabled bool
}

// planChallenges chooses virtual hosts and edits them in the workspace.
func (a *apache) planChallenges(ws *workspace, facts facts, disabled bool) (challengePlan, error) {
	plan := challengePlan{refused: map[*challenge]error{}}
	c, err := load(ws, facts)
	if err != nil {
		return plan, err
	}
	port := a.settings.httpPort()
	if disabled {
		if c, plan.disabled, err = a.wake(c); err != nil {
			return plan, err
		}
	}
	c.ensureListen(port, port, false)
	chosen := map[*vhost]bool{}
	for _, token := range slices.Sorted(maps.Keys(a.posed.challenges)) {
		one := a.posed.challenges[token]
		hosts := c.challenged(one.name, port, a.settings.httpsPort())
		if len(hosts) == 0 {
			plan.refused[one] = noPlain(one.name, port)
			delete(a.posed.challenges, token)
			continue
		}
		one.contacts = nil
		for _, v := range hosts {
			chosen[v] = true
			one.contacts = append(one.contacts, c.contacts(v, port)...)
		}
		slices.Sort(one.contacts)
		one.contacts = slices.Compact(one.contacts)
	}
	before := maps.Clone(c.modules)
	if err := c.answer(chosen, a.posed.challenges); err != nil {
		return plan, err
	}
	for module := range c.modules {
		if !before[module] {
			plan.modules = append(plan.modules, module)
		}
	}
	return plan, nil
}

// originals are the files that are to be changed, as they are.
func (w *workspace) originals() (map[string]string, error) {
	out := map[string]string{}
	for path := range w.texts {
		text, err := w.original(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			out[path] = text
		}
	}
	return out, nil
}
