package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/certwright/certwright/sdk"
)

// challengePrefix is where http-01 is asked for (RFC 8555 section 8.3).
const challengePrefix = "/.well-known/acme-challenge/"

var (
	// tokenPattern is base64url (RFC 8555 section 8.1); bodyPattern two of them.
	// Nothing else goes on the socket.
	tokenPattern = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	bodyPattern  = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)
)

// Prefer says that wildcards cannot be proven by http-01.
func (h *haproxy) Prefer(_ context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	var out []sdk.Preference
	for _, id := range ids {
		p := sdk.Preference{Identifier: id, ChallengeTypes: []string{sdk.HTTP01}}
		switch {
		case h.settings.Map == "" && h.settings.Listen == 0:
			p.ChallengeTypes, p.Err = nil, notAuthenticator()
		case id.Wildcard:
			err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "%s is a wildcard, which http-01 cannot prove", id))
			p.ChallengeTypes, p.Err = nil, sdk.Hint(err, "choose a DNS authenticator for it")
		}
		out = append(out, p)
	}
	return out, nil
}

// Perform has haproxy answer the challenges from now on.
func (h *haproxy) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	if h.settings.Map == "" && h.settings.Listen == 0 {
		return notAuthenticator()
	}
	up, err := h.running(ctx)
	if err != nil {
		return h.explain(err)
	}
	if !up {
		if err := errors.Join(h.fallback(ctx, r), h.start(ctx, r)); err != nil {
			return err
		}
	}
	owner := sdk.OperationFrom(ctx).Lineage
	looking := true
	for _, c := range challenges {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := valid(c)
		switch {
		case err != nil:
		case h.settings.Map != "":
			err = h.entries.put(ctx, h, owner, c)
		default:
			err = h.listener.Put(ctx, owner, c)
		}
		if err != nil {
			err = sdk.Subject(fmt.Errorf("%s for %s: %w", c.Type, c.Identifier, err), c.ID)
		} else if looking {
			looking = h.look(ctx, c, r) // once in vain is enough
		}
		r.Result(sdk.Result{Subject: c.ID, Err: err})
	}
	return ctx.Err()
}

// Cleanup takes the answers away.
func (h *haproxy) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	owner := sdk.OperationFrom(ctx).Lineage
	for _, c := range challenges {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if valid(c) == nil { // nothing was put in place for another
			h.listener.Remove(owner, c.HTTP.Path)
			if h.settings.Map != "" {
				err = h.entries.remove(ctx, h, owner, c)
			}
		}
		r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(err, c.ID)})
	}
	return nil
}

// valid says whether a challenge is one that goes on the socket unharmed.
func valid(c sdk.Challenge) error {
	if c.Type != sdk.HTTP01 {
		err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "this plugin answers http-01 only"))
		return sdk.Hint(err, "choose another authenticator for this name")
	}
	if !tokenPattern.MatchString(c.Token) {
		return sdk.Permanent(sdk.Problemf(sdk.Unsupported, "token %q is not base64url", c.Token))
	}
	if c.HTTP == nil || c.HTTP.Path != challengePrefix+c.Token || !bodyPattern.Match(c.HTTP.Body) {
		return sdk.Problemf(sdk.Internal, "the host sent no path and body of the token %s", c.Token)
	}
	return nil
}
