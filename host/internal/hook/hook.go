// Package hook tells plugins what happens in a run, each the moments that it
// asked for, and turns what they answer into errors and warnings by the user's
// rules. It knows no other stage: what happens is handed in.
package hook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Story is what the user is told while it happens.
type Story interface {
	Tell(lineage, format string, args ...any)
	WarnError(err error)
	// Reporter receives what a plugin has to say.
	Reporter(lineage, instance string) sdk.Reporter
}

// Member is one process that may want to be told.
type Member struct {
	Name string
	// Key is that of the process: the same for every certificate that it serves.
	Key string
	// Events that its plugin wants.
	Events []string
	// Named says that the user named it as a hook. One that is not is in use
	// otherwise, where its failure to start has its own consequences.
	Named bool
	// Hook waits until it is running.
	Hook func(context.Context) (sdk.Hook, error)
}

// Wants says whether the member asked for an event.
func (m Member) Wants(event string) bool { return slices.Contains(m.Events, event) }

// Deps is what a run is told with.
type Deps struct {
	Story Story
	RunID string
	// Verb of the command line.
	Verb   string
	DryRun bool
	// Rules are the user's for every certificate that has none of its own.
	Rules model.HookRules
}

// Run is the hooks of one run.
type Run struct {
	Deps
	members      []*process
	certificates []*Certificate
}

// process is a member, told one thing at a time.
type process struct {
	Member
	turn chan struct{}
	// start and pre are told once; their error is every certificate's.
	start, pre once
}

// once remembers the outcome of the first call.
type once struct {
	mu   sync.Mutex
	done bool
	err  error
	// warnings that the user may forbid.
	warnings error
}

// New makes the hooks of a run.
func New(d Deps) *Run { return &Run{Deps: d} }

// Join makes members part of the run, and gives them as a certificate has them.
// It MUST NOT be called any more when the run has started.
func (r *Run) Join(members []Member) []Told {
	out := make([]Told, 0, len(members))
	for _, m := range members {
		at := slices.IndexFunc(r.members, func(p *process) bool { return p.Key == m.Key })
		if at < 0 {
			at = len(r.members)
			r.members = append(r.members, &process{Member: m, turn: make(chan struct{}, 1)})
		}
		out = append(out, Told{r.members[at], m.Named})
	}
	return out
}

// Told is a member of a certificate.
type Told struct {
	*process
	named bool
}

// Start tells start, to all at once: they are not the same process. What comes
// of it is an error of each certificate that uses the member.
func (r *Run) Start(ctx context.Context) {
	var all sync.WaitGroup
	for _, p := range r.members {
		if p.Wants(sdk.EventStart) {
			all.Go(func() { _, _ = r.first(ctx, p, &p.start, sdk.EventStart) }) // kept there
		}
	}
	all.Wait()
}

// first tells an event that comes once in a run.
func (r *Run) first(ctx context.Context, p *process, o *once, event string) (warnings, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.done {
		o.done = true
		if p.Wants(event) {
			_, o.warnings, o.err = r.tell(ctx, p, sdk.HookEvent{Event: event, Fatal: r.fatal(p, event)}, nil)
		}
	}
	return o.warnings, o.err
}

// fatal says whether a failure of a process at an event of the run fails any of
// the certificates that use it.
func (r *Run) fatal(p *process, event string) bool {
	return slices.ContainsFunc(r.certificates, func(c *Certificate) bool {
		return c.uses(p) && !c.allowed(event, false) && (event != sdk.EventPost || c.reached())
	})
}

// Post is told at the end, to those that were told pre. The errors are by the
// key of the member; they count where a certificate does not allow them.
func (r *Run) Post(ctx context.Context, e sdk.HookEvent) map[string]error {
	e.Event = sdk.EventPost
	errs := map[string]error{}
	for _, p := range r.members {
		p.pre.mu.Lock()
		reached := p.pre.done
		p.pre.mu.Unlock()
		if !reached || !p.Wants(e.Event) {
			continue
		}
		e.Fatal = r.fatal(p, e.Event)
		_, warnings, err := r.tell(ctx, p, e, nil)
		errs[p.Key] = failure(p, e.Event, join(err, warnings))
	}
	return errs
}

// finishPatience bounds what a run waits for once it has ended.
const finishPatience = time.Minute

// Finish is told on every exit, to all that are running.
func (r *Run) Finish(ctx context.Context, e sdk.HookEvent) {
	e.Event = sdk.EventFinish
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishPatience)
	defer cancel()
	for _, p := range r.members {
		if !p.Wants(e.Event) {
			continue
		}
		if _, err := p.Hook(ctx); err != nil {
			continue // it was never there, which has been told
		}
		_, warnings, err := r.tell(ctx, p, e, nil)
		r.warn("", failure(p, e.Event, join(err, warnings)))
	}
}

// Refused tells of a request to the CA that is about no certificate.
func (r *Run) Refused(ctx context.Context, f model.Refusal) {
	for _, p := range r.members {
		if p.Wants(sdk.EventCAFailure) {
			_, warnings, err := r.tell(ctx, p, refusal(f), nil)
			r.warn("", failure(p, sdk.EventCAFailure, join(err, warnings)))
		}
	}
}

func (r *Run) warn(lineage string, err error) {
	if err == nil {
		return
	}
	if lineage != "" {
		err = fmt.Errorf("%s: %w", lineage, err)
	}
	r.Story.WarnError(err)
}

// tell makes one call. ids are those of the certificate; nil: it is about none.
func (r *Run) tell(
	ctx context.Context, p *process, e sdk.HookEvent, ids []model.Identifier,
) (result sdk.HookResult, warnings, err error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return result, nil, context.Cause(ctx)
	}
	defer func() { <-p.turn }()
	h, err := p.Hook(ctx)
	if err != nil {
		return result, nil, err
	}
	e.DryRun, e.Verb = r.DryRun, r.Verb
	sum := sha256.Sum256([]byte(strings.Join([]string{r.RunID, p.Name, e.Event, e.Lineage, e.OrderURL}, "\x00")))
	ctx = sdk.WithOperation(ctx, sdk.Operation{
		ID: hex.EncodeToString(sum[:16]), RunID: r.RunID, Lineage: e.Lineage, Attempt: 1, Identifiers: ids,
	})
	result, err = h.Run(ctx, e, r.Story.Reporter(e.Lineage, p.Name))
	for _, w := range result.Warnings {
		warnings = join(warnings, w)
	}
	return result, warnings, err
}

// join adds an error, if there is one, to those before it; the hint of the first
// is shown.
func join(before, err error) error {
	switch {
	case before == nil:
		return err
	case err == nil:
		return before
	}
	return fmt.Errorf("%w; %w", before, err)
}

// FailedError is a hook that failed.
type FailedError struct {
	Instance, Event string
	Err             error
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("hook %s failed at %s: %v", e.Instance, e.Event, e.Err)
}

// Unwrap gives what the hook said.
func (e *FailedError) Unwrap() error { return e.Err }

// Parts gives the failures that an error is made of.
func Parts(err error) []*FailedError {
	switch e := err.(type) { //nolint:errorlint // walks the chain itself: all parts count, not one
	case *FailedError:
		return []*FailedError{e}
	case interface{ Unwrap() error }:
		return Parts(e.Unwrap())
	case interface{ Unwrap() []error }:
		var out []*FailedError
		for _, part := range e.Unwrap() {
			out = append(out, Parts(part)...)
		}
		return out
	}
	return nil
}

func failure(p *process, event string, err error) error {
	if err == nil {
		return nil
	}
	return &FailedError{Instance: p.Name, Event: event, Err: err}
}

func refusal(f model.Refusal) sdk.HookEvent {
	problem := sdk.ProblemOf(&f.ACMEError)
	problem.Code = sdk.Unavailable
	return sdk.HookEvent{
		Event: sdk.EventCAFailure, Problem: problem, HTTPStatus: f.Status, HTTPMethod: f.Method, HTTPURL: f.URL,
		HTTPResource: f.Resource, HTTPHeaders: f.Header, HTTPBody: f.Body,
	}
}
