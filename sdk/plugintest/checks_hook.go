package plugintest

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

func hookChecks() []check {
	hook := func(run func(context.Context, *bench, *process) error) func(context.Context, *bench) error {
		return func(ctx context.Context, b *bench) error {
			if !slices.Contains(b.description.Roles, sdk.RoleHook) {
				return notApplicable("the plugin is no hook")
			}
			p, err := b.fresh(ctx)
			if err != nil {
				return err
			}
			return run(ctx, b, p)
		}
	}
	return []check{
		{
			name:       "hook/events",
			obligation: "Run ends properly for every event that the plugin asked for",
			run: hook(func(ctx context.Context, b *bench, p *process) error {
				for _, event := range b.description.HookEvents {
					if err := b.runHook(ctx, p, event); err != nil {
						return err
					}
				}
				return nil
			}),
		},
		{
			name:       "hook/unknown-event",
			obligation: "an event that the plugin does not know is ignored",
			run: hook(func(ctx context.Context, b *bench, p *process) error {
				_, err := p.Hook().Run(operation(ctx, "hook"), sdk.HookEvent{Event: "certwright_unknown"}, b.record())
				if err != nil {
					return fmt.Errorf("Run of an unknown event: %w\nend the stream without a problem", err)
				}
				return nil
			}),
		},
	}
}

// runHook sends one event. A problem is the hook's right; a broken call is not.
func (b *bench) runHook(ctx context.Context, p *process, event string) error {
	e, err := b.event(event)
	if err != nil {
		return err
	}
	_, err = p.Hook().Run(operation(ctx, "hook-"+event), e, b.record())
	if broken := (*client.BrokenError)(nil); errors.As(err, &broken) || ctx.Err() != nil {
		return fmt.Errorf("Run of the event %s: %w\nend every stream with done", event, err)
	}
	return nil
}

// event fills what belongs to an event.
func (b *bench) event(event string) (sdk.HookEvent, error) {
	l, err := b.lineage()
	if err != nil {
		return sdk.HookEvent{}, err
	}
	e := sdk.HookEvent{
		Event: event, Verb: "renew", Lineage: l.name, KeyType: "p256", Server: "https://ca.invalid/directory",
		Identifiers: []sdk.Identifier{{Type: "dns", Value: l.names[0]}, {Type: "dns", Value: l.names[1]}},
	}
	problem := sdk.Problemf(sdk.Unavailable, "the CA refused: this is a test")
	switch event {
	case sdk.EventStart, sdk.EventPre:
		e = sdk.HookEvent{Event: event, Verb: e.Verb}
	case sdk.EventAttempt:
		e.OrderURL, e.CSR = order, l.csr
	case sdk.EventIssued, sdk.EventSuccess:
		e.OrderURL, e.CSR = order, l.csr
		l.tell(&e)
	case sdk.EventUnchanged:
		l.tell(&e)
	case sdk.EventDryRun:
		l.tell(&e)
		e.DryRun = true
	case sdk.EventAttempted:
		e.OrderURL, e.CSR, e.PollIdentifier, e.Problem = order, l.csr, order, problem
	case sdk.EventChallengeInvalid:
		c, err := b.challenge(sdk.HTTP01, e.Identifiers[0])
		if err != nil {
			return e, err
		}
		e.Challenge, e.Problem = &c, problem
	case sdk.EventCAFailure:
		e.Problem, e.HTTPStatus, e.HTTPMethod, e.HTTPURL, e.HTTPResource = problem, 500, http.MethodPost, "https://ca.invalid/new-order", "newOrder"
		e.HTTPHeaders, e.HTTPBody = []sdk.HTTPHeader{{Name: "Content-Type", Value: "application/problem+json"}}, []byte(`{"detail":"this is a test"}`)
	case sdk.EventPost, sdk.EventFinish:
		ids := e.Identifiers
		e = sdk.HookEvent{Event: event, Verb: e.Verb, Renewed: []string{l.name}, RenewedIdentifiers: ids, Outcome: "ok"}
	}
	return e, nil
}

// order is the URL of one that no CA has.
const order = "https://ca.invalid/order/1"

// tell fills in the certificate.
func (l *lineage) tell(e *sdk.HookEvent) {
	e.Paths, e.LeafPEM, e.ChainPEM, e.FullchainPEM = l.paths, l.leaf, l.chain, l.fullchain
	if block, _ := pem.Decode(l.leaf); block != nil {
		e.CertificateRaw = block.Bytes
	}
	e.NotBefore, e.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
}
