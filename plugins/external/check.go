package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// seer looks for proofs as the CA would, from here.
type seer struct {
	txt func(ctx context.Context, name string) ([]string, error)
	get func(ctx context.Context, url string) (string, error)
}

// glance is how long a look may take: it is a courtesy.
const glance = 3 * time.Second

func newSeer() seer { return seer{txt: net.DefaultResolver.LookupTXT, get: get} }

func (s seer) sees(ctx context.Context, c sdk.Challenge) bool {
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	if c.DNS != nil {
		values, err := s.txt(ctx, c.DNS.Name+".")
		return err == nil && slices.Contains(values, c.DNS.Value)
	}
	body, err := s.get(ctx, uri(c))
	return err == nil && strings.TrimSpace(body) == c.KeyAuthorization
}

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	return string(body), err
}
