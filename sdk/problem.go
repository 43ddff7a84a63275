package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Code classifies a [Problem], so that the host can act on it.
type Code string

// Codes of problems. The zero value is treated as [Internal].
const (
	InvalidConfig    Code = "INVALID_CONFIG"
	Credentials      Code = "CREDENTIALS"
	PermissionDenied Code = "PERMISSION"
	NotFound         Code = "NOT_FOUND"
	Conflict         Code = "CONFLICT"
	RateLimited      Code = "RATE_LIMITED"
	Unavailable      Code = "UNAVAILABLE"
	Unsupported      Code = "UNSUPPORTED"
	Timeout          Code = "TIMEOUT"
	Cancelled        Code = "CANCELLED"
	ConfigTestFailed Code = "CONFIG_TEST_FAILED"
	Partial          Code = "PARTIAL"
	Internal         Code = "INTERNAL"
	NotRunning       Code = "NOT_RUNNING"
	NotInstalled     Code = "NOT_INSTALLED"
)

// Retry says whether the same work may succeed later.
type Retry string

// The zero value leaves the decision to the host, which tries again later.
const (
	RetryUnspecified Retry = ""
	RetryNever       Retry = "permanent"
	RetryLater       Retry = "retryable"
)

// Problem is a failure as the user will read it. It is an error; any error can
// be turned into one with [ProblemOf].
type Problem struct {
	Code Code `json:"code"`
	// Summary is one sentence, lower case, without a final stop: what was
	// attempted on what.
	Summary string `json:"summary"`
	// Detail says why, as far as is known. Empty: nothing more is known.
	Detail string `json:"detail,omitempty"`
	// Hint is one imperative sentence for the user. Empty: none.
	Hint  string `json:"hint,omitempty"`
	Retry Retry  `json:"retry,omitempty"`
	// After is the least wait before a retry. Zero: the host decides.
	After time.Duration `json:"after,omitempty"`
	// Subject is the challenge, target or setting that this is about.
	Subject string `json:"subject,omitempty"`

	cause error
}

// Error gives summary and detail on one line; the hint is shown separately.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Summary
	}
	return p.Summary + ": " + p.Detail
}

// Unwrap gives the error that the problem was made from, in the same process.
func (p *Problem) Unwrap() error { return p.cause }

// Problemf makes a problem with a code and a summary.
func Problemf(code Code, format string, args ...any) *Problem {
	err := fmt.Errorf(format, args...)
	return &Problem{Code: code, Summary: err.Error(), cause: errors.Unwrap(err)}
}

// Permanent marks an error as one that a retry will not mend.
func Permanent(err error) error {
	return change(err, func(p *Problem) { p.Retry = RetryNever })
}

// RetryAfter marks an error as temporary; the host will not try again sooner
// than d. Zero leaves the time to the host.
func RetryAfter(err error, d time.Duration) error {
	return change(err, func(p *Problem) { p.Retry, p.After = RetryLater, d })
}

// Hint adds one imperative sentence for the user ("create the token with the
// permission Zone.DNS").
func Hint(err error, format string, args ...any) error {
	return change(err, func(p *Problem) { p.Hint = fmt.Sprintf(format, args...) })
}

// Subject names the challenge, target or setting that an error is about.
func Subject(err error, subject string) error {
	return change(err, func(p *Problem) { p.Subject = subject })
}

// WithCode gives an error a code.
func WithCode(err error, code Code) error {
	return change(err, func(p *Problem) { p.Code = code })
}

func change(err error, f func(*Problem)) error {
	if err == nil {
		return nil
	}
	p := *ProblemOf(err)
	p.cause = err
	f(&p)
	return &p
}

// ProblemOf turns any error into a problem. An error that wraps a problem keeps
// its own text and takes the rest from it; nil gives nil.
func ProblemOf(err error) *Problem {
	if err == nil {
		return nil
	}
	var p *Problem
	if errors.As(err, &p) {
		if self, ok := err.(*Problem); ok && self == p { //nolint:errorlint // asks about this error, not about its chain
			return p
		}
		outer := *p
		outer.cause = err
		if text := err.Error(); strings.HasSuffix(text, p.Error()) {
			outer.Summary = strings.TrimSuffix(text, p.Error()) + p.Summary
		} else {
			outer.Summary, outer.Detail = text, ""
		}
		return &outer
	}
	code := Internal
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		code = Timeout
	case errors.Is(err, context.Canceled):
		code = Cancelled
	}
	return &Problem{Code: code, Summary: err.Error(), cause: err}
}
