package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

type settings struct {
	AuthHook    string        `setting:"auth_hook" doc:"command that puts one proof in place; it is run by /bin/sh with certbot's environment"`
	CleanupHook string        `setting:"cleanup_hook" doc:"command that takes one proof away"`
	Strict      bool          `setting:"strict" doc:"a hook that ends with another exit code than 0 fails; else it is only reported, and the CA decides"`
	HookTimeout time.Duration `setting:"hook_timeout" default:"9m" doc:"how long one hook may take"`
}

// manual is the authenticator.
type manual struct {
	settings settings
	instance sdk.Instance

	mu sync.Mutex
	// output of auth hooks by challenge: a receipt may be lost or too small.
	output map[string]string
}

var _ interface {
	sdk.Authenticator
	sdk.Configurer
	sdk.Preferrer
	sdk.Hook
} = (*manual)(nil)

// Configure keeps what it is told; whether the hooks can be run is looked at
// when there is something to prove: what was put in place can be taken away
// without an auth hook.
func (m *manual) Configure(_ context.Context, instance sdk.Instance) error {
	m.instance, m.output = instance, map[string]string{}
	if m.settings.HookTimeout <= 0 {
		return sdk.Subject(sdk.Problemf(sdk.InvalidConfig, "setting hook_timeout must be more than 0, not %s", m.settings.HookTimeout), "hook_timeout")
	}
	return nil
}

// Run gives up, before there is an order, what cannot be done.
func (m *manual) Run(ctx context.Context, e sdk.HookEvent, _ sdk.Reporter) (sdk.HookResult, error) {
	if e.Event != sdk.EventPre {
		return sdk.HookResult{}, nil
	}
	return sdk.HookResult{}, m.possible(ctx)
}

// Prefer says what can be proven: with a hook anything, by a person what he can
// do without a private key.
func (m *manual) Prefer(ctx context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	err := m.possible(ctx)
	types := []string{sdk.HTTP01, sdk.DNS01}
	if m.settings.AuthHook != "" {
		types = append(types, sdk.TLSALPN01)
	}
	out := make([]sdk.Preference, 0, len(ids))
	for _, id := range ids {
		out = append(out, sdk.Preference{Identifier: id, ChallengeTypes: types, Err: err})
	}
	return out, nil
}

func (m *manual) possible(ctx context.Context) error {
	if m.settings.AuthHook == "" {
		if m.instance.NonInteractive {
			return m.nobody()
		}
		return nil
	}
	var errs []error
	for setting, line := range map[string]string{"auth_hook": m.settings.AuthHook, "cleanup_hook": m.settings.CleanupHook} {
		if line != "" {
			errs = append(errs, sdk.Subject(script.CheckLine(ctx, "the command of setting "+setting+",", line), setting))
		}
	}
	return errors.Join(errs...)
}

func (m *manual) nobody() error {
	err := sdk.Permanent(sdk.WithCode(fmt.Errorf("the instance %s has no auth_hook: %w", m.instance.Name, sdk.ErrNotInteractive), sdk.InvalidConfig))
	return sdk.Hint(sdk.Subject(err, "auth_hook"),
		"give a command that puts the proofs in place: --manual-auth-hook, or the setting auth_hook of the instance %s", m.instance.Name)
}

// Perform has every challenge put in place, one after the other.
func (m *manual) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	if m.settings.AuthHook == "" {
		return m.instruct(ctx, challenges, r)
	}
	all := values(challenges)
	for i, c := range challenges {
		if err := ctx.Err(); err != nil {
			return err
		}
		rec, err := m.authenticate(ctx, c, receipt{All: all, Remaining: len(challenges) - i - 1}, r)
		if ctx.Err() != nil {
			return err
		}
		r.Result(sdk.Result{Subject: c.ID, Receipt: rec, Err: sdk.Subject(err, c.ID)})
	}
	return nil
}

// Cleanup takes them away, in the same order.
func (m *manual) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	all := values(challenges)
	for i, c := range challenges {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		switch {
		case m.settings.CleanupHook != "":
			err = m.cleanup(ctx, c, receipt{All: all, Remaining: len(challenges) - i - 1}, r)
		case m.settings.AuthHook == "":
			if what := leftover(c); what != "" {
				r.Progress("", what)
			}
		}
		if ctx.Err() != nil {
			return err
		}
		r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(errors.Join(err, m.removePair(c)), c.ID)})
	}
	return nil
}
