package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/certwright/certwright/sdk"
)

// lookLimit bounds one look at what a CA would see.
const lookLimit = 3 * time.Second

// look asks haproxy's own addresses as a CA would, and tells if none gives the
// answer. That is no failure: another proxy may be in front.
func (h *haproxy) look(ctx context.Context, c sdk.Challenge, r sdk.Reporter) bool {
	config, err := readConfiguration(h.settings.Config)
	if err != nil {
		return false // there is nothing to ask
	}
	seen := ""
	for _, address := range config.plain() {
		got := ask(ctx, address, c)
		if got == "" {
			return true
		}
		seen = address + " " + got
	}
	if seen != "" && ctx.Err() == nil {
		r.Progress(c.ID, fmt.Sprintf("haproxy does not give the answer for %s yet: %s; are the lines of the plugin's page in the frontend, before others?",
			c.Identifier.Value, seen))
	}
	return false
}

// ask is empty if the answer is right, else it says what there is instead.
func ask(ctx context.Context, address string, c sdk.Challenge) string {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+c.HTTP.Path, nil)
	if err != nil {
		return err.Error()
	}
	request.Host, request.Close = c.Identifier.Value, true
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return "does not answer"
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(len(c.HTTP.Body)+1)))
	switch {
	case response.StatusCode != http.StatusOK:
		return "answers " + response.Status
	case err != nil || string(body) != string(c.HTTP.Body):
		return "answers something else"
	}
	return ""
}
