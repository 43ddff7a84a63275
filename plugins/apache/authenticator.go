package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// tokenPattern is base64url (RFC 8555 section 8.3), which stands for itself in a
// URL, in a pattern of mod_rewrite and between quotes; bodyPattern is that of a
// key authorization.
var (
	tokenPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)
	bodyPattern  = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,400}$`)
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,255}$`)
)

const challengePath = "/.well-known/acme-challenge/"

// forChallenges is whom the desk is kept for by no certificate: no deployment
// may be half written when challenges come or go.
const forChallenges = "\x00challenges"

// Perform has the running server answer the challenges.
func (a *apache) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	var mine []*challenge
	for _, c := range challenges {
		one, err := newChallenge(ctx, c)
		if err != nil {
			r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(fmt.Errorf("%s for %s: %w", c.Type, c.Identifier, err), c.ID)})
			continue
		}
		mine = append(mine, one)
	}
	if len(mine) == 0 {
		return nil
	}
	leave, err := a.desk.sit(ctx, forChallenges)
	if err != nil {
		return err
	}
	defer leave()
	return a.perform(ctx, mine, r)
}

func (a *apache) perform(ctx context.Context, mine []*challenge, r sdk.Reporter) error {
	refused, err := a.join(ctx, mine)
	for _, c := range mine {
		if why := refused[c]; why != nil {
			r.Result(sdk.Result{Subject: c.id, Err: sdk.Subject(why, c.id)})
		}
	}
	if err != nil {
		return err
	}
	for _, c := range mine {
		if refused[c] != nil {
			continue
		}
		err := a.answered(ctx, c)
		if ctx.Err() != nil {
			return context.Cause(ctx) // Cleanup takes away what is there
		}
		r.Result(sdk.Result{Subject: c.id, Err: sdk.Subject(err, c.id)})
	}
	return nil
}

func newChallenge(ctx context.Context, c sdk.Challenge) (*challenge, error) {
	if c.Type != sdk.HTTP01 {
		err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "this plugin answers http-01 only"))
		return nil, sdk.Hint(err, "choose another authenticator for this name")
	}
	body := c.KeyAuthorization
	if c.HTTP != nil {
		body = string(c.HTTP.Body)
	}
	switch {
	case !tokenPattern.MatchString(c.Token):
		return nil, sdk.Permanent(sdk.Problemf(sdk.Unsupported, "token %q is not base64url", c.Token))
	case !bodyPattern.MatchString(body):
		return nil, sdk.Permanent(sdk.Problemf(sdk.Unsupported, "the body for token %s is no key authorization", c.Token))
	case !namePattern.MatchString(c.Identifier.Value):
		return nil, sdk.Permanent(sdk.Problemf(sdk.Unsupported, "%q is neither a name nor an address", c.Identifier.Value))
	}
	return &challenge{
		id: c.ID, token: c.Token, body: body, name: strings.ToLower(c.Identifier.Value),
		owners: map[string]bool{lineage(ctx): true},
	}, nil
}

// Cleanup takes the challenges away. The files are put back, and the server
// reloaded, when the last one goes.
func (a *apache) Cleanup(ctx context.Context, challenges []sdk.Challenge, _ sdk.Reporter) error {
	leave, err := a.desk.sit(ctx, forChallenges)
	if err != nil {
		return err
	}
	defer leave()
	var gone []*challenge
	for _, c := range challenges {
		if one := a.posed.leave(c.Token, lineage(ctx)); one != nil {
			gone = append(gone, one)
		}
	}
	if len(a.posed.challenges) > 0 {
		return nil
	}
	return a.withdraw(ctx, gone)
}

// withdraw puts the files back and has the server forget the challenges, also
// those of a process that was killed.
func (a *apache) withdraw(ctx context.Context, gone []*challenge) error {
	if err := a.lift(ctx); err != nil {
		return fmt.Errorf("take the challenges out of the configuration of httpd: %w", err)
	}
	owed, err := a.owes()
	if err != nil || !owed {
		return err
	}
	f, err := a.facts(ctx)
	if err == nil {
		err = a.settings.test(ctx)
	}
	if err != nil {
		return fmt.Errorf("the challenges are out of the configuration, but httpd cannot be told: %w", err)
	}
	a.stepped("cleanup: reload")
	err = a.reloadRunning(ctx, f)
	var notRunning *stopped
	if err != nil && !errors.As(err, &notRunning) {
		return fmt.Errorf("have httpd forget the challenges: %w", err)
	}
	if notRunning == nil {
		a.forgotten(ctx, gone)
	}
	a.stepped("cleanup: reloaded")
	return a.paid()
}
