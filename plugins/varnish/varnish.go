package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/responder"
)

// varnish is the authenticator: one instance is one running varnishd.
type varnish struct {
	settings settings
	// step, if set, is called before each command. It is there for tests that
	// kill the process, or break something, at every step.
	step func(what string)
	// turn is held by who changes varnishd's VCLs.
	turn     gate
	wants    wants
	listener responder.Listener
}

var _ interface {
	sdk.Authenticator
	sdk.Preferrer
	sdk.Configurer
	sdk.HealthChecker
} = (*varnish)(nil)

func newVarnish() *varnish { return &varnish{turn: make(gate, 1)} }

func (v *varnish) at(what string) {
	if v.step != nil {
		v.step(what)
	}
}

// Configure checks the settings.
func (v *varnish) Configure(context.Context, sdk.Instance) error {
	v.listener.Port, v.listener.Config = v.settings.Listen, "the VCL"
	return v.settings.check()
}

// Health says whether varnishd lets us in, and answers requests.
func (v *varnish) Health(ctx context.Context, _ bool) error {
	if v.settings.Listen != 0 {
		return nil
	}
	where, err := v.settings.where()
	if err != nil {
		return err
	}
	c, err := dial(ctx, where, func(string) {})
	if err != nil {
		return err
	}
	defer c.close()
	return c.running(ctx)
}

// Prefer says that wildcards cannot be proven by http-01.
func (v *varnish) Prefer(_ context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	var out []sdk.Preference
	for _, id := range ids {
		p := sdk.Preference{Identifier: id, ChallengeTypes: []string{sdk.HTTP01}}
		if id.Wildcard {
			err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "%s is a wildcard, which http-01 cannot prove", id))
			p.ChallengeTypes, p.Err = nil, sdk.Hint(err, "choose a DNS authenticator for it")
		}
		out = append(out, p)
	}
	return out, nil
}

// Perform has varnishd answer the challenges from now on.
func (v *varnish) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	owner := sdk.OperationFrom(ctx).Lineage
	var good []sdk.Challenge
	for _, c := range challenges {
		err := valid(c)
		switch {
		case err != nil:
		case v.settings.Listen != 0:
			err = v.listener.Put(ctx, owner, c)
		default:
			v.wants.add(owner, c.Token, string(c.HTTP.Body))
			good = append(good, c)
			continue
		}
		r.Result(sdk.Result{Subject: c.ID, Err: about(err, c)})
	}
	if len(good) == 0 {
		return ctx.Err()
	}
	err := v.settle(ctx)
	for _, c := range good {
		if err != nil {
			v.wants.remove(owner, c.Token)
		}
		r.Result(sdk.Result{Subject: c.ID, Err: about(err, c)})
	}
	return ctx.Err()
}

// Cleanup takes the answers away, and with the last one our VCL. A varnishd that
// does not run has none.
func (v *varnish) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	owner := sdk.OperationFrom(ctx).Lineage
	var good []sdk.Challenge
	for _, c := range challenges {
		if valid(c) != nil {
			r.Result(sdk.Result{Subject: c.ID}) // it was never put in place
			continue
		}
		v.listener.Remove(owner, c.HTTP.Path)
		v.wants.remove(owner, c.Token)
		good = append(good, c)
	}
	if len(good) == 0 {
		return nil
	}
	var err error
	if v.settings.Listen == 0 {
		if err = v.settle(ctx); errors.Is(err, errNotRunning) {
			err = nil
		}
	}
	for _, c := range good {
		r.Result(sdk.Result{Subject: c.ID, Err: about(err, c)})
	}
	return nil
}

func about(err error, c sdk.Challenge) error {
	if err == nil {
		return nil
	}
	return sdk.Subject(fmt.Errorf("%s for %s: %w", c.Type, c.Identifier, err), c.ID)
}

// valid says whether a challenge is one that can stand in a VCL.
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
