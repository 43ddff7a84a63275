package acmeclient

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

const (
	// pollFirst is what the quickest CA needs to do what it was just asked for:
	// a question at once would always be one too many. pollMin and pollMax are
	// our own pace after that; pollTold is the longest wait that a CA can make
	// us take between two polls.
	pollFirst = 5 * time.Millisecond
	pollMin   = 10 * time.Millisecond
	pollMax   = 5 * time.Second
	pollTold  = time.Minute

	// failures that may pass are met with retryMin doubling to retryMax.
	maxTries = 5
	retryMin = 500 * time.Millisecond
	retryMax = 8 * time.Second

	// A nonce that was refused is no failure, but not for ever.
	maxBadNonces  = 10
	badNoncePause = 20 * time.Millisecond
)

// doubled is first, doubled n times, at most limit.
func doubled(first, limit time.Duration, n int) time.Duration {
	for ; n > 0 && first < limit; n-- {
		first *= 2
	}
	return min(first, limit)
}

// told is what an answer's Retry-After asks for (RFC 9110 section 10.2.3: seconds
// or a date); false: nothing that can be read. A date in the past is the least
// wait, and no wait is longer than a year.
func (c *Client) told(h http.Header) (time.Duration, bool) {
	const year = 365 * 24 * time.Hour
	value := h.Get("Retry-After")
	if value == "" {
		return 0, false
	}
	// A number of any length may come: out of range still has the right sign.
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return max(time.Duration(min(max(seconds, 0), int64(year/time.Second)))*time.Second, pollMin), true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(c.now()), pollMin), year), true
}

// poll asks until done, after a first wait, and then at the CA's pace if it names
// one. Each question retries by itself what may pass.
func (c *Client) poll(ctx context.Context, wait time.Duration, ask func() (done bool, header http.Header, err error)) error {
	for n := 0; ; n++ {
		if wait > 0 {
			if err := c.pause(ctx, wait); err != nil {
				return err
			}
		}
		done, header, err := ask()
		if err != nil || done {
			return err
		}
		wait = c.waitOf(header, doubled(pollMin, pollMax, n))
	}
}

// waitOf is the wait that an answer asks for. Now, or in the past, leaves the
// pace to us, which is otherwise.
func (c *Client) waitOf(header http.Header, otherwise time.Duration) time.Duration {
	if d, ok := c.told(header); ok && d > pollMin {
		return min(d, pollTold)
	}
	return otherwise
}

// xcryptoBackoff is acme.Client.RetryBackoff: how long x/crypto waits before its
// nth retry, zero to stop. The wait is ours, and over when it returns.
func (c *Client) xcryptoBackoff(n int, r *http.Request, response *http.Response) time.Duration {
	wait := xcryptoWait(n, response.StatusCode)
	if wait == 0 || c.pause(r.Context(), wait) != nil {
		return 0
	}
	return time.Nanosecond
}

// xcryptoWait is for 5xx, 429, a refused nonce, and any status below 400 that was
// not the wanted one: these are what x/crypto would repeat.
func xcryptoWait(n, status int) time.Duration {
	switch {
	case status >= http.StatusInternalServerError && n < maxTries:
		return doubled(retryMin, retryMax, n-1)
	case status == http.StatusTooManyRequests || status < 400 || status >= 500 || n > maxBadNonces:
		return 0
	default:
		return badNoncePause
	}
}
