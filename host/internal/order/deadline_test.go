package order

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// In these tests time is synctest's, so that half an hour takes no time.

// after waits by that time.
func after(d time.Duration) { <-time.After(d) }

func TestClockStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := errors.New("late")
		ctx, clock, stop := withClock(t.Context(), 30*time.Minute, late)
		defer stop()
		after(20 * time.Minute)
		first, second := clock.hold(), clock.hold()
		after(5 * time.Hour)
		first()
		after(5 * time.Hour)
		second()
		after(9 * time.Minute)
		if ctx.Err() != nil {
			t.Fatalf("it ended early: %v", context.Cause(ctx))
		}
		after(2 * time.Minute)
		if !errors.Is(context.Cause(ctx), late) {
			t.Errorf("it did not end: %v", context.Cause(ctx))
		}
		clock.hold()()
	})
}

// An order waits for a person as long as it takes, and half an hour for a
// plugin that says nothing.
func TestOrderWaitsForPeople(t *testing.T) {
	for name, c := range map[string]struct {
		perform func(context.Context, sdk.Reporter) error
		debug   bool
		end     string
	}{
		"a plugin asks": {
			perform: func(ctx context.Context, r sdk.Reporter) error {
				_, err := r.Ask(ctx, "is it in place?")
				return err
			},
			end: "far enough",
		},
		"--debug-challenges": {debug: true, end: "far enough"},
		"a plugin is silent": {
			perform: func(ctx context.Context, _ sdk.Reporter) error {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(10 * time.Hour):
					return nil
				}
			},
			end: "did not come to an end within 30m0s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plugin := slowPlugin{c.perform}
				d := Deps{
					CA: shortCA{}, Journal: nothingJournalled{}, Keys: nothingJournalled{}, Story: slowPerson{}, Debug: c.debug, Now: time.Now,
					Resources: nothingJournalled{}, ResourceKeys: func(Instance) []string { return nil },
					Instances: func(context.Context, string) (Instance, error) {
						return Instance{Authenticator: plugin, Description: sdk.Description{
							Roles: []string{sdk.RoleAuthenticator}, ChallengeTypes: []sdk.ChallengeType{{Type: sdk.HTTP01}},
						}}, nil
					},
				}
				_, err := Obtain(t.Context(), d, model.Request{
					Name: "a", CSR: []byte{1}, Identifiers: []model.Identifier{{Type: "dns", Value: "a.test"}},
					Authenticate: []model.Rule{{With: []string{"slow"}}},
				})
				if err == nil || !strings.Contains(err.Error(), c.end) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// shortCA proves what it is asked to, and ends the order when it is finalized.
type shortCA struct{ CA }

func (shortCA) NewOrder(_ context.Context, n model.NewOrder) (model.Order, error) {
	return model.Order{URL: "o", Status: model.StatusPending, Identifiers: n.Identifiers, Authorizations: []string{"z"}}, nil
}

func (shortCA) Authorization(context.Context, string) (model.Authorization, error) {
	return model.Authorization{
		URL: "z", Status: model.StatusPending, Identifier: model.Identifier{Type: "dns", Value: "a.test"},
		Challenges: []model.ACMEChallenge{{Type: sdk.HTTP01, URL: "c", Token: "t"}},
	}, nil
}

func (shortCA) KeyAuthorization(token string) (string, error) { return token + ".k", nil }
func (shortCA) HTTP01Path(token string) (string, error)       { return "/" + token, nil }
func (shortCA) Accept(context.Context, string) error          { return nil }

func (shortCA) PollAuthorization(context.Context, string) (model.Authorization, error) {
	return model.Authorization{Status: model.StatusValid}, nil
}

func (shortCA) Finalize(context.Context, model.Order, []byte) (model.Order, error) {
	return model.Order{}, &model.ACMEError{Status: 403, Detail: "far enough"}
}

type slowPlugin struct {
	perform func(context.Context, sdk.Reporter) error
}

func (p slowPlugin) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	if p.perform != nil {
		if err := p.perform(ctx, r); err != nil {
			return err
		}
	}
	for _, c := range challenges {
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}

func (slowPlugin) Cleanup(context.Context, []sdk.Challenge, sdk.Reporter) error { return nil }
func (slowPlugin) Prefer(context.Context, []sdk.Identifier) ([]sdk.Preference, error) {
	return nil, nil
}

// slowPerson answers a question after hours.
type slowPerson struct{}

func (slowPerson) Tell(string, string, ...any)            {}
func (slowPerson) Warn(string, string, ...any)            {}
func (p slowPerson) Reporter(string, string) sdk.Reporter { return p }
func (slowPerson) Progress(string, string)                {}
func (slowPerson) Say(sdk.Stream, string)                 {}
func (slowPerson) Result(sdk.Result)                      {}

func (slowPerson) Ask(ctx context.Context, text string) (string, error) {
	select {
	case <-ctx.Done():
		return "", fmt.Errorf("%q: %w", text, context.Cause(ctx))
	case <-time.After(10 * time.Hour):
		return "", nil
	}
}

// nothingJournalled keeps nothing.
type nothingJournalled struct{ Keys }

func (n nothingJournalled) Performing(string, string, model.Instance, []model.Challenge) (Entry, error) {
	return n, nil
}
func (nothingJournalled) Ordering(model.Request, model.Order) (func() error, error) {
	return func() error { return nil }, nil
}
func (nothingJournalled) Receipts([]Receipt) error                 { return nil }
func (nothingJournalled) Cleaned([]string) error                   { return nil }
func (nothingJournalled) KeepRequest(string, string, []byte) error { return nil }
func (nothingJournalled) DropOrder(string, string) error           { return nil }
func (nothingJournalled) Hold(context.Context, string, []string) (func(), error) {
	return func() {}, nil
}
