package acmeclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/certwright/certwright/host/internal/model"
)

// answer is what a CA said to one request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// again says what a request may be repeated after.
type again int

const (
	// never: only after a refused nonce, when the CA has done nothing.
	never again = iota
	// afterRefusal: also after a 5xx, for what does no harm if done twice.
	afterRefusal
	// always: also when no answer came, for what changes nothing.
	always
)

// read is POST-as-GET (RFC 8555 section 6.3).
func (c *Client) read(ctx context.Context, url string) (answer, error) {
	return c.post(ctx, url, nil, always)
}

// post sends a signed request and gives a 2xx answer; any other is a
// *model.ACMEError. Refused nonces are dealt with here, and so are failures that
// may pass, as far as repeat allows. 429 is left to the caller.
func (c *Client) post(ctx context.Context, url string, payload []byte, repeat again) (answer, error) {
	for try := 1; ; try++ {
		a, err := c.postWithNonce(ctx, url, payload)
		if err == nil || ctx.Err() != nil || try == maxTries || !mayPass(err, repeat) {
			return a, err
		}
		wait := doubled(retryMin, retryMax, try-1)
		if refused := refusal(err); refused != nil {
			wait = max(wait, min(refused.RetryAfter, pollTold))
		}
		c.log("trying %s again in %v: %v", url, wait, err)
		if c.pause(ctx, wait) != nil {
			return answer{}, err
		}
	}
}

// mayPass says whether an error of postWithNonce is worth another try.
func mayPass(err error, repeat again) bool {
	if refused := refusal(err); refused != nil {
		return repeat >= afterRefusal && refused.Status >= http.StatusInternalServerError
	}
	var lost *noAnswer
	return repeat >= always && errors.As(err, &lost) && !untrusted(err)
}

// refusal is the CA's part of an error; nil: it did not answer.
func refusal(err error) *model.ACMEError {
	var refused *model.ACMEError
	errors.As(err, &refused)
	return refused
}

// postWithNonce repeats a request as long as its nonce is refused.
func (c *Client) postWithNonce(ctx context.Context, url string, payload []byte) (answer, error) {
	for try := 1; ; try++ {
		used, err := c.nonce(ctx)
		if err != nil {
			return answer{}, err
		}
		a, err := c.postOnce(ctx, url, payload, used.value)
		if refused := refusal(err); refused == nil || refused.Short() != "badNonce" || try > maxBadNonces {
			return a, err
		}
		// The refusal brought a new one (RFC 8555 section 6.5).
		c.transport.nonces.refused(used)
		c.log("the CA refused a nonce, try %d", try)
		if pauseErr := c.pause(ctx, badNoncePause); pauseErr != nil {
			return answer{}, err
		}
	}
}

func (c *Client) postOnce(ctx context.Context, url string, payload []byte, nonce string) (answer, error) {
	signer, err := c.signer()
	if err != nil {
		return answer{}, err
	}
	body, err := signer.sign(url, nonce, payload)
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
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return answer{}, c.problem(r.Method, r.URL.String(), response, body)
	}
	return answer{response.StatusCode, response.Header, body}, nil
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
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, d.NewNonce, nil)
	if err != nil {
		return nonce{}, fmt.Errorf("asking for a nonce: %w", err)
	}
	a, err := c.do(r)
	if err != nil {
		return nonce{}, fmt.Errorf("asking for a nonce: %w", err)
	}
	value := a.header.Get("Replay-Nonce")
	if value == "" {
		return nonce{}, fmt.Errorf("asking for a nonce: %s gave none", d.NewNonce)
	}
	return nonce{value: value}, nil
}
