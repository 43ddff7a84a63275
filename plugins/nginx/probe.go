package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// probeLimit bounds one request to the server that we run beside.
const probeLimit = 10 * time.Second

var errUnreachable = errors.New("not reached")

// ask asks one address as a CA does.
func (a answer) ask(ctx context.Context, e endpoint, proxied bool) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, e.dial())
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errUnreachable, err)
			}
			if proxied {
				if _, err := io.WriteString(conn, "PROXY UNKNOWN\r\n"); err != nil {
					_ = conn.Close()
					return nil, err
				}
			}
			return conn, nil
		},
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.dial()+a.path(), nil)
	if err != nil {
		return err
	}
	req.Host = a.host
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	const most = 4 << 10
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || string(body) != a.body {
		text := resp.Status
		if where := resp.Header.Get("Location"); where != "" {
			text += " to " + where
		}
		return fmt.Errorf("it answers %s", strings.ToValidUTF8(text, "?"))
	}
	return nil
}

// patience is how long an answer may be another one: where the workers cannot be
// watched, a reload takes effect a moment after it was asked for.
const patience = 10 * time.Second

// seen asks until the answer is right.
func (a answer) seen(ctx context.Context, c *configuration, p ports) error {
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		err := a.look(ctx, c, p)
		if err == nil || ctx.Err() != nil || wait(limit, pause) != nil {
			return err
		}
	}
}

// look asks every address of the HTTP port that can be asked from here. One that
// cannot be reached is no failure if another is right.
func (a answer) look(ctx context.Context, c *configuration, p ports) error {
	var wrong, reached error
	right := false
	for _, e := range c.asked(p) {
		if c.tls(e) {
			continue
		}
		if _, masked := c.reached(e); masked {
			continue
		}
		switch err := a.ask(ctx, e, c.proxyProtocol(e)); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			right = true
		case errors.Is(err, errUnreachable):
			reached = fmt.Errorf("%s: %w", e, err)
		default:
			wrong = fmt.Errorf("%s: %w", e, err)
		}
	}
	if wrong == nil && !right {
		wrong = reached
	}
	if wrong == nil {
		return nil
	}
	err := sdk.Problemf(sdk.Unavailable, "nginx does not answer the challenge %s as it is configured to: %w", a, wrong)
	return sdk.Hint(err, "see whether another server listens on that address, and the error log of nginx")
}

// answered says whether the server still answers a challenge, as it does when
// the process that put it there was killed.
func (a answer) answered(ctx context.Context, c *configuration, p ports) bool {
	for _, e := range c.asked(p) {
		if a.ask(ctx, e, c.proxyProtocol(e)) == nil {
			return true
		}
	}
	return false
}
