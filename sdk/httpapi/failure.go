package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/certwright/certwright/sdk"
)

// maxWords bounds what is shown of a body that nobody explains.
const maxWords = 300

// StatusError is an answer that is a failure.
type StatusError struct {
	Response *Response
	// Words are the provider's own, on one line.
	Words string
}

func (e *StatusError) Error() string {
	status := strconv.Itoa(e.Response.Status)
	if text := http.StatusText(e.Response.Status); text != "" {
		status += " " + text
	}
	if e.Words == "" {
		return status
	}
	return status + ": " + e.Words
}

// Status gives the HTTP status of the answer that an error was made of, zero
// where there was no answer.
func Status(err error) int {
	var failed *StatusError
	if errors.As(err, &failed) {
		return failed.Response.Status
	}
	return 0
}

func (c *Client) failure(what string, r *Response) error {
	failed := &StatusError{Response: r}
	if c.explain != nil {
		failed.Words = oneLine(c.explain(r))
	}
	if failed.Words == "" {
		failed.Words = oneLine(string(r.Body))
	}
	p := sdk.ProblemOf(fmt.Errorf("%s: %w", what, failed))
	p.Summary, p.Detail = what, failed.Error()
	switch s := r.Status; {
	case s/100 == 3:
		p.Code, p.Retry = sdk.InvalidConfig, sdk.RetryNever
		p.Detail = fmt.Sprintf("it is answered by a redirect to %s, which is not followed", bare(r.Header.Get("Location")))
		p.Hint = "name the address of the API itself"
	case s == http.StatusUnauthorized:
		p.Code, p.Retry = sdk.Credentials, sdk.RetryNever
		p.Hint = "check that the credentials are those of this API and have not expired"
	case s == http.StatusForbidden:
		p.Code, p.Retry = sdk.PermissionDenied, sdk.RetryNever
		p.Hint = "give the credentials the permissions that the plugin's README lists"
	case s == http.StatusNotFound, s == http.StatusGone:
		p.Code, p.Retry = sdk.NotFound, sdk.RetryNever
	case s == http.StatusConflict, s == http.StatusPreconditionFailed, s == http.StatusLocked:
		p.Code, p.Retry = sdk.Conflict, sdk.RetryLater
	case s == http.StatusTooManyRequests:
		p.Code, p.Retry = sdk.RateLimited, sdk.RetryLater
	case s == http.StatusRequestTimeout, s == http.StatusGatewayTimeout:
		p.Code, p.Retry = sdk.Timeout, sdk.RetryLater
	case s >= 500:
		p.Code, p.Retry = sdk.Unavailable, sdk.RetryLater
	default:
		p.Code, p.Retry = sdk.InvalidConfig, sdk.RetryNever
	}
	if p.Retry == sdk.RetryLater {
		p.After, _ = retryAfter(r.Header)
	}
	if p.Hint == "" {
		p.Hint = hints[p.Code]
	}
	return p
}

// hints are for what the provider's own words mostly say no more of.
var hints = map[sdk.Code]string{
	sdk.NotFound:      "check the address of the API, and the names in the settings",
	sdk.Conflict:      "see who else changes the same there; the next run tries it again",
	sdk.RateLimited:   "leave it to the next run, and see what else uses these credentials",
	sdk.Timeout:       "leave it to the next run, and see whether the service is well",
	sdk.Unavailable:   "leave it to the next run, and see whether the service is well",
	sdk.InvalidConfig: "correct what the answer names",
}

// unreachable is the problem of a request that got no answer.
func unreachable(ctx context.Context, what string, err error) error {
	if errors.Is(err, errSign) {
		return sdk.Permanent(sdk.Problemf(sdk.Credentials, "%s: %w", what, err))
	}
	// The caller has ended it: his reason is the one to show.
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: %w", what, cause)
	}
	if reason := trust(err); reason != "" {
		return sdk.Permanent(sdk.Hint(sdk.Problemf(sdk.Unavailable, "%s: %w", what, plain(err)), "%s", reason))
	}
	p := sdk.Problemf(sdk.Unavailable, "%s: %w", what, plain(err))
	return sdk.RetryAfter(sdk.Hint(p, "check that the host is reachable from here"), 0)
}

func retryAfter(h http.Header) (time.Duration, bool) {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at)), true
	}
	return 0, false
}

// oneLine makes foreign text fit for a message.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))), " ")
	if runes := []rune(s); len(runes) > maxWords {
		return string(runes[:maxWords]) + "…"
	}
	return s
}
