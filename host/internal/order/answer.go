package order

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/internal/model"
)

// answer has everything performed, one call for each instance, and settles each
// proof as soon as all its instances have it in place, and as DNS shows it if
// that is the host's to see to. An instance cleans up
// when the last proof that needs it is settled. Failures are about single
// names; an error ends the order.
func (h *handler) answer(ctx context.Context, proofs []proof) error {
	batches := h.batches(proofs)
	if err := h.hold(ctx, batches); err != nil {
		return err
	}
	var performing, settling errgroup.Group
	for _, b := range batches {
		performing.Go(func() error { return b.run(ctx) })
	}
	seen := &propagation{done: make(chan struct{})}
	settling.Go(func() error {
		h.propagate(ctx, proofs, batches, seen)
		return nil
	})
	errs := make([]error, len(proofs))
	slots := make(chan struct{}, fetches)
	for i, p := range proofs {
		settling.Go(func() error {
			defer p.release(batches)
			errs[i] = h.settle(ctx, p, batches, seen, slots)
			return nil
		})
	}
	_ = settling.Wait() // errors are in errs
	if err := performing.Wait(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var failures []Failure
	for i, p := range proofs {
		if errs[i] != nil {
			failures = append(failures, Failure{
				Identifier: p.auth.Identifier, Instance: label(p.way), Type: p.types(), Err: errs[i],
			})
		}
	}
	if len(failures) > 0 {
		return &FailedError{failures}
	}
	return nil
}

// batches gives each instance the challenges of all proofs that need it.
func (h *handler) batches(proofs []proof) map[string]*batch {
	out := map[string]*batch{}
	for _, p := range proofs {
		for _, name := range p.way {
			b := out[name]
			if b == nil {
				b = &batch{
					handler: h, name: name, performed: make(chan struct{}),
					ready: map[string]bool{}, failed: map[string]error{}, receipts: map[string][]byte{},
				}
				out[name] = b
			}
			b.proofs = append(b.proofs, p)
			b.users.Add(1)
		}
	}
	return out
}

// release tells the instances of the proof that it needs them no more.
func (p proof) release(batches map[string]*batch) {
	for _, name := range p.way {
		batches[name].users.Done()
	}
}

// settle waits until a proof is in place, answers and polls.
func (h *handler) settle(ctx context.Context, p proof, batches map[string]*batch, seen *propagation, slots chan struct{}) error {
	if err := p.inPlace(batches); err != nil {
		return err
	}
	if err := seen.of(p); err != nil {
		return err
	}
	slots <- struct{}{}
	defer func() { <-slots }()
	for _, url := range p.urls {
		if err := h.CA.Accept(ctx, url); err != nil {
			return fmt.Errorf("answer the challenge: %w", err)
		}
	}
	a, err := h.CA.PollAuthorization(ctx, p.auth.URL)
	if err != nil {
		return fmt.Errorf("wait for the validation: %w", err)
	}
	if a.Status != model.StatusValid {
		h.refused(ctx, p, a)
		return failureOf(a)
	}
	return nil
}

// refused tells the hooks of the challenges that the CA did not take.
func (h *handler) refused(ctx context.Context, p proof, a model.Authorization) {
	if h.Hooks == nil {
		return
	}
	for i, c := range p.challenges {
		for _, now := range a.Challenges {
			if now.URL != p.urls[i] || now.Error == nil {
				continue
			}
			c.RawJSON = now.RawJSON
			h.Hooks.ChallengeInvalid(ctx, c, now.Error)
		}
	}
}

// inPlace waits until every instance of the proof has performed, and says why
// one of them does not have it in place; nil: all have.
func (p proof) inPlace(batches map[string]*batch) error {
	for _, name := range p.way {
		<-batches[name].performed
	}
	var errs []error
	for _, name := range p.way {
		errs = append(errs, batches[name].inPlace(p))
	}
	return errors.Join(errs...)
}

// batch is everything that one instance performs of one order.
type batch struct {
	*handler
	name     string
	proofs   []proof
	instance Instance
	// held are what ends the instance's hold on its exclusive resources.
	held  []func()
	entry Entry
	// performed is closed when Perform has returned, or will not be called.
	performed chan struct{}
	result    error
	// users are the proofs that still need what is in place.
	users sync.WaitGroup

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

// inPlace says why a proof is not in place at this instance; nil: it is.
func (b *batch) inPlace(p proof) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range p.challenges {
		switch {
		case b.failed[c.ID] != nil:
			return b.failed[c.ID]
		case b.ready[c.ID]:
		case b.result != nil:
			return b.result
		default:
			return fmt.Errorf("the plugin %s ended without saying what became of it", b.instance.Config.Plugin)
		}
	}
	return nil
}

func (b *batch) challenges() []model.Challenge {
	var out []model.Challenge
	for _, p := range b.proofs {
		out = append(out, p.challengesFor(b.instance.Description)...)
	}
	return out
}
