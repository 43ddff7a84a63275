package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/certwright/certwright/sdk"
)

// knownTypes are the challenge types whose material the suite can make.
var knownTypes = []string{sdk.HTTP01, sdk.DNS01, sdk.TLSALPN01}

// types are those of knownTypes that the plugin answers.
func (b *bench) types() []string {
	var out []string
	for _, t := range b.description.ChallengeTypes {
		if slices.Contains(knownTypes, t.Type) && slices.Contains(b.description.Roles, sdk.RoleAuthenticator) {
			out = append(out, t.Type)
		}
	}
	return out
}

func operation(ctx context.Context, id string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{ID: id, RunID: "plugincheck", Lineage: "plugincheck", Attempt: 1})
}

// whereToLook says how the suite gets to see a response.
var whereToLook = map[string]string{
	sdk.HTTP01:    "put {dir} or {http_port} into the settings, or give webroot or http",
	sdk.DNS01:     "put {dns} into the settings, or give dns, or in a Go test Look",
	sdk.TLSALPN01: "put {tls_port} into the settings, or give tls",
}

// Advice of several checks.
const (
	adviceInPlace = "report a challenge as done only when its response can be seen"
	adviceGone    = "Cleanup removes all that Perform put in place, by the challenge alone if need be"
)

func authenticatorChecks() []check {
	var all []check
	for _, t := range knownTypes {
		add := func(name, obligation string, run func(context.Context, *bench, string) error) {
			all = append(all, check{name: t + "/" + name, obligation: obligation, run: func(ctx context.Context, b *bench) error {
				if !slices.Contains(b.types(), t) {
					return notApplicable("the plugin does not answer " + t)
				}
				return run(ctx, b, t)
			}})
		}
		add("perform", "Perform of a batch reports one result for each challenge", performs)
		add("seen", "what Perform reports as done is to be seen where a CA would look", seen)
		add("cleanup", "Cleanup takes away what Perform put in place", cleansUp)
		add("cleanup-new-process", "Cleanup works in a new process, without receipts, after the first one was killed", cleansUpAnew)
		add("cleanup-nothing", "Cleanup of what was never performed is success", cleansUpNothing)
		add("cleanup-twice", "a second Cleanup is success", cleansUpTwice)
		add("same-operation", "Perform again with the same operation_id has the same outcome and leaves no duplicate", performsTwice)
		add("cancel", "a cancelled Perform ends within 5 s, and Cleanup works after it", cancels)
		add("foreign", "what others have there stays: other values of the same record, other files and records", leavesOthers)
		add("concurrent", "two batches at once do not disturb each other", concurrent)
	}
	return append(all,
		check{
			name:       "authenticator/unknown-type",
			obligation: "a challenge of a type that the plugin does not answer gets a problem, and the others are performed",
			run:        unknownType,
		},
		check{
			name:       "authenticator/prefer",
			obligation: "Prefer answers for each identifier, in the order given",
			run:        prefers,
		},
	)
}

func (b *bench) perform(ctx context.Context, p *process, batch []sdk.Challenge) (*record, error) {
	r := b.record()
	if err := b.possible(batch[0].Type); err != nil {
		return r, err
	}
	if err := p.Authenticator().Perform(ctx, batch, r); err != nil {
		return r, fmt.Errorf("Perform: %w", err)
	}
	return r, r.judge(batch)
}

func (b *bench) cleanup(ctx context.Context, p *process, batch []sdk.Challenge) error {
	r := b.record()
	if err := p.Authenticator().Cleanup(ctx, batch, r); err != nil {
		return fmt.Errorf("Cleanup: %w", err)
	}
	for _, result := range r.all() {
		if result.Err != nil {
			return fmt.Errorf("Cleanup: the result for %q is a failure: %w\ntake what is already gone as success", result.Subject, result.Err)
		}
	}
	return nil
}

// tidy cleans up at the end of a check, whatever came before.
func (b *bench) tidy(ctx context.Context, p *process, batch []sdk.Challenge) {
	if !p.runner.hasExited() {
		_ = b.cleanup(operation(ctx, "tidy"), p, batch)
	}
}

// start gives a configured process and a batch.
func (b *bench) start(ctx context.Context, challengeType string) (*process, []sdk.Challenge, error) {
	batch, err := b.challenges(challengeType, "a")
	if err != nil {
		return nil, nil, err
	}
	p, err := b.fresh(ctx)
	return p, batch, err
}

func (b *bench) performAndCleanup(ctx context.Context, p *process, batch []sdk.Challenge) error {
	defer b.tidy(ctx, p, batch)
	r, err := b.perform(operation(ctx, "perform"), p, batch)
	if err != nil {
		return err
	}
	if err := b.expect(ctx, batch, 1, adviceInPlace); err != nil {
		return err
	}
	if err := b.cleanup(operation(ctx, "cleanup"), p, r.receipts(batch)); err != nil {
		return err
	}
	return b.expect(ctx, batch, 0, adviceGone)
}

func performs(ctx context.Context, b *bench, t string) error {
	p, batch, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	defer b.tidy(ctx, p, batch)
	_, err = b.perform(operation(ctx, "perform"), p, batch)
	return err
}

func seen(ctx context.Context, b *bench, t string) error {
	if b.views[t] == nil {
		return unseen("the suite was not told where to look for " + t + ": " + whereToLook[t] +
			"; until then nothing is known about what the plugin really does")
	}
	p, batch, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	defer b.tidy(ctx, p, batch)
	if err := b.expect(ctx, batch, 0, "something else serves the response already; free the address"); err != nil {
		return err
	}
	if _, err = b.perform(operation(ctx, "perform"), p, batch); err != nil {
		return err
	}
	return b.expect(ctx, batch, 1, adviceInPlace)
}

func cleansUp(ctx context.Context, b *bench, t string) error {
	p, batch, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	return b.performAndCleanup(ctx, p, batch)
}

func cleansUpAnew(ctx context.Context, b *bench, t string) error {
	dir, err := b.stateDir()
	if err != nil {
		return err
	}
	batch, err := b.challenges(t, "a")
	if err != nil {
		return err
	}
	first, err := b.instance(ctx, dir)
	if err != nil {
		return err
	}
	if _, err := b.perform(operation(ctx, "perform"), first, batch); err != nil {
		return err
	}
	first.kill()
	second, err := b.instance(ctx, dir)
	if err != nil {
		return fmt.Errorf("in a new process with the state directory of the first: %w", err)
	}
	if err := b.cleanup(operation(ctx, "cleanup"), second, batch); err != nil {
		return err
	}
	return b.expect(ctx, batch, 0, adviceGone)
}

func cleansUpNothing(ctx context.Context, b *bench, t string) error {
	p, batch, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	return b.cleanup(operation(ctx, "cleanup"), p, batch)
}

func cleansUpTwice(ctx context.Context, b *bench, t string) error {
	p, batch, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	if err := b.performAndCleanup(ctx, p, batch); err != nil {
		return err
	}
	if err := b.cleanup(operation(ctx, "cleanup"), p, batch); err != nil {
		return fmt.Errorf("the second time: %w", err)
	}
	return nil
}

func performsTwice(ctx context.Context, b *bench, t string) error {
	p, batch, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	defer b.tidy(ctx, p, batch)
	same := operation(ctx, "the-same")
	for _, time := range []string{"first", "second"} {
		if _, err := b.perform(same, p, batch); err != nil {
			return fmt.Errorf("the %s time: %w", time, err)
		}
	}
	if err := b.expect(ctx, batch, 1, "remember by operation_id or, better, see what is there already, and add nothing twice"); err != nil {
		return err
	}
	if err := b.cleanup(operation(ctx, "cleanup"), p, batch); err != nil {
		return err
	}
	return b.expect(ctx, batch, 0, adviceGone)
}

// cancels cancels a Perform as soon as the plugin is seen to be at it.
func cancels(ctx context.Context, b *bench, t string) error {
	p, batch, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	if err := b.possible(t); err != nil {
		return err
	}
	performing, cancel := context.WithCancel(operation(ctx, "to-be-cancelled"))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = p.Authenticator().Perform(performing, batch, b.record())
	}()
	err = b.untilInFlight(ctx, p, ended)
	cancel()
	<-ended
	if err != nil {
		return err
	}
	abandoned, err := p.Drain(ctx, 5*time.Second)
	if err != nil {
		return fmt.Errorf("Drain after a cancelled Perform: %w", err)
	}
	if len(abandoned) > 0 {
		return fmt.Errorf("Perform still runs 5 s after it was cancelled (Drain names %q); "+
			"give the call's context to all that can take time", abandoned)
	}
	if err := b.cleanup(operation(ctx, "cleanup"), p, batch); err != nil {
		return fmt.Errorf("after a cancelled Perform: %w", err)
	}
	return b.expect(ctx, batch, 0, adviceGone)
}

// untilInFlight returns once the call has arrived or has ended. A plugin that
// does not count its calls is asked some times only.
func (b *bench) untilInFlight(ctx context.Context, p *process, ended <-chan struct{}) error {
	for range 50 {
		_, running, err := p.Health(ctx, false)
		if err != nil {
			return fmt.Errorf("Health during Perform: %w", err)
		}
		select {
		case <-ended:
			return nil
		default:
		}
		if running > 0 {
			return nil
		}
	}
	return nil
}

func concurrent(ctx context.Context, b *bench, t string) error {
	if b.description.Serial {
		return notApplicable("the plugin asks for one order at a time (serial)")
	}
	p, one, err := b.start(ctx, t)
	if err != nil {
		return err
	}
	two, err := b.challenges(t, "b")
	if err != nil {
		return err
	}
	defer b.tidy(ctx, p, slices.Concat(one, two))
	var both sync.WaitGroup
	errs := make([]error, 2)
	for i, batch := range [][]sdk.Challenge{one, two} {
		both.Go(func() { _, errs[i] = b.perform(operation(ctx, fmt.Sprintf("batch-%d", i)), p, batch) })
	}
	both.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := b.expect(ctx, slices.Concat(one, two), 1, "two calls run at once; guard what they share by a lock"); err != nil {
		return err
	}
	// One challenge of the first batch goes: all others stay.
	if err := b.cleanup(operation(ctx, "cleanup-one"), p, one[:1]); err != nil {
		return err
	}
	if err := b.expect(ctx, slices.Concat(one[1:], two), 1, "remove what belongs to the challenges of the call only"); err != nil {
		return err
	}
	if err := b.cleanup(operation(ctx, "cleanup-rest"), p, slices.Concat(one[1:], two)); err != nil {
		return err
	}
	return b.expect(ctx, slices.Concat(one, two), 0, adviceGone)
}

func unknownType(ctx context.Context, b *bench) error {
	types := b.types()
	if len(types) == 0 {
		return notApplicable("the plugin answers no challenge that the suite knows")
	}
	if err := b.possible(types[0]); err != nil {
		return err
	}
	p, batch, err := b.start(ctx, types[0])
	if err != nil {
		return err
	}
	defer b.tidy(ctx, p, batch)
	strange, err := b.challenge("certwright-unknown-01", sdk.Identifier{Type: "dns", Value: "c." + b.Domain})
	if err != nil {
		return err
	}
	strange.ID = "strange"
	r := b.record()
	if err := p.Authenticator().Perform(operation(ctx, "strange"), append(batch, strange), r); err != nil {
		return fmt.Errorf("Perform of a batch with a challenge of type %s: %w\n"+
			"report a result with a problem of code %s for that challenge, and go on", strange.Type, err, sdk.Unsupported)
	}
	refused := false
	for _, result := range r.all() {
		refused = refused || result.Subject == strange.ID && result.Err != nil
		if result.Subject != strange.ID && result.Err != nil {
			return fmt.Errorf("a challenge of type %s made another one fail: %w", strange.Type, result.Err)
		}
	}
	if !refused {
		return fmt.Errorf("a challenge of type %s got no problem; report one of code %s", strange.Type, sdk.Unsupported)
	}
	if err := b.expect(ctx, batch, 1, adviceInPlace); err != nil {
		return err
	}
	return b.cleanup(operation(ctx, "cleanup"), p, append(batch, strange))
}

func prefers(ctx context.Context, b *bench) error {
	if !slices.Contains(b.description.Features, sdk.FeaturePrefer) {
		return notApplicable("the plugin does not have the feature prefer")
	}
	p, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	ids := append(b.identifiers(sdk.DNS01, "a"), sdk.Identifier{Type: "ip", Value: "192.0.2.1"})
	preferences, err := p.Authenticator().Prefer(ctx, ids)
	if err != nil {
		return fmt.Errorf("Prefer: %w", err)
	}
	if len(preferences) != len(ids) {
		return fmt.Errorf("Prefer gave %d answers for %d identifiers", len(preferences), len(ids))
	}
	for i, id := range ids {
		if preferences[i].Identifier != id {
			return fmt.Errorf("answer %d is for %s instead of %s", i+1, preferences[i].Identifier, id)
		}
	}
	return nil
}
