package order

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// maxReceipt bounds what a plugin may leave in the journal for one challenge.
const maxReceipt = 64 << 10

// run performs and, from the moment Perform is called, always cleans up: when
// no proof needs it any more. Its error ends the order.
func (b *batch) run(ctx context.Context) (err error) {
	performed := sync.OnceFunc(func() { close(b.performed) })
	defer performed()
	defer b.letGo()
	challenges := b.challenges()
	op := sdk.Operation{
		ID: operationID(b.order.URL, b.name, "perform"), RunID: b.RunID, Lineage: b.request.Name,
		Attempt: 1, Identifiers: b.request.Identifiers,
	}
	if b.entry, err = b.Journal.Performing(b.request.Name, op.ID, b.instance.Config, challenges); err != nil {
		b.result = fmt.Errorf("journal the challenges: %w", err)
		return b.result
	}
	defer b.cleanup(ctx, op)
	defer b.users.Wait()
	defer performed()
	b.Story.Tell(b.request.Name, "%s puts %s in place", b.name, b.summary())
	b.result = b.instance.Perform(sdk.WithOperation(ctx, op), challenges,
		&collector{Reporter: b.Story.Reporter(b.request.Name, b.name), batch: b})
	b.writers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if b.journal != nil {
		return b.journal
	}
	if b.Debug {
		return b.show(ctx, challenges)
	}
	return nil
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

// cleanup takes everything away, even if the order was cancelled. What could
// not be taken away stays in the journal for the next run.
func (b *batch) cleanup(ctx context.Context, op sdk.Operation) {
	interrupted := ctx.Err() != nil
	ctx = context.WithoutCancel(ctx)
	op.ID = operationID(b.order.URL, b.instance.Config.Name, "cleanup")
	ctx = sdk.WithOperation(ctx, op)
	challenges := b.challenges()
	for i := range challenges {
		challenges[i].Receipt = b.receipts[challenges[i].ID]
	}
	reporter := b.Story.Reporter(b.request.Name, b.instance.Config.Name)
	first, cancel := ctx, context.CancelFunc(func() {})
	if interrupted || broken(b.result) {
		// It may hang: it is not waited for as long as a healthy one.
		first, cancel = context.WithTimeout(ctx, brokenPatience)
	}
	cleaned, err := Clean(first, b.instance, challenges, reporter)
	cancel()
	if broken(err) && b.Fresh != nil {
		// The process is gone or hangs: a new one can do it.
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

// brokenPatience is how long an instance may take to clean up of which a call
// broke, was cancelled or took too long.
const brokenPatience = 6 * time.Second

// broken says that a call did not come to its own end: the process died, hangs,
// or was interrupted. A plugin that reports a failure is healthy.
func broken(err error) bool {
	// The error of a process that died has a hint, and is a problem as well.
	var call interface{ CallBroke() }
	var problem *sdk.Problem
	return err != nil && (errors.As(err, &call) || !errors.As(err, &problem) || problem.Code == sdk.Timeout || problem.Code == sdk.Cancelled)
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
