package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
)

const (
	// patience is how long the server may take to answer as its new
	// configuration says.
	patience = 30 * time.Second
	// inARow: while httpd reloads, a process of before may take a connection.
	inARow = 5
	// forgetting is how long it may still answer after a challenge is over.
	forgetting = 10 * time.Second
)

// answered waits until the server answers a challenge wherever it may be asked.
func (a *apache) answered(ctx context.Context, c *challenge) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	for good := 0; good < inARow; {
		seen := 0
		err := error(nil)
		for _, address := range c.contacts {
			got, problem := ask(ctx, address, c)
			switch {
			case errors.Is(problem, syscall.ECONNREFUSED) || errors.Is(problem, syscall.EADDRNOTAVAIL):
				// Of the addresses that a socket might be at.
			case problem != nil:
				err = problem
			case got != c.body:
				err = fmt.Errorf("http://%s%s is answered, for the host %s, with %q", address, c.path(), c.name, short(got))
			default:
				seen++
			}
		}
		if err == nil && seen == 0 && len(c.contacts) > 0 {
			err = fmt.Errorf("nothing listens at %s", strings.Join(c.contacts, " or "))
		}
		if good++; err == nil {
			continue
		}
		good = 0
		if ctx.Err() == nil || last == nil {
			last = err
		}
		timer := time.NewTimer(tick)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			p := sdk.Problemf(sdk.Unavailable, "httpd does not answer the challenge: %w", last)
			p.Hint = "see which virtual host takes this request: httpd -S lists them"
			return p
		}
	}
	return nil
}

// forgotten waits until the server does not answer challenges any more, for a
// while: it has been told, and the challenges are of no use to anybody.
func (a *apache) forgotten(ctx context.Context, gone []*challenge) {
	ctx, cancel := context.WithTimeout(ctx, forgetting)
	defer cancel()
	for _, c := range gone {
		for quiet := 0; quiet < inARow && ctx.Err() == nil; quiet++ {
			for _, address := range c.contacts {
				if got, err := ask(ctx, address, c); err == nil && got == c.body {
					quiet = -1
				}
			}
		}
	}
}

// ask asks the server as the CA does, on a connection of its own.
func ask(ctx context.Context, address string, c *challenge) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+c.path(), http.NoBody)
	if err != nil {
		return "", err
	}
	req.Host, req.Close = c.name, true
	if ip := net.ParseIP(c.name); ip != nil && ip.To4() == nil {
		req.Host = "[" + c.name + "]"
	}
	req.Header.Set("User-Agent", "certwright")
	transport := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, outputLimit))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return resp.Status, nil
	}
	return strings.TrimSpace(string(data)), nil
}

func short(text string) string {
	const most = 80
	if text = strings.ToValidUTF8(text, "?"); len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
