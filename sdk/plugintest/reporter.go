package plugintest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/certwright/certwright/sdk"
)

// record is the reporter of the checks: it keeps results and answers asks.
type record struct {
	answer func(string) (string, error)

	mu      sync.Mutex
	results []sdk.Result
}

func (b *bench) record() *record { return &record{answer: b.Answer} }

func (r *record) Progress(string, string) {}

func (r *record) Say(sdk.Stream, string) {}

func (r *record) Ask(_ context.Context, text string) (string, error) {
	if r.answer == nil {
		return "", sdk.ErrNotInteractive
	}
	return r.answer(text)
}

func (r *record) Result(result sdk.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

func (r *record) all() []sdk.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]sdk.Result(nil), r.results...)
}

// receipts puts what Perform reported into the challenges.
func (r *record) receipts(challenges []sdk.Challenge) []sdk.Challenge {
	out := append([]sdk.Challenge(nil), challenges...)
	for _, result := range r.all() {
		for i := range out {
			if out[i].ID == result.Subject {
				out[i].Receipt = result.Receipt
			}
		}
	}
	return out
}

// judge holds the results of a call to the rule: one for each challenge, no
// other, and none failed.
func (r *record) judge(challenges []sdk.Challenge) error {
	var errs []error
	seen := map[string]int{}
	for _, result := range r.all() {
		seen[result.Subject]++
		if result.Err != nil {
			errs = append(errs, fmt.Errorf("the result for %q is a failure: %w", result.Subject, result.Err))
		}
	}
	for _, c := range challenges {
		if seen[c.ID] != 1 {
			errs = append(errs, fmt.Errorf("%d results for challenge %q instead of one; "+
				"report each with its id as soon as it is in place", seen[c.ID], c.ID))
		}
		delete(seen, c.ID)
	}
	for subject := range seen {
		errs = append(errs, fmt.Errorf("a result for %q, which is the id of no challenge of the call", subject))
	}
	return errors.Join(errs...)
}
