package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/httpapi"
)

// livedns is the provider of DNS: LiveDNS v5, https://api.gandi.net/docs/livedns/.
type livedns struct {
	api     *httpapi.Client
	sharing string
	ttl     int

	// changing holds the token of who reads, changes and writes a record set.
	changing gate
	mu       sync.Mutex
	// domains of the account by the zone that the host asked for.
	domains map[string]string
}

var _ sdk.DNSProvider = (*livedns)(nil)

// rounds is how often a change is made that somebody else has undone meanwhile:
// LiveDNS has no condition for a write.
const rounds = 5

// rrset is a record set as LiveDNS has it.
type rrset struct {
	TTL    int      `json:"rrset_ttl"`
	Values []string `json:"rrset_values"`
}

func newLiveDNS(s settings, wait time.Duration) (*livedns, error) {
	credentials := "Bearer " + string(s.Token)
	if s.Token == "" {
		credentials = "Apikey " + string(s.APIKey)
	}
	api, err := httpapi.New(httpapi.Options{
		Endpoint: s.Endpoint, CAFile: s.CAFile, Explain: explain, Wait: wait,
		Sign: func(r *http.Request) error {
			r.Header.Set("Authorization", credentials)
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	return &livedns{
		api: api, sharing: s.SharingID, ttl: int(s.TTL / time.Second),
		changing: make(gate, 1), domains: map[string]string{},
	}, nil
}

// explain reads the error of a REST API of Gandi.
func explain(r *httpapi.Response) string {
	var failure struct {
		Cause   string `json:"cause"`
		Message string `json:"message"`
		Errors  []struct {
			Name        string `json:"name"`
			Description string `json:"description"`
		} `json:"errors"`
	}
	if json.Unmarshal(r.Body, &failure) != nil {
		return ""
	}
	var words []string
	for _, text := range []string{failure.Cause, failure.Message} {
		if text != "" && !slices.Contains(words, text) {
			words = append(words, text)
		}
	}
	for _, e := range failure.Errors {
		words = append(words, strings.Trim(e.Name+": "+e.Description, ": "))
	}
	return strings.Join(words, ": ")
}

// SetTXT adds one value to a record set.
func (l *livedns) SetTXT(ctx context.Context, txt sdk.TXT) ([]byte, error) {
	what := fmt.Sprintf("add a TXT value to %s in zone %s at LiveDNS", txt.Name, txt.Zone)
	return nil, l.change(ctx, txt, what, func(values []string) []string {
		if holds(values, txt.Value) {
			return values
		}
		return append(slices.Clone(values), quote(txt.Value))
	})
}

// DeleteTXT takes it away again.
func (l *livedns) DeleteTXT(ctx context.Context, txt sdk.TXT) error {
	what := fmt.Sprintf("delete a TXT value of %s in zone %s at LiveDNS", txt.Name, txt.Zone)
	return l.change(ctx, txt, what, func(values []string) []string {
		return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return unquote(v) == txt.Value })
	})
}

// change brings a record set to what edit makes of it, and looks whether it
// stays so: another account's process may have written in between.
func (l *livedns) change(ctx context.Context, txt sdk.TXT, what string, edit func([]string) []string) error {
	if err := l.changing.enter(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer l.changing.leave()
	path, err := l.path(ctx, txt)
	if err != nil {
		return hinted(fmt.Errorf("%s: %w", what, err))
	}
	for range rounds {
		set, err := l.get(ctx, path)
		if err != nil {
			return hinted(fmt.Errorf("%s: %w", what, err))
		}
		values := edit(set.Values)
		if slices.Equal(values, set.Values) {
			return nil
		}
		if err := l.put(ctx, path, set, values); err != nil {
			return hinted(fmt.Errorf("%s: %w", what, err))
		}
	}
	p := sdk.Problemf(sdk.Conflict, "%s: the record set was changed by somebody else each time", what)
	return sdk.RetryAfter(sdk.Hint(p, "see which other program changes the TXT records of %s", txt.Name), 0)
}

// get gives an empty set where there is none.
func (l *livedns) get(ctx context.Context, path string) (rrset, error) {
	var set rrset
	err := l.call(ctx, http.MethodGet, path, nil, &set)
	if httpapi.Status(err) == http.StatusNotFound {
		return rrset{}, nil
	}
	return set, err
}

func (l *livedns) put(ctx context.Context, path string, old rrset, values []string) error {
	if len(values) == 0 {
		err := l.call(ctx, http.MethodDelete, path, nil, nil)
		if httpapi.Status(err) == http.StatusNotFound {
			return nil
		}
		return err
	}
	set := rrset{TTL: l.ttl, Values: values}
	if len(old.Values) > 0 { // all records of a set have one (RFC 2181 section 5.2)
		set.TTL = max(old.TTL, int(leastTTL/time.Second))
	}
	return l.call(ctx, http.MethodPut, path, set, nil)
}

// path of the record set. The zone that the host has found is the domain of the
// account, as a rule; otherwise the domain is one above it.
func (l *livedns) path(ctx context.Context, txt sdk.TXT) (string, error) {
	domain, err := l.domain(ctx, txt.Zone)
	if err != nil {
		return "", err
	}
	txt.Zone = domain
	return "domains/" + url.PathEscape(domain) + "/records/" + url.PathEscape(txt.Relative()) + "/TXT", nil
}

func (l *livedns) domain(ctx context.Context, zone string) (string, error) {
	zone = strings.ToLower(strings.TrimSuffix(zone, "."))
	l.mu.Lock()
	known := l.domains[zone]
	l.mu.Unlock()
	if known != "" {
		return known, nil
	}
	for domain := zone; strings.Contains(domain, "."); {
		err := l.call(ctx, http.MethodGet, "domains/"+url.PathEscape(domain), nil, nil)
		if err == nil {
			l.mu.Lock()
			l.domains[zone] = domain
			l.mu.Unlock()
			return domain, nil
		}
		if httpapi.Status(err) != http.StatusNotFound {
			return "", err
		}
		_, domain, _ = strings.Cut(domain, ".")
	}
	p := sdk.Problemf(sdk.NotFound, "LiveDNS has no domain %s, nor one above it, for these credentials", zone)
	return "", sdk.Hint(sdk.Permanent(p), "see that %s uses LiveDNS, that the token is of its organization, and sharing_id", zone)
}

// try asks for the list of domains, of which one is enough.
func (l *livedns) try(ctx context.Context) error {
	return hinted(l.api.DoJSON(ctx, httpapi.Request{Path: "domains", Query: l.query(url.Values{"per_page": {"1"}})}, nil))
}

func (l *livedns) query(q url.Values) url.Values {
	if l.sharing != "" {
		q.Set("sharing_id", l.sharing)
	}
	return q
}

func (l *livedns) call(ctx context.Context, method, path string, in, out any) error {
	r := httpapi.Request{Method: method, Path: path, Query: l.query(url.Values{}), Header: http.Header{"Accept": {"application/json"}}}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return err
		}
		r.Body = body
		r.Header.Set("Content-Type", "application/json")
	}
	return l.api.DoJSON(ctx, r, out)
}

// hinted says what to do about credentials.
func hinted(err error) error {
	switch httpapi.Status(err) {
	case http.StatusUnauthorized:
		return sdk.Hint(err, "make a new personal access token in the organization's sharing settings and put it into the setting token")
	case http.StatusForbidden:
		return sdk.Hint(err, "give the token the right to manage the domain's technical configuration, and check that it is of the domain's organization")
	}
	return err
}

func holds(values []string, value string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return unquote(v) == value })
}

// quote writes a value as LiveDNS gives it back: character-strings of at most
// 255 bytes in quotes (RFC 1035 sections 3.3 and 5.1).
func quote(value string) string {
	const most = 255
	var out []string
	for {
		piece := value[:min(len(value), most)]
		value = value[len(piece):]
		out = append(out, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(piece)+`"`)
		if value == "" {
			return strings.Join(out, " ")
		}
	}
}

// unquote gives the text of a value, quoted or not.
func unquote(value string) string {
	if !strings.HasPrefix(value, `"`) {
		return value
	}
	var out strings.Builder
	inside := false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && inside && i+1 < len(value):
			i++
			out.WriteByte(value[i])
		case c == '"':
			inside = !inside
		case inside:
			out.WriteByte(c)
		}
	}
	return out.String()
}
