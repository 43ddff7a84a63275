package order

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// maxReceipt bounds what a plugin may leave in the journal for one challenge.
const maxReceipt = 64 << 10

// batch is everything that one instance proves of one order.
type batch struct {
	*handler
	proofs   []proof
	instance Instance
	entry    Entry

	mu       sync.Mutex
	ready    map[string]bool
	failed   map[string]error
	receipts map[string][]byte
	// unwritten receipts are brought to the journal by one writer, which takes
	// all that came while it was writing.
	unwritten []Receipt
	writing   bool
	writers   sync.WaitGroup
	journal   error
}

// run performs, answers, polls and, from the moment Perform is called, always
// cleans up. Failures are about single names; an error ends the order.
func (b *batch) run(ctx context.Context, name string) (failures []Failure, err error) {
	if b.instance, err = b.Instances(ctx, name); err != nil {
		return nil, err
	}
	release, err := b.Resources.Hold(ctx, name, b.ResourceKeys(b.instance))
	if err != nil {
		return nil, err
	}
	defer release()
	challenges := b.challenges()
	op := sdk.Operation{
		ID: operationID(b.order.URL, name, "perform"), RunID: b.RunID, Lineage: b.request.Name,
		Attempt: 1, Identifiers: b.request.Identifiers,
	}
	if b.entry, err = b.Journal.Performing(b.request.Name, op.ID, b.instance.Config, challenges); err != nil {
		return nil, fmt.Errorf("journal the challenges: %w", err)
	}
	defer b.cleanup(ctx, op)
	b.ready, b.failed, b.receipts = map[string]bool{}, map[string]error{}, map[string][]byte{}
	b.Story.Tell(b.request.Name, "%s puts %s in place", name, b.summary())
	performed := b.instance.Perform(sdk.WithOperation(ctx, op), challenges, &collector{Reporter: b.Story.Reporter(b.request.Name, name), batch: b})
	b.writers.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if b.journal != nil {
		return nil, b.journal
	}
	if b.Debug {
		if err := b.show(ctx, challenges); err != nil {
			return nil, err
		}
	}
	return b.settle(ctx, performed), nil
}

func (b *batch) challenges() []model.Challenge {
	var out []model.Challenge
	for _, p := range b.proofs {
		out = append(out, p.challenges...)
	}
	return out
}

func (b *batch) summary() string {
	byType := map[string][]string{}
	var types []string
	for _, p := range b.proofs {
		t := p.types()
		if byType[t] == nil {
			types = append(types, t)
		}
		byType[t] = append(byType[t], p.auth.Identifier.String())
	}
	var parts []string
	for _, t := range types {
		names := byType[t]
		if len(names) > 5 {
			names = append(names[:4:4], fmt.Sprintf("%d more", len(names)-4))
		}
		parts = append(parts, t+" for "+strings.Join(names, ", "))
	}
	return strings.Join(parts, "; ")
}

// settle answers and polls every proof that is in place.
func (b *batch) settle(ctx context.Context, performed error) []Failure {
	errs := make([]error, len(b.proofs))
	var group errgroup.Group
	group.SetLimit(fetches)
	for i, p := range b.proofs {
		if err := b.inPlace(p, performed); err != nil {
			errs[i] = err
			continue
		}
		group.Go(func() error {
			errs[i] = b.validate(ctx, p)
			return nil
		})
	}
	_ = group.Wait() // errors are in errs
	var failures []Failure
	for i, p := range b.proofs {
		if errs[i] != nil {
			failures = append(failures, Failure{
				Identifier: p.auth.Identifier, Instance: p.instance, Type: p.types(), Err: errs[i],
			})
		}
	}
	return failures
}

func (b *batch) inPlace(p proof, performed error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range p.challenges {
		switch {
		case b.failed[c.ID] != nil:
			return b.failed[c.ID]
		case b.ready[c.ID]:
		case performed != nil:
			return performed
		default:
			return fmt.Errorf("the plugin %s ended without saying what became of it", b.instance.Config.Plugin)
		}
	}
	return nil
}

func (b *batch) validate(ctx context.Context, p proof) error {
	for _, url := range p.urls {
		if err := b.CA.Accept(ctx, url); err != nil {
			return fmt.Errorf("answer the challenge: %w", err)
		}
	}
	a, err := b.CA.PollAuthorization(ctx, p.auth.URL)
	if err != nil {
		return fmt.Errorf("wait for the validation: %w", err)
	}
	if a.Status != model.StatusValid {
		return failureOf(a)
	}
	return nil
}

// cleanup takes everything away, even if the order was cancelled. What could
// not be taken away stays in the journal for the next run.
func (b *batch) cleanup(ctx context.Context, op sdk.Operation) {
	ctx = context.WithoutCancel(ctx)
	op.ID = operationID(b.order.URL, b.instance.Config.Name, "cleanup")
	ctx = sdk.WithOperation(ctx, op)
	challenges := b.challenges()
	for i := range challenges {
		challenges[i].Receipt = b.receipts[challenges[i].ID]
	}
	reporter := b.Story.Reporter(b.request.Name, b.instance.Config.Name)
	cleaned, err := Clean(ctx, b.instance, challenges, reporter)
	var problem *sdk.Problem
	if err != nil && !errors.As(err, &problem) && b.Fresh != nil {
		// The call broke, so the process is probably gone: a new one can do it.
		if fresh, startErr := b.Fresh(ctx, b.instance.Config.Name); startErr == nil {
			cleaned, err = Clean(ctx, fresh, challenges, reporter)
		}
	}
	if err != nil {
		b.Story.Warn(b.request.Name, "%s could not clean up, the next run will try again: %v", b.instance.Config.Name, err)
	}
	if err := b.entry.Cleaned(cleaned); err != nil {
		b.Story.Warn(b.request.Name, "journal the clean-up: %v", err)
	}
}

// Clean has challenges taken away and gives the IDs of those that are.
func Clean(ctx context.Context, a sdk.Authenticator, challenges []model.Challenge, r sdk.Reporter) ([]string, error) {
	c := &cleaning{Reporter: r, failed: map[string]error{}, gone: map[string]bool{}}
	err := a.Cleanup(ctx, challenges, c)
	var cleaned []string
	errs := []error{err}
	for _, challenge := range challenges {
		switch {
		case c.failed[challenge.ID] != nil:
			errs = append(errs, c.failed[challenge.ID])
		case c.gone[challenge.ID] || err == nil:
			cleaned = append(cleaned, challenge.ID)
		}
	}
	return cleaned, errors.Join(errs...)
}
