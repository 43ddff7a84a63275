package acmeclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

// answer is what a CA said to one request.
type answer struct {
	status int
	header http.Header
	body   []byte
	// uncertain says that an earlier try got no answer, or one of 5xx: the CA
	// may have done already what it was asked for.
	uncertain bool
}

// again says what a request may be repeated after. A refused nonce is not among
// them: the CA has done nothing then, and the request always goes out again.
type again uint8

const (
	// afterLimit: after a 429 that asks for a short wait. The CA has done
	// nothing here either; those who have nothing to lose leave it to their
	// caller.
	afterLimit again = 1 << iota
	// afterRefusal: after a 5xx, for what does no harm if done twice.
	afterRefusal
	// afterLoss: when no answer came, for the same.
	afterLoss

	always = afterLimit | afterRefusal | afterLoss
)

// noNonce is an error before a signed request: it was not sent.
type noNonce struct{ error }

func (n *noNonce) Unwrap() error { return n.error }

// read is POST-as-GET (RFC 8555 section 6.3).
func (c *Client) read(ctx context.Context, url string) (answer, error) {
	return c.post(ctx, url, nil, always)
}

// post sends a request that the account signs.
func (c *Client) post(ctx context.Context, url string, payload []byte, repeat again) (answer, error) {
	signer, err := c.signer()
	if err != nil {
		return answer{}, err
	}
	return c.postAs(ctx, signer, url, payload, repeat)
}

// postAs sends a signed request and gives a 2xx answer; any other is a
// *model.ACMEError. Refused nonces are dealt with here, and so are failures that
// may pass, as far as repeat allows.
func (c *Client) postAs(ctx context.Context, who *account, url string, payload []byte, repeat again) (answer, error) {
	return c.repeat(ctx, url, repeat, func() (answer, error) { return c.postWithNonce(ctx, who, url, payload) })
}

// get asks for what needs no signature.
func (c *Client) get(ctx context.Context, url string) (answer, error) {
	return c.repeat(ctx, url, always, func() (answer, error) { return c.bare(ctx, http.MethodGet, url) })
}

// repeat asks until there is an answer, or a failure that will not pass.
func (c *Client) repeat(ctx context.Context, url string, what again, ask func() (answer, error)) (answer, error) {
	uncertain := false
	for try := 1; ; try++ {
		a, err := ask()
		a.uncertain = uncertain
		if err == nil || ctx.Err() != nil || try == maxTries {
			return a, err
		}
		wait, ok := mayPass(err, what, try)
		if !ok {
			return a, err
		}
		uncertain = uncertain || !rateLimited(err)
		c.log("trying %s again in %v: %v", url, wait, err)
		if c.pause(ctx, wait) != nil {
			return a, err
		}
	}
}

// mayPass says whether an error is worth another try, and when.
func mayPass(err error, repeat again, try int) (wait time.Duration, ok bool) {
	var unsent *noNonce
	if errors.As(err, &unsent) {
		// That was tried often enough by itself.
		return 0, false
	}
	wait = doubled(retryMin, retryMax, try-1)
	refused := refusal(err)
	switch {
	case refused == nil:
		var lost *noAnswer
		return wait, repeat&afterLoss != 0 && errors.As(err, &lost) && !untrusted(err)
	case rateLimited(err):
		return max(doubled(pollMax, pollTold, try-1), refused.RetryAfter), repeat&afterLimit != 0 && refused.RetryAfter <= pollTold
	default:
		return max(wait, min(refused.RetryAfter, pollTold)), repeat&afterRefusal != 0 && refused.Status >= http.StatusInternalServerError
	}
}

// refusal is the CA's part of an error; nil: it did not answer.
func refusal(err error) *model.ACMEError {
	var refused *model.ACMEError
	errors.As(err, &refused)
	return refused
}

// rateLimited says whether the CA was asked too often.
func rateLimited(err error) bool {
	refused := refusal(err)
	return refused != nil && refused.Status == http.StatusTooManyRequests
}

// postWithNonce repeats a request as long as its nonce is refused.
func (c *Client) postWithNonce(ctx context.Context, who *account, url string, payload []byte) (answer, error) {
	for try := 1; ; try++ {
		used, err := c.nonce(ctx)
		if err != nil {
			return answer{}, &noNonce{err}
		}
		a, err := c.postOnce(ctx, who, url, payload, used.value)
		if refused := refusal(err); refused == nil || refused.Short() != "badNonce" || try > maxBadNonces {
			return a, err
		}
		// The refusal brought a new one (RFC 8555 section 6.5).
		c.transport.nonces.refused(used)
		c.log("the CA refused a nonce, try %d", try)
		if c.pause(ctx, badNoncePause) != nil {
			return a, err
		}
	}
}

func (c *Client) postOnce(ctx context.Context, who *account, url string, payload []byte, nonce string) (answer, error) {
	body, err := who.sign(url, nonce, payload)
	if err != nil {
		return answer{}, fmt.Errorf("signing a request to %s: %w", url, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil || r.URL.Scheme != "https" || r.URL.Host == "" {
		return answer{}, fmt.Errorf("the CA gave the address %q, which is not one of https", url)
	}
	r.Header.Set("Content-Type", "application/jose+json")
	return c.do(r)
}

// bare sends a request that is not signed.
func (c *Client) bare(ctx context.Context, method, url string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil || r.URL.Scheme != "https" || r.URL.Host == "" {
		return answer{}, fmt.Errorf("the CA gave the address %q, which is not one of https", url)
	}
	return c.do(r)
}

// do sends a request and reads the whole answer.
func (c *Client) do(r *http.Request) (answer, error) {
	r.Header.Set("User-Agent", c.userAgent)
	response, err := c.http.Do(r)
	if err != nil {
		return answer{}, unreachable(r.URL, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, unreachable(r.URL, err)
	}
	a := answer{status: response.StatusCode, header: response.Header, body: body}
	if a.status < 200 || a.status > 299 {
		return a, c.problem(r.Method, r.URL.String(), response, body)
	}
	return a, nil
}

// nonce takes one from the pool or asks the CA for one (RFC 8555 section 7.2).
func (c *Client) nonce(ctx context.Context) (nonce, error) {
	if n, ok := c.transport.nonces.take(); ok {
		return n, nil
	}
	d, err := c.discover(ctx)
	if err != nil {
		return nonce{}, err
	}
	a, err := c.repeat(ctx, d.NewNonce, always, func() (answer, error) { return c.bare(ctx, http.MethodHead, d.NewNonce) })
	if err != nil {
		return nonce{}, fmt.Errorf("asking for a nonce: %w", err)
	}
	value := a.header.Get("Replay-Nonce")
	if value == "" {
		return nonce{}, fmt.Errorf("asking for a nonce: %s gave none", d.NewNonce)
	}
	return nonce{value: value}, nil
}
