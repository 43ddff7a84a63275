package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/miekg/dns"
)

const (
	// askLimit is how long a CA or a resolver has to answer.
	askLimit = 10 * time.Second
	// skew of the clock that CAs and certificates do not mind.
	skew = 5 * time.Minute
	// maxDirectory bounds the answer of a CA, in bytes.
	maxDirectory = 1 << 20
)

// CA asks a CA for its directory (RFC 8555 section 7.1.1). agreed are the terms
// that the account has agreed to; empty: not known.
func CA(ctx context.Context, client *http.Client, server, agreed string, now func() time.Time) []Finding {
	const check = "ca"
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var directory struct {
		NewOrder string `json:"newOrder"`
		Meta     struct {
			Terms string `json:"termsOfService"`
		} `json:"meta"`
	}
	date, err := get(ctx, client, server, &directory)
	switch {
	case err != nil:
		return []Finding{bad(check, "check the network, --server and --ca-bundle", "%s cannot be asked: %v", server, err)}
	case directory.NewOrder == "":
		return []Finding{bad(check, "give the URL of the CA's directory", "%s is no ACME directory", server)}
	}
	out := []Finding{ok(check, "%s answers", server)}
	if terms := directory.Meta.Terms; agreed != "" && terms != "" && terms != agreed {
		out = append(out, odd(check, "read them and run: certwright account update --agree-tos",
			"%s has new terms of service: %s", server, terms))
	}
	if off := now().Sub(date); !date.IsZero() && off.Abs() > skew {
		out = append(out, bad("clock", "set the clock", "this machine is %s %s the CA at %s",
			off.Abs().Round(time.Second), map[bool]string{true: "ahead of", false: "behind"}[off > 0], server))
	}
	return out
}

// get decodes what a URL answers, and gives the time there.
func get(ctx context.Context, client *http.Client, url string, into any) (time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return time.Time{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return time.Time{}, fmt.Errorf("it answers %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDirectory)).Decode(into); err != nil {
		return time.Time{}, fmt.Errorf("it does not answer with JSON: %w", err)
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}, nil // a server may keep its time to itself (RFC 9110 section 6.6.1)
	}
	return date, nil
}

// Resolver asks a DNS resolver for something that is always there.
func Resolver(ctx context.Context, address string) Finding {
	const check = "dns"
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	question := new(dns.Msg)
	question.SetQuestion(".", dns.TypeNS)
	reply, _, err := new(dns.Client).ExchangeContext(ctx, question, address)
	switch {
	case err != nil:
		return bad(check, "correct dns.resolvers, or this machine's resolver", "the resolver %s does not answer: %v", address, err)
	case reply.Rcode != dns.RcodeSuccess:
		return bad(check, "allow this machine to ask it, or give another one in dns.resolvers",
			"the resolver %s answers %s", address, dns.RcodeToString[reply.Rcode])
	}
	return ok(check, "the resolver %s answers", address)
}
