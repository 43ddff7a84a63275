package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/certwright/certwright/sdk"
)

const (
	// maxBody bounds an answer; more is an error.
	maxBody = 8 << 20
	// attempts of one request, the first included.
	attempts = 5
	// longestWait is how long a Retry-After may be to be waited for inside a
	// call; a longer one is handed to the host.
	longestWait = 30 * time.Second
)

// Options of a client. Endpoint is required.
type Options struct {
	// Endpoint is the base URL; the path of a request is appended to its path.
	Endpoint string
	// CAFile is a PEM file with the roots to trust in place of the system's.
	CAFile string
	// Fingerprint is the SHA-256 of the server's own certificate in hex, with or
	// without colons. Where it is given nothing else of the certificate counts.
	Fingerprint string
	// Also, if set, accepts a certificate that neither the roots nor the pin do, by
	// its SHA-256 in hex: for installers that put certificates into the very server
	// of the API, and must know again what they have put there.
	Also func(fingerprint string) bool
	// Sign puts the credentials on a request. It is called for every attempt, so
	// a signature may hold a time or a nonce. The body may be read by GetBody.
	Sign func(*http.Request) error
	// Explain finds the provider's own words in an answer that is a failure. Nil,
	// or an empty result: the beginning of the body.
	Explain func(*Response) string
	// Attempt bounds one attempt. Zero: 30 seconds.
	Attempt time.Duration
	// Wait is the first pause between attempts; it doubles up to 10 seconds.
	// Zero: half a second.
	Wait time.Duration
}

// Client calls one API. It may be used by several goroutines.
type Client struct {
	base    *url.URL
	explain func(*Response) string
	http    *http.Client
	wait    time.Duration
}

// Request is one call.
type Request struct {
	// Method is GET where it is empty.
	Method string
	// Path is appended to the endpoint's. It is a path as it goes over the wire:
	// the caller escapes what he puts into it (url.PathEscape).
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
	// Repeatable says that the same request twice does what one does, so that it
	// is sent again after a connection that broke or a status of 5xx. Any request
	// is after a 429. GET, HEAD,
	// PUT and DELETE are that by definition (RFC 9110 section 9.2.2).
	Repeatable bool
}

// Response is an answer, read whole.
type Response struct {
	Status int
	// Reason is the text of the status line, where some servers say what is wrong.
	Reason string
	Header http.Header
	Body   []byte
}

// New makes a client. Nothing is sent.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.Endpoint)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, sdk.Hint(sdk.Problemf(sdk.InvalidConfig, "use %q as the address of an API: it is no http or https URL", o.Endpoint),
			"give it as https://host/path")
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, sdk.Hint(sdk.Problemf(sdk.InvalidConfig, "use %s as the address of an API: it has more than a host and a path", base.Redacted()),
			"give credentials by their own settings")
	}
	transport, err := transport(o, base.Hostname())
	if err != nil {
		return nil, err
	}
	c := &Client{base: base, explain: o.Explain, wait: o.Wait}
	if c.wait == 0 {
		c.wait = 500 * time.Millisecond
	}
	c.http = &http.Client{
		Transport: signer{next: transport, sign: o.Sign},
		Timeout:   o.Attempt,
		// Credentials are for this host alone, and an API that moved is a
		// setting to change.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if c.http.Timeout == 0 {
		c.http.Timeout = 30 * time.Second
	}
	return c, nil
}

// Do sends a request and reads the answer. A status other than 2xx is an error:
// an [sdk.Problem] that wraps a [StatusError]; the answer is given with it.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	to := c.url(r)
	what := r.Method + " " + bare(to)
	req, err := retryablehttp.NewRequestWithContext(ctx, r.Method, to, bytes.NewReader(r.Body))
	if err != nil {
		return nil, sdk.Problemf(sdk.Internal, "%s: make the request: %w", what, err)
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	doer := &retryablehttp.Client{
		HTTPClient:   c.http,
		RetryWaitMin: c.wait, RetryWaitMax: 10 * time.Second, RetryMax: attempts - 1,
		CheckRetry:   policy{r}.retry,
		Backoff:      retryablehttp.DefaultBackoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	answer, err := doer.Do(req)
	if err != nil {
		if answer != nil {
			_ = answer.Body.Close()
		}
		return nil, unreachable(ctx, what, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, unreachable(ctx, what, fmt.Errorf("read the answer: %w", err))
	case len(body) > maxBody:
		return nil, sdk.Problemf(sdk.Internal, "%s: the answer has more than %d bytes", what, maxBody)
	}
	_, reason, _ := strings.Cut(answer.Status, " ")
	response := &Response{Status: answer.StatusCode, Reason: reason, Header: answer.Header, Body: body}
	if response.Status/100 != 2 {
		return response, c.failure(what, response)
	}
	return response, nil
}

func (c *Client) url(r Request) string {
	to := *c.base
	path := strings.TrimSuffix(to.EscapedPath(), "/") + "/" + strings.TrimPrefix(r.Path, "/")
	// An escaped path that does not parse is sent as it is and refused there.
	if plain, err := url.PathUnescape(path); err == nil {
		to.Path, to.RawPath = plain, path
	} else {
		to.Path, to.RawPath = path, ""
	}
	if r.Path == "" {
		to.Path, to.RawPath = c.base.Path, c.base.RawPath
	}
	to.RawQuery = r.Query.Encode()
	return to.String()
}

// bare is an address for messages: a query can hold what is nobody's business.
func bare(address string) string {
	before, _, _ := strings.Cut(address, "?")
	return before
}

// policy decides what is sent again.
type policy struct{ request Request }

func (p policy) retry(ctx context.Context, answer *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		if !p.repeatable() || trust(err) != "" { // the same certificate would be shown again
			return false, nil
		}
		return retryablehttp.DefaultRetryPolicy(ctx, answer, err)
	}
	after, told := retryAfter(answer.Header)
	if deadline, ok := ctx.Deadline(); after > longestWait || ok && told && time.Until(deadline) < after {
		return false, nil
	}
	switch {
	case answer.StatusCode == http.StatusTooManyRequests:
		return true, nil // refused before anything was done
	case answer.StatusCode >= 500 && answer.StatusCode != http.StatusNotImplemented:
		return p.repeatable(), nil
	}
	return false, nil
}

func (p policy) repeatable() bool {
	switch p.request.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete:
		return true
	}
	return p.request.Repeatable
}

// signer puts credentials on each attempt.
type signer struct {
	next http.RoundTripper
	sign func(*http.Request) error
}

// errSign tells a failure to sign from one of the network.
var errSign = errors.New("sign the request")

func (s signer) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.sign == nil {
		return s.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	if err := s.sign(r); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, fmt.Errorf("%w: %w", errSign, err)
	}
	return s.next.RoundTrip(r)
}
