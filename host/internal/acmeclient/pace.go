package acmeclient

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

const (
	// pollMin and pollMax are our own pace of polling; pollTold is the longest
	// wait that a CA can make us take between two polls.
	pollMin  = 10 * time.Millisecond
	pollMax  = 5 * time.Second
	pollTold = time.Minute

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

// poll asks until done, at the CA's pace if it names one. Each question retries
// by itself what may pass. A CA that wants to be left alone for longer than
// pollTold ends it.
func (c *Client) poll(ctx context.Context, ask func() (done bool, header http.Header, err error)) error {
	for n := 0; ; n++ {
		done, header, err := ask()
		wait := doubled(pollMin, pollMax, n)
		refused := refusal(err)
		switch {
		case refused != nil && refused.Status == http.StatusTooManyRequests && refused.RetryAfter <= pollTold:
			// Asked too often: what we wait for may still come.
			wait = max(pollMax, refused.RetryAfter)
		case err != nil || done:
			return err
		default:
			// Now, or in the past, leaves the pace to us.
			if d, ok := c.told(header); ok && d > pollMin {
				wait = min(d, pollTold)
			}
		}
		if err := c.pause(ctx, wait); err != nil {
			return err
		}
	}
}

// xcryptoBackoff is acme.Client.RetryBackoff: how long x/crypto waits before its
// nth retry, zero to stop. It is asked for 5xx, 429, a refused nonce, and for any
// status below 400 that was not the wanted one.
func xcryptoBackoff(n int, _ *http.Request, response *http.Response) time.Duration {
	switch status := response.StatusCode; {
	case status >= http.StatusInternalServerError && n < maxTries:
		return doubled(retryMin, retryMax, n-1)
	case status == http.StatusTooManyRequests || status < 400 || status >= 500 || n > maxBadNonces:
		return 0
	default:
		return badNoncePause
	}
}
