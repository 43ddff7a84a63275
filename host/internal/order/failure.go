package order

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Failure is one identifier that could not be proven.
type Failure struct {
	Identifier model.Identifier
	// Instance and Type say how it was tried; empty if it never came to that.
	Instance string
	Type     string
	Err      error
}

// FailedError is the one report of all identifiers that failed.
type FailedError struct{ Failures []Failure }

// Error groups the failures by the type of the CA's error, sorted.
func (e *FailedError) Error() string {
	groups := map[string][]Failure{}
	for _, f := range e.Failures {
		groups[f.kind()] = append(groups[f.kind()], f)
	}
	kinds := make([]string, 0, len(groups))
	for kind := range groups {
		kinds = append(kinds, kind)
	}
	sort.Strings(kinds)
	var b strings.Builder
	fmt.Fprintf(&b, "%s could not be proven", count(len(e.Failures)))
	for _, kind := range kinds {
		fmt.Fprintf(&b, "\n  %s:", kind)
		group := groups[kind]
		sort.SliceStable(group, func(i, j int) bool { return group[i].Identifier.String() < group[j].Identifier.String() })
		for _, f := range group {
			fmt.Fprintf(&b, "\n    %s", f.line())
		}
	}
	return b.String()
}

// Unwrap gives the single causes.
func (e *FailedError) Unwrap() []error {
	out := make([]error, 0, len(e.Failures))
	for _, f := range e.Failures {
		out = append(out, f.Err)
	}
	return out
}

// Hint is one piece of advice that fits what failed.
func (e *FailedError) Hint() string {
	for _, f := range e.Failures {
		var p *sdk.Problem
		if errors.As(f.Err, &p) && p.Hint != "" {
			return p.Hint
		}
	}
	for _, f := range e.Failures {
		var own interface{ Hint() string }
		if errors.As(f.Err, &own) && own.Hint() != "" {
			return own.Hint()
		}
	}
	for _, f := range e.Failures {
		var ca *model.ACMEError
		if !errors.As(f.Err, &ca) {
			continue
		}
		name := f.Identifier.Value
		switch f.Type {
		case sdk.HTTP01:
			return fmt.Sprintf("make sure that http://%s/ leads from the internet to port 80 of what the instance %s serves", name, f.Instance)
		case sdk.TLSALPN01:
			return fmt.Sprintf("make sure that port 443 of %s leads from the internet to what the instance %s serves, with no TLS proxy between", name, f.Instance)
		case sdk.DNS01:
			return fmt.Sprintf("look whether the TXT record _acme-challenge.%s is what the instance %s writes, at every name server of the zone", name, f.Instance)
		case sdk.DNSAccount01:
			return fmt.Sprintf("look whether the TXT record that the instance %s writes below _acme-challenge.%s is at every name server of the zone, with the label of this account", f.Instance, name)
		}
	}
	return ""
}

func (f Failure) kind() string {
	var ca *model.ACMEError
	if errors.As(f.Err, &ca) {
		return ca.Short()
	}
	var p *sdk.Problem
	// Internal is what every error has to which nobody gave a code.
	if errors.As(f.Err, &p) && p.Code != "" && p.Code != sdk.Internal {
		return strings.ToLower(string(p.Code))
	}
	var unseen partly
	if errors.As(f.Err, &unseen) {
		return "not seen in dns"
	}
	var broken pluginFailure
	if f.Instance != "" || errors.As(f.Err, &broken) {
		return "plugin failure"
	}
	return "not tried"
}

// pluginFailure is an instance that could not say what it can do.
type pluginFailure struct{ error }

func (e pluginFailure) Unwrap() error { return e.error }

// noWay says why none of the ways to prove a name can be taken.
type noWay struct {
	text    string
	reasons []error
}

func (e *noWay) Error() string { return e.text }

func (e *noWay) Unwrap() []error { return e.reasons }

// joined gives errors on one line.
func joined(errs []error) string {
	texts := make([]string, 0, len(errs))
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

func (f Failure) line() string {
	how := ""
	if f.Instance != "" {
		how = fmt.Sprintf(" (%s by %s)", f.Type, f.Instance)
	}
	var ca *model.ACMEError
	text := f.Err.Error()
	if errors.As(f.Err, &ca) {
		text = ca.Detail
	}
	return fmt.Sprintf("%s%s: %s", f.Identifier, how, strings.ReplaceAll(text, "\n", "\n      "))
}

func count(n int) string {
	if n == 1 {
		return "1 name"
	}
	return fmt.Sprintf("%d names", n)
}

// failureOf finds what the CA says of a failed authorization.
func failureOf(a model.Authorization) error {
	for _, c := range a.Challenges {
		if c.Error != nil {
			return c.Error
		}
	}
	return fmt.Errorf("the authorization is %s, and the CA does not say why", a.Status)
}
