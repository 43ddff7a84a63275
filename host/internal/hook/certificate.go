package hook

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"slices"
	"sync"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Certificate tells the hooks of one certificate. A nil one tells nobody.
type Certificate struct {
	run     *Run
	request model.Request
	members []Told
	rules   model.HookRules

	mu sync.Mutex
	// began says that pre was told, ended that nothing is told any more.
	began, ended bool
	order        model.Untold
}

// Certificate gives what tells the hooks of a request. As with Join, it MUST NOT
// be called any more when the run has started.
func (r *Run) Certificate(request model.Request, members []Told) *Certificate {
	c := &Certificate{run: r, request: request, members: members, rules: request.Or(r.Rules)}
	r.certificates = append(r.certificates, c)
	return c
}

// uses says whether a process is told of the certificate.
func (c *Certificate) uses(p *process) bool {
	return slices.ContainsFunc(c.members, func(m Told) bool { return m.process == p })
}

// allowed says whether a failure at an event may be. What the user does not say
// is as it is at acme2certifier: pre and success must not fail, post may. What a
// hook itself calls a warning may be, unless the user says that it may not.
func (c *Certificate) allowed(event string, warning bool) bool {
	rule, byDefault := (*bool)(nil), true
	switch event {
	case sdk.EventStart, sdk.EventCSR:
		return warning
	case sdk.EventPre, sdk.EventAttempt:
		rule, byDefault = c.rules.AllowPre, warning
	case sdk.EventIssued, sdk.EventSuccess, sdk.EventUnchanged, sdk.EventDryRun:
		rule, byDefault = c.rules.AllowSuccess, warning
	case sdk.EventAttempted, sdk.EventPost:
		rule = c.rules.AllowPost
	}
	if rule != nil {
		return *rule
	}
	return byDefault
}

// settle gives the part of what a hook said that fails the certificate, and
// warns of the rest.
func (c *Certificate) settle(p *process, event string, warnings, err error) error {
	var fatal error
	for _, said := range []struct {
		err     error
		warning bool
	}{{err, false}, {warnings, true}} {
		failed := failure(p, event, said.err)
		switch {
		case failed == nil:
		case c.allowed(event, said.warning):
			c.run.warn(c.request.Name, failed)
		default:
			fatal = join(fatal, failed)
		}
	}
	return fatal
}

// tell tells an event to those that want it, in their order; after an error
// that is not allowed the others are not told.
func (c *Certificate) tell(ctx context.Context, e sdk.HookEvent) (csr []byte, err error) {
	e.Lineage, e.Identifiers, e.KeyType, e.Server = c.request.Name, c.request.Identifiers, string(c.request.KeyType), c.request.Server
	e.Fatal = !c.allowed(e.Event, false)
	for _, m := range c.members {
		if !m.Wants(e.Event) {
			continue
		}
		if _, err := m.Hook(ctx); err != nil && !m.named {
			continue // that it is not running has its consequences elsewhere
		}
		result, warnings, err := c.run.tell(ctx, m.process, e, c.request.Identifiers)
		if err := c.settle(m.process, e.Event, warnings, err); err != nil {
			return nil, err
		}
		if len(result.CSR) > 0 {
			csr = result.CSR
		}
	}
	return csr, nil
}

// Wants says whether any member asked for an event.
func (c *Certificate) Wants(events ...string) bool {
	if c == nil {
		return false
	}
	for _, m := range c.members {
		for _, event := range events {
			if m.Wants(event) {
				return true
			}
		}
	}
	return false
}

// Begin tells pre. Its error says that the certificate cannot be obtained: a
// member has failed at start or pre, or is not running.
func (c *Certificate) Begin(ctx context.Context) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	c.began = true
	c.mu.Unlock()
	for _, m := range c.members {
		if _, err := m.Hook(ctx); err != nil {
			if err := c.settle(m.process, sdk.EventPre, nil, err); m.named && err != nil {
				c.end()
				return err
			}
			continue
		}
		for _, e := range []struct {
			event string
			once  *once
		}{{sdk.EventStart, &m.start}, {sdk.EventPre, &m.pre}} {
			warnings, err := c.run.first(ctx, m.process, e.once, e.event)
			if err := c.settle(m.process, e.event, warnings, err); err != nil {
				c.end()
				return err
			}
		}
	}
	return nil
}

// end keeps the hooks from being told more: acme2certifier's rule after a
// failure that is not allowed.
func (c *Certificate) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
}

// CSR asks for a certificate request; nil: no hook has one.
func (c *Certificate) CSR(ctx context.Context) ([]byte, error) {
	if c == nil {
		return nil, nil
	}
	csr, err := c.tell(ctx, sdk.HookEvent{Event: sdk.EventCSR})
	if err != nil {
		c.end()
	}
	return csr, err
}

// Attempt implements order.Hooks.
func (c *Certificate) Attempt(ctx context.Context, orderURL string, request func() ([]byte, error)) error {
	c.mu.Lock()
	c.order = model.Untold{OrderURL: orderURL}
	c.mu.Unlock()
	if !c.Wants(sdk.EventAttempt, sdk.EventAttempted) {
		return nil
	}
	csr, err := request()
	if err != nil {
		return nil //nolint:nilerr // the order has the same error, and ends with it
	}
	c.mu.Lock()
	c.order.CSR = csr
	c.mu.Unlock()
	_, err = c.tell(ctx, sdk.HookEvent{Event: sdk.EventAttempt, OrderURL: orderURL, CSR: csr})
	if err != nil {
		c.end()
	}
	return err
}

// ChallengeInvalid implements order.Hooks.
func (c *Certificate) ChallengeInvalid(ctx context.Context, challenge model.Challenge, err error) {
	e := sdk.HookEvent{Event: sdk.EventChallengeInvalid, Challenge: &challenge, Problem: sdk.ProblemOf(err), OrderURL: c.ordered().OrderURL}
	e.Problem.Subject = challenge.ID
	_, _ = c.tell(ctx, e) // what it says of this is a warning
}

// Refused tells of a request to the CA that it refused.
func (c *Certificate) Refused(ctx context.Context, f model.Refusal) {
	_, _ = c.tell(ctx, refusal(f)) // as above
}

// Issued tells that a version is on disk.
func (c *Certificate) Issued(ctx context.Context, u model.Untold, v Version) error {
	if c == nil {
		return nil
	}
	e := v.event(sdk.EventIssued)
	e.OrderURL, e.CSR = u.OrderURL, u.CSR
	_, err := c.tell(ctx, e)
	return err
}

// Success tells that a version is live.
func (c *Certificate) Success(ctx context.Context, u model.Untold, v Version) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	c.order = u
	c.mu.Unlock()
	e := v.event(sdk.EventSuccess)
	e.OrderURL, e.CSR, e.PollIdentifier = u.OrderURL, u.CSR, poll(u)
	_, err := c.tell(ctx, e)
	if err != nil {
		c.end()
	}
	return err
}

// Unchanged tells that a certificate is not due, DryRun that it could be
// obtained. An error of start is the certificate's although it is not due.
func (c *Certificate) Unchanged(ctx context.Context, v Version) error {
	if c == nil {
		return nil
	}
	for _, m := range c.members {
		if _, err := m.Hook(ctx); err != nil || !m.Wants(sdk.EventStart) {
			continue // tell speaks of those that are not running
		}
		warnings, err := c.run.first(ctx, m.process, &m.start, sdk.EventStart)
		if err := c.settle(m.process, sdk.EventStart, warnings, err); err != nil {
			return err
		}
	}
	_, err := c.tell(ctx, v.event(sdk.EventUnchanged))
	return err
}

// DryRun tells that a dry run went well.
func (c *Certificate) DryRun(ctx context.Context, v Version) error {
	if c == nil {
		return nil
	}
	_, err := c.tell(ctx, v.event(sdk.EventDryRun))
	return err
}

// Attempted tells what has become of it. v is the version that was obtained, if
// one was. pending says that the CA may issue later.
func (c *Certificate) Attempted(ctx context.Context, v *Version, failed error, pending bool) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	ended, u := c.ended, c.order
	c.ended = true
	c.mu.Unlock()
	if ended {
		return nil
	}
	e := sdk.HookEvent{Event: sdk.EventAttempted}
	if v != nil {
		e = v.event(sdk.EventAttempted)
	}
	e.OrderURL, e.CSR, e.Problem, e.PollIdentifier = u.OrderURL, u.CSR, sdk.ProblemOf(failed), poll(u)
	if pending {
		e.PollIdentifier = u.OrderURL
	}
	// After an interruption too: what pre has stopped has to go on.
	_, err := c.tell(context.WithoutCancel(ctx), e)
	return err
}

// Post gives what is wrong with the end of the run for this certificate, and
// the rest to warn of.
func (c *Certificate) Post(errs map[string]error) error {
	if c == nil {
		return nil
	}
	reached := c.reached()
	var fatal error
	for _, m := range c.members {
		if err := errs[m.Key]; reached && err != nil && !c.allowed(sdk.EventPost, true) {
			fatal = errors.Join(fatal, err)
		}
	}
	return fatal
}

// reached says whether it came to pre; post counts only then.
func (c *Certificate) reached() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.began
}

func (c *Certificate) ordered() model.Untold {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order
}

// poll is where the CA was asked again for what it has issued late.
func poll(u model.Untold) string {
	if u.Late {
		return u.OrderURL
	}
	return ""
}

// Version is one certificate with its files.
type Version struct {
	model.Version
	Issued model.Issued
	Paths  model.Paths
}

func (v Version) event(name string) sdk.HookEvent {
	e := sdk.HookEvent{
		Event: name, Paths: v.Paths, LeafPEM: v.Issued.LeafPEM, ChainPEM: v.Issued.ChainPEM,
		FullchainPEM: bytes.Clone(v.Issued.FullchainPEM), NotBefore: v.NotBefore, NotAfter: v.NotAfter,
	}
	if block, _ := pem.Decode(v.Issued.LeafPEM); block != nil {
		e.CertificateRaw = block.Bytes
	}
	return e
}

type key struct{}

// Into makes what is asked of the CA about the certificate known to be so.
func (c *Certificate) Into(ctx context.Context) context.Context {
	return context.WithValue(ctx, key{}, c)
}

// Refused tells of a refusal whoever asked the CA; see Into.
func Refused(ctx context.Context, r *Run, f model.Refusal) {
	if c, ok := ctx.Value(key{}).(*Certificate); ok && c != nil {
		c.Refused(context.WithoutCancel(ctx), f)
		return
	}
	r.Refused(context.WithoutCancel(ctx), f)
}
