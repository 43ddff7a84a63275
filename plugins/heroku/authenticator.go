package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// changed is what a challenge has changed of an app. It is written down before,
// and forgotten when it is undone.
type changed struct {
	// Preboot was on, and is off now.
	Preboot bool `json:"preboot,omitempty"`
	// Before is what the variable held that has one answer; nil: nothing.
	Before *string `json:"before,omitempty"`
	// Known: Before is known.
	Known bool `json:"known,omitempty"`
	// Tokens are those whose answers are there because of us.
	Tokens []string `json:"tokens,omitempty"`
}

func (c *changed) nothing() bool {
	return !c.Preboot && c.Before == nil && !c.Known && len(c.Tokens) == 0
}

// tokenPattern is base64url (RFC 8555 section 8.3).
var tokenPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// undoLimit bounds what is put back when the call is over already.
const undoLimit = 30 * time.Second

func (h *heroku) allApps() []string {
	apps := slices.Collect(maps.Values(h.settings.Apps))
	if h.settings.App != "" {
		apps = append(apps, h.settings.App)
	}
	slices.Sort(apps)
	return slices.Compact(apps)
}

// Prefer says which names have an app.
func (h *heroku) Prefer(_ context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	out := make([]sdk.Preference, 0, len(ids))
	for _, id := range ids {
		p := sdk.Preference{Identifier: id}
		if p.Err = h.serves(id); p.Err == nil {
			p.ChallengeTypes = []string{sdk.HTTP01}
		}
		out = append(out, p)
	}
	return out, nil
}

func (h *heroku) serves(id sdk.Identifier) error {
	if id.Wildcard || id.Type == "ip" {
		err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "%s cannot be proven by http-01 on Heroku", id))
		return sdk.Hint(err, "choose a DNS authenticator for this name")
	}
	if h.settings.appOf(id.Value) == "" {
		return noApp(id.Value)
	}
	return nil
}

// Perform sets the config vars of each app once, for all its names.
func (h *heroku) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	if err := h.busy.enter(ctx); err != nil {
		return err
	}
	defer h.busy.leave()
	byApp := map[string][]sdk.Challenge{}
	for _, c := range challenges {
		err := h.serves(c.Identifier)
		switch {
		case err != nil:
		case c.Type != sdk.HTTP01:
			err = sdk.Permanent(sdk.Problemf(sdk.Unsupported, "this plugin answers http-01 only"))
		case !tokenPattern.MatchString(c.Token):
			err = sdk.Permanent(sdk.Problemf(sdk.Unsupported, "token %q is not base64url", c.Token))
		default:
			app := h.settings.appOf(c.Identifier.Value)
			byApp[app] = append(byApp[app], c)
			continue
		}
		refuse(r, c, err)
	}
	for _, app := range slices.Sorted(maps.Keys(byApp)) {
		present, err := h.present(ctx, app, byApp[app], r)
		if err == nil && len(present) > 0 {
			err = h.answer(ctx, app, present)
		}
		for _, c := range present {
			if err != nil {
				refuse(r, c, about(app, err))
				continue
			}
			r.Result(sdk.Result{Subject: c.ID, Receipt: []byte(app)})
		}
		if err != nil && len(present) == 0 {
			for _, c := range byApp[app] {
				refuse(r, c, about(app, err))
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func refuse(r sdk.Reporter, c sdk.Challenge, err error) {
	err = fmt.Errorf("%s for %s: %w", c.Type, c.Identifier, err)
	r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(err, c.ID)})
}

// present gives the challenges whose names are domains of the app. A name that is
// none is added, and refused: DNS cannot lead there yet.
func (h *heroku) present(ctx context.Context, app string, challenges []sdk.Challenge, r sdk.Reporter) ([]sdk.Challenge, error) {
	domains, err := h.api.domains(ctx, app)
	if err != nil {
		return nil, err
	}
	var out []sdk.Challenge
	for _, c := range challenges {
		name := canonical(c.Identifier.Value)
		if slices.ContainsFunc(domains, func(d domain) bool { return serves(d.Hostname, name) }) {
			out = append(out, c)
			continue
		}
		err := sdk.Permanent(sdk.Problemf(sdk.NotFound, "%s is not a domain of the app %s", name, app))
		if !h.settings.AddDomains {
			refuse(r, c, sdk.Hint(err, "run: heroku domains:add %s --app %s", name, app))
			continue
		}
		h.step("add the domain " + name)
		added, failed := h.api.addDomain(ctx, app, name)
		if failed != nil {
			refuse(r, c, fmt.Errorf("add the domain %s to the app %s: %w", name, app, failed))
			continue
		}
		err = sdk.Permanent(sdk.Problemf(sdk.NotFound, "%s was not a domain of the app %s, and is added now", name, app))
		refuse(r, c, sdk.Hint(err, "let DNS lead %s to %s by a CNAME (or ALIAS) record, and run certwright again", name, added.CName))
	}
	return out, nil
}

// serves says whether a domain of an app serves a name. Heroku's wildcards are
// for one label, and for more.
func serves(hostname, name string) bool {
	hostname = canonical(hostname)
	parent, wild := strings.CutPrefix(hostname, "*.")
	return hostname == name || wild && strings.HasSuffix(name, "."+parent)
}

// answer puts the answers into the app's variables, and waits until its dynos
// have them.
func (h *heroku) answer(ctx context.Context, app string, challenges []sdk.Challenge) error {
	vars, err := h.api.configVars(ctx, app)
	if err != nil {
		return err
	}
	answers, err := h.answersIn(vars)
	if err != nil {
		return err
	}
	if err := h.withoutPreboot(ctx, app); err != nil {
		return err
	}
	err = h.set(ctx, app, vars, answers, challenges)
	if err == nil {
		err = h.restarted(ctx, app)
	}
	// Whatever has become of it, and of the call.
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	return errors.Join(err, h.prebootBack(undo, app))
}

// withoutPreboot switches preboot off: with it the old dynos would go on to
// answer for minutes after the new ones are up.
func (h *heroku) withoutPreboot(ctx context.Context, app string) error {
	on, err := h.api.preboot(ctx, app)
	if notFound(err) || err == nil && !on { // not every kind of app has it
		return nil
	}
	if err != nil {
		return err
	}
	if err := h.keep(app, func(c *changed) { c.Preboot = true }); err != nil {
		return err
	}
	h.step("switch preboot off")
	return h.api.setPreboot(ctx, app, false)
}

func (h *heroku) prebootBack(ctx context.Context, app string) error {
	c, err := h.apps.There(app)
	if err != nil || c == nil || !c.Preboot {
		return err
	}
	h.step("switch preboot on")
	if err := h.api.setPreboot(ctx, app, true); err != nil && !notFound(err) {
		return fmt.Errorf("switch preboot on again: %w", err)
	}
	return h.keep(app, func(c *changed) { c.Preboot = false })
}

func (h *heroku) keep(app string, change func(*changed)) error {
	c, err := h.apps.There(app)
	if err != nil {
		return err
	}
	if c == nil {
		c = &changed{}
	}
	change(c)
	if c.nothing() {
		c = nil
	}
	return h.apps.Keep(app, c)
}

// set adds the answers to those that are there, and writes down before whose they
// are.
func (h *heroku) set(ctx context.Context, app string, vars, answers map[string]string, challenges []sdk.Challenge) error {
	before, had := vars[h.settings.Variable]
	err := h.keep(app, func(c *changed) {
		if !c.Known && !isAnswer(before, answers) {
			if c.Known = true; had {
				c.Before = &before
			}
		}
		for _, one := range challenges {
			if !slices.Contains(c.Tokens, one.Token) {
				c.Tokens = append(c.Tokens, one.Token)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, c := range challenges {
		body := c.KeyAuthorization
		if c.HTTP != nil {
			body = string(c.HTTP.Body)
		}
		if body == "" {
			return sdk.Problemf(sdk.Internal, "the host sent no body for %s", c.Identifier)
		}
		answers[c.Token] = body
	}
	one := answers[challenges[0].Token]
	return h.change(ctx, app, vars, map[string]*string{h.settings.Variable: &one, h.settings.Variables: textOf(answers)})
}

// answersIn reads the variable with all answers. What holds anything else is not
// ours to write to.
func (h *heroku) answersIn(vars map[string]string) (map[string]string, error) {
	name, out := h.settings.Variables, map[string]string{}
	text := vars[name]
	if strings.TrimSpace(text) == "" {
		return out, nil
	}
	fits := json.Unmarshal([]byte(text), &out) == nil && out != nil
	for token, answer := range out {
		fits = fits && strings.HasPrefix(answer, token+".")
	}
	if !fits {
		p := sdk.Problemf(sdk.Conflict, "the config var %s holds something else than answers to challenges", name)
		return nil, sdk.Hint(sdk.Permanent(p), "name another config var by the setting variables, or see what uses %s and unset it", name)
	}
	return out, nil
}

// textOf is what the variable with all answers is to hold; nil: it is to go.
func textOf(answers map[string]string) *string {
	if len(answers) == 0 {
		return nil
	}
	data, _ := json.Marshal(answers) // of strings: it cannot fail
	text := string(data)
	return &text
}

// isAnswer says whether the variable with one answer holds one of ours.
func isAnswer(text string, answers map[string]string) bool {
	token, _, ok := strings.Cut(text, ".")
	_, ours := answers[token]
	return ok && ours
}

// change sets those variables that are different; nil removes one. Each change
// restarts the app, so there is one.
func (h *heroku) change(ctx context.Context, app string, vars map[string]string, want map[string]*string) error {
	changes := map[string]*string{}
	for name, value := range want {
		if now, there := vars[name]; there != (value != nil) || value != nil && now != *value {
			changes[name] = value
		}
	}
	if len(changes) == 0 {
		return nil
	}
	h.step("set the config vars")
	return h.api.setConfigVars(ctx, app, changes)
}

// Cleanup takes the answers away, and puts back what else was changed.
func (h *heroku) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	if err := h.busy.enter(ctx); err != nil {
		return err
	}
	defer h.busy.leave()
	byApp := map[string][]sdk.Challenge{}
	for _, c := range challenges {
		if c.Type != sdk.HTTP01 {
			continue
		}
		apps := []string{h.settings.appOf(c.Identifier.Value)}
		// The settings may have changed since.
		if app := string(c.Receipt); appPattern.MatchString(app) && app != apps[0] {
			apps = append(apps, app)
		}
		for _, app := range apps {
			if app != "" {
				byApp[app] = append(byApp[app], c)
			}
		}
	}
	failures := map[string]error{}
	for _, app := range slices.Sorted(maps.Keys(byApp)) {
		err := h.takeAway(ctx, app, byApp[app])
		if notFound(err) {
			err = h.apps.Keep(app, nil) // with the app all of it is gone
		}
		for _, c := range byApp[app] {
			failures[c.ID] = errors.Join(failures[c.ID], about(app, err))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	for _, c := range challenges {
		if err := failures[c.ID]; err != nil {
			refuse(r, c, err)
			continue
		}
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}

func (h *heroku) takeAway(ctx context.Context, app string, challenges []sdk.Challenge) error {
	if err := h.prebootBack(ctx, app); err != nil {
		return err
	}
	vars, err := h.api.configVars(ctx, app)
	if err != nil {
		return err
	}
	known, err := h.apps.There(app)
	if err != nil {
		return err
	}
	if known == nil {
		known = &changed{}
	}
	answers, foreign := h.answersIn(vars)
	now, there := vars[h.settings.Variable]
	shown, _, _ := strings.Cut(now, ".")
	ours := slices.Contains(known.Tokens, shown)
	for _, c := range challenges {
		ours = ours || shown == c.Token
		delete(answers, c.Token)
	}
	known.Tokens = slices.DeleteFunc(known.Tokens, func(token string) bool { return answers[token] == "" })
	others := known.Tokens
	if len(others) == 0 && !known.Known { // an answer was there before ours
		others = slices.Sorted(maps.Keys(answers))
	}
	want := map[string]*string{h.settings.Variable: nil}
	switch {
	case there && !ours:
		want[h.settings.Variable] = &now // somebody else's, by now
	case len(others) > 0: // another order's
		answer := answers[others[0]]
		want[h.settings.Variable] = &answer
	case known.Known:
		want[h.settings.Variable] = known.Before
	}
	if foreign == nil { // if not, nothing of ours is in it by now
		want[h.settings.Variables] = textOf(answers)
	}
	if err := h.change(ctx, app, vars, want); err != nil {
		return err
	}
	if len(known.Tokens) == 0 {
		known = nil
	}
	if err := h.apps.Keep(app, known); err != nil || len(answers) == 0 {
		return err
	}
	// The CA may be about to ask for those of others, and the app restarts. What
	// becomes of it is not for this Cleanup to tell.
	_ = h.restarted(ctx, app)
	return ctx.Err()
}
