package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

const (
	goodToken = "pat_" + plugintest.Mark + "-123"
	bearer    = "Bearer " + goodToken
	acme      = "_acme-challenge"
)

// defaults are the settings as the SDK fills them.
func defaults(s settings) settings {
	if s.Endpoint == "" {
		s.Endpoint = "https://api.gandi.net/v5/livedns"
	}
	if s.RPCEndpoint == "" {
		s.RPCEndpoint = "https://rpc.gandi.net/xmlrpc/"
	}
	if s.TTL == 0 {
		s.TTL = leastTTL
	}
	return s
}

// configured gives an instance with its state in a directory.
func configured(t *testing.T, s settings, state string) *gandi {
	t.Helper()
	g := newGandi()
	g.settings, g.pause, g.wait = defaults(s), time.Millisecond, time.Millisecond
	if err := g.Configure(t.Context(), sdk.Instance{Name: "gandi", StateDir: state}); err != nil {
		t.Fatal(err)
	}
	return g
}

func txt(zone, name, value string) sdk.TXT { return sdk.TXT{Zone: zone, Name: name, Value: value} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, l *livedns, record sdk.TXT) {
	t.Helper()
	_, err := l.SetTXT(t.Context(), record)
	must(t, err)
}

func wantSet(t *testing.T, f *fakeDNS, a *account, domain, name string, want ...string) {
	t.Helper()
	if got := f.set(a, domain, name); !slices.Equal(got, want) {
		t.Errorf("%s in %s has %q, want %q", name, domain, got, want)
	}
}

// What goes over the wire is what the reference shows for
// /domains/{fqdn}/records/{rrset_name}/{rrset_type}
// (https://api.gandi.net/docs/livedns/).
func TestLiveDNSOverTheWire(t *testing.T) {
	f := newFakeDNS(t, nil)
	a := f.account(bearer, "example.com")
	var headers []http.Header
	f.before = func(_ http.ResponseWriter, r *http.Request, _ string) bool {
		headers = append(headers, r.Header)
		return false
	}
	g := configured(t, settings{Token: goodToken, Endpoint: f.endpoint()}, t.TempDir())
	record := txt("example.com", acme+".www.example.com", "one")
	set(t, g.livedns, record)
	must(t, g.livedns.DeleteTXT(t.Context(), record))
	const at = " /v5/livedns/domains/example.com/records/_acme-challenge.www/TXT"
	want := []string{
		"GET /v5/livedns/domains/example.com",
		"GET" + at, "PUT" + at + ` {"rrset_ttl":300,"rrset_values":["\"one\""]}`, "GET" + at,
		"GET" + at, "DELETE" + at, "GET" + at,
	}
	if got := f.requests(); !slices.Equal(got, want) {
		t.Errorf("the requests are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i, h := range headers {
		if h.Get("Authorization") != bearer || h.Get("Accept") != "application/json" || (h.Get("Content-Type") == "application/json") != strings.HasPrefix(want[i], "PUT") {
			t.Errorf("%s has the headers %v", want[i], h)
		}
	}
	wantSet(t, f, a, "example.com", acme+".www")
}

func TestValuesOfOthersStay(t *testing.T) {
	f := newFakeDNS(t, nil)
	a := f.account("Apikey abcdefghijklmnopqrstuvwx", "example.com")
	a.sharing = "org 1"
	g := configured(t, settings{APIKey: "abcdefghijklmnopqrstuvwx", SharingID: "org 1", Endpoint: f.endpoint()}, t.TempDir())
	others := []string{`"of \"another\" program"`, `"two" "strings"`}
	f.force(a, "example.com", acme, 7200, others...)
	before := f.everything(a)
	base, wildcard := txt("example.com", acme+".example.com", "one"), txt("example.com", acme+".example.com", "two")
	set(t, g.livedns, base)
	set(t, g.livedns, wildcard)
	set(t, g.livedns, wildcard) // again: no duplicate
	wantSet(t, f, a, "example.com", acme, others[0], others[1], `"one"`, `"two"`)
	if ttl := a.domains["example.com"][acme].TTL; ttl != 7200 {
		t.Errorf("the TTL of others' records is %d", ttl)
	}
	// A new process knows nothing, and deletes as well.
	g = configured(t, settings{APIKey: "abcdefghijklmnopqrstuvwx", SharingID: "org 1", Endpoint: f.endpoint()}, t.TempDir())
	for _, record := range []sdk.TXT{base, wildcard, base, txt("example.com", acme+".none.example.com", "x")} {
		must(t, g.livedns.DeleteTXT(t.Context(), record))
	}
	if after := f.everything(a); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

func TestTheDomainIsAboveTheZone(t *testing.T) {
	f := newFakeDNS(t, nil)
	a := f.account(bearer, "example.com")
	g := configured(t, settings{Token: goodToken, Endpoint: f.endpoint()}, t.TempDir())
	set(t, g.livedns, txt("sub.example.com", acme+".www.sub.example.com", "one"))
	wantSet(t, f, a, "example.com", acme+".www.sub", `"one"`)
	set(t, g.livedns, txt("example.com", "example.com", "two"))
	wantSet(t, f, a, "example.com", "@", `"two"`)
	_, err := g.livedns.SetTXT(t.Context(), txt("other.test", acme+".other.test", "x"))
	wantProblem(t, err, sdk.NotFound, "no domain other.test", "sharing_id")
}

// Somebody else writes between our reading and our writing: LiveDNS takes
// that, and his write undoes ours.
func TestAWriteThatIsLostIsMadeAgain(t *testing.T) {
	f := newFakeDNS(t, nil)
	a := f.account(bearer, "example.com")
	f.force(a, "example.com", acme, 300, `"first"`)
	g := configured(t, settings{Token: goodToken, Endpoint: f.endpoint()}, t.TempDir())
	times := 2
	f.after = func(r *http.Request) {
		if r.Method == http.MethodPut && times > 0 {
			times--
			f.force(a, "example.com", acme, 300, `"first"`, `"his"`)
		}
	}
	set(t, g.livedns, txt("example.com", acme+".example.com", "ours"))
	wantSet(t, f, a, "example.com", acme, `"first"`, `"his"`, `"ours"`)
	times = 1000
	_, err := g.livedns.SetTXT(t.Context(), txt("example.com", acme+".example.com", "never"))
	wantProblem(t, err, sdk.Conflict, "changed by somebody else")
}

func TestManyAtOnceInOneProcess(t *testing.T) {
	f := newFakeDNS(t, nil)
	a := f.account(bearer, "example.com")
	g := configured(t, settings{Token: goodToken, Endpoint: f.endpoint()}, t.TempDir())
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			if _, err := g.livedns.SetTXT(t.Context(), txt("example.com", acme+".example.com", fmt.Sprint("value", n))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := f.set(a, "example.com", acme); len(got) != 20 {
		t.Errorf("%d values of 20 are there: %q", len(got), got)
	}
}

func TestLiveDNSRefuses(t *testing.T) {
	f := newFakeDNS(t, nil)
	a := f.account(bearer, "example.com")
	record := txt("example.com", acme+".example.com", "one")
	for name, c := range map[string]struct {
		settings settings
		change   func()
		code     sdk.Code
		retry    sdk.Retry
		say      []string
	}{
		"wrong token":        {settings{Token: "expired"}, func() {}, sdk.Credentials, sdk.RetryNever, []string{"401", "could not verify", "personal access token"}},
		"no right":           {settings{Token: goodToken}, func() { a.readOnly = true }, sdk.PermissionDenied, sdk.RetryNever, []string{"403", "technical configuration"}},
		"wrong organization": {settings{Token: goodToken, SharingID: "b"}, func() { a.sharing = "a" }, sdk.PermissionDenied, sdk.RetryNever, []string{"403"}},
	} {
		t.Run(name, func(t *testing.T) {
			*a = account{domains: a.domains}
			c.change()
			c.settings.Endpoint = f.endpoint()
			_, err := configured(t, c.settings, t.TempDir()).livedns.SetTXT(t.Context(), record)
			if p := wantProblem(t, err, c.code, append(c.say, "add a TXT value to "+acme+".example.com")...); p.Retry != c.retry {
				t.Errorf("retry is %q", p.Retry)
			}
			if strings.Contains(err.Error(), goodToken) {
				t.Errorf("the token is shown: %v", err)
			}
		})
	}
}

func TestQuotes(t *testing.T) {
	for _, value := range []string{"", "plain", `with "quotes" and \ backslash`, strings.Repeat("x", 255), strings.Repeat("abc", 200)} {
		if got := unquote(quote(value)); got != value {
			t.Errorf("%q comes back as %q", value, got)
		}
	}
	if got := unquote("unquoted"); got != "unquoted" {
		t.Errorf("got %q", got)
	}
}

func wantProblem(t *testing.T, err error, code sdk.Code, parts ...string) *sdk.Problem {
	t.Helper()
	p := sdk.ProblemOf(err)
	if p == nil {
		t.Fatal("there is no error")
	}
	if p.Code != code {
		t.Errorf("code %s, want %s", p.Code, code)
	}
	for _, part := range parts {
		if !strings.Contains(p.Error()+"\n"+p.Hint, part) {
			t.Errorf("%q does not say %q", p.Error()+"\n"+p.Hint, part)
		}
	}
	return p
}
