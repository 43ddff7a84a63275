package order_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/host/internal/dnswait"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk"
)

// seer is the real search and the real wait, at the CA's own DNS server. What it
// was asked is kept; wait comes before the real wait.
type seer struct {
	*dnswait.Finder
	wait   func(context.Context, []order.DNSRecord) error
	locate func(name string) error

	mu    sync.Mutex
	waits [][]order.DNSRecord
}

// withDNS is a world whose DNS server holds the zones.
func withDNS(t *testing.T, zones ...string) (*world, *seer) {
	t.Helper()
	w := registered(t, testca.Options{})
	for _, z := range zones {
		w.ca.DNS().ServeZone(z)
	}
	_, port, err := net.SplitHostPort(w.ca.DNS().Addr())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	f, err := dnswait.New(dnswait.Options{
		Resolvers: []string{w.ca.DNS().Addr()}, Port: number, Interval: 10 * time.Millisecond, Timeout: time.Minute, Progress: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &seer{Finder: f}
	w.dns = s
	return w, s
}

func (s *seer) Locate(ctx context.Context, name string) (fqdn, zone string, err error) {
	if s.locate != nil {
		if err := s.locate(name); err != nil {
			return "", "", err
		}
	}
	p, err := s.Finder.Locate(ctx, name)
	return p.Name, p.Zone, err
}

func (s *seer) Wait(ctx context.Context, records []order.DNSRecord) error {
	s.mu.Lock()
	s.waits = append(s.waits, records)
	s.mu.Unlock()
	if s.wait != nil {
		if err := s.wait(ctx, records); err != nil {
			return err
		}
	}
	var all []dnswait.Record
	for _, r := range records {
		p, err := s.Finder.Locate(ctx, r.Name)
		if err != nil {
			return err
		}
		all = append(all, dnswait.Record{Place: p, Values: r.Values})
	}
	return s.Finder.Wait(ctx, all)
}

// zoned makes an authenticator of sdk.DNS that writes into the CA's DNS server.
func (w *world) zoned(name string) *authenticator {
	a := w.add(name)
	d := sdk.DNS(
		func(_ context.Context, r sdk.TXT) ([]byte, error) {
			if r.Zone == "" || r.Name != r.Zone && !strings.HasSuffix(r.Name, "."+r.Zone) {
				return nil, fmt.Errorf("%s is not in the zone %q", r.Name, r.Zone)
			}
			w.ca.DNS().AddTXT(r.Name, r.Value)
			return []byte("receipt"), nil
		},
		func(_ context.Context, r sdk.TXT) error {
			w.ca.DNS().DeleteTXT(r.Name, r.Value)
			return nil
		})
	a.types, a.perform, a.cleanup = []string{sdk.DNS01}, d.Perform, d.Cleanup
	a.change = func(d *sdk.Description) { d.DNS = sdk.HostDNS }
	return a
}

// gone fails if the DNS server still has values of these names.
func (w *world) gone(names ...string) {
	w.t.Helper()
	for _, name := range names {
		if left := w.ca.DNS().TXT(name); len(left) > 0 {
			w.t.Errorf("%s still has %q", name, left)
		}
	}
}

// names of the records of one wait, sorted.
func names(records []order.DNSRecord) string {
	var out []string
	for _, r := range records {
		out = append(out, r.Name+" in "+r.Zone)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// Name and wildcard, two instances, an alias into another zone: one certificate
// and one wait, which begins when everything is in place.
func TestHostDNS(t *testing.T) {
	w, dns := withDNS(t, "a.test", "b.test", "far.test")
	w.ca.DNS().SetCNAME("_acme-challenge.www.b.test", "X.Far.test")
	one, two := w.zoned("one"), w.zoned("two")
	r := request("two", "a.test", "*.a.test", "b.test", "www.b.test")
	r.Authenticate = append([]model.Rule{{Match: ".a.test", With: []string{"one"}}}, r.Authenticate...)
	dns.wait = func(_ context.Context, records []order.DNSRecord) error {
		for _, rec := range records {
			if shown := w.ca.DNS().TXT(rec.Name); !slices.Contains(shown, rec.Values[0]) {
				t.Errorf("the wait began while %s had %q", rec.Name, shown)
			}
		}
		if n := len(w.ca.DNS().TXT("_acme-challenge.a.test")); n != 2 {
			t.Errorf("name and wildcard have %d values", n)
		}
		return nil
	}
	w.issue(r)
	one.called(t, 1)
	two.called(t, 1)
	want := "_acme-challenge.a.test in a.test, _acme-challenge.a.test in a.test, _acme-challenge.b.test in b.test, x.far.test in far.test"
	if len(dns.waits) != 1 || names(dns.waits[0]) != want {
		t.Errorf("waits: %+v, want one for %s", dns.waits, want)
	}
	for _, c := range two.performed[0] {
		if c.Identifier.Value == "www.b.test" && (c.DNS.Name != "x.far.test" || c.DNS.Zone != "far.test") {
			t.Errorf("the plugin got %+v", c.DNS)
		}
	}
	w.gone("_acme-challenge.a.test", "_acme-challenge.b.test", "x.far.test")
}

// The journal remembers where the record is, so that it can be taken away
// without a look at DNS.
func TestPlaceIsJournaled(t *testing.T) {
	w, _ := withDNS(t, "a.test")
	dns := w.zoned("dns")
	dns.cleanup = func(context.Context, []sdk.Challenge, sdk.Reporter) error { return errors.New("not now") }
	result, err := order.Obtain(w.bounded(), w.deps(), request("dns", "sub.a.test"))
	if err != nil {
		t.Fatal(err)
	}
	if err := result.Done(); err != nil {
		t.Error(err)
	}
	left := w.pending()
	if len(left) != 1 || left[0].Perform == nil {
		t.Fatalf("journal: %+v", left)
	}
	if c := left[0].Perform.Challenges[0]; c.DNS == nil || c.DNS.Name != "_acme-challenge.sub.a.test" || c.DNS.Zone != "a.test" {
		t.Errorf("journal: %+v", c.DNS)
	}
}

// What needs no DNS, or sees to it itself, is validated and cleaned up while the
// host waits.
func TestOthersDoNotWait(t *testing.T) {
	w, dns := withDNS(t, "a.test")
	w.zoned("host")
	web, self := w.add("web"), w.zoned("self")
	self.change = func(d *sdk.Description) { d.DNS = sdk.SelfDNS }
	self.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		for _, c := range challenges {
			if c.DNS.Zone != "" || c.DNS.Name != "_acme-challenge.self.test" {
				t.Errorf("it got %+v", c.DNS)
			}
			w.ca.DNS().AddTXT(c.DNS.Name, c.DNS.Value)
			r.Result(sdk.Result{Subject: c.ID})
		}
		return nil
	}
	cleaned := make(chan string, 2)
	for _, a := range []*authenticator{web, self} {
		before := a.cleanup
		a.cleanup = func(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
			cleaned <- a.name
			if before == nil {
				return nil
			}
			return before(ctx, challenges, r)
		}
	}
	dns.wait = func(ctx context.Context, _ []order.DNSRecord) error {
		for range 2 {
			select {
			case <-cleaned:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}
	r := request("host", "a.test", "web.test", "self.test")
	r.Authenticate = append([]model.Rule{{Match: "web.test", With: []string{"web"}}, {Match: "self.test", With: []string{"self"}}}, r.Authenticate...)
	w.issue(r)
	if len(dns.waits) != 1 || names(dns.waits[0]) != "_acme-challenge.a.test in a.test" {
		t.Errorf("waits: %+v", dns.waits)
	}
}

// A name whose zone cannot be found goes to its next instance at once.
func TestNoZone(t *testing.T) {
	w, dns := withDNS(t, "a.test")
	host, web := w.zoned("host"), w.add("web")
	w.issue(request("host web", "a.test", "b.test"))
	host.called(t, 1)
	web.called(t, 1)
	if c := web.performed[0]; len(c) != 1 || c[0].Identifier.Value != "b.test" {
		t.Errorf("web got %+v", c)
	}
	if len(dns.waits) != 1 || len(dns.waits[0]) != 1 {
		t.Errorf("waits: %+v", dns.waits)
	}
}

func TestNoZoneAndNoOther(t *testing.T) {
	w, dns := withDNS(t, "a.test")
	host := w.zoned("host")
	f := one(t, w.fail(w.bounded(), request("host", "a.test", "b.test")), "b.test")
	if !strings.Contains(f.Err.Error(), "host: find the zone of _acme-challenge.b.test: no zone holds b.test") {
		t.Error(f.Err)
	}
	host.called(t, 0)
	if len(dns.waits) > 0 {
		t.Errorf("waits: %+v", dns.waits)
	}
	w.idle()
}

// partial is an error of a wait that is about one name.
type partial struct{ name string }

func (p partial) Error() string { return "ns2 lacks a value of " + p.name }
func (p partial) Hint() string  { return "mend ns2" }
func (p partial) About(name string) error {
	if name == p.name {
		return p
	}
	return nil
}

// A record that is not seen fails its own name only, which its next instance
// then proves in a new order.
func TestOneRecordIsNotSeen(t *testing.T) {
	w, dns := withDNS(t, "a.test", "b.test")
	w.zoned("host")
	web := w.add("web")
	dns.wait = func(context.Context, []order.DNSRecord) error { return partial{"_acme-challenge.b.test"} }
	w.issue(request("host web", "a.test", "b.test"))
	web.called(t, 1)
	if c := web.performed[0]; len(c) != 1 || c[0].Identifier.Value != "b.test" {
		t.Errorf("web got %+v", c)
	}
	if !w.story.has("not seen in dns:\n    b.test (dns-01 by host): ns2 lacks a value of _acme-challenge.b.test") {
		t.Errorf("told: %q", w.story.lines)
	}
	w.gone("_acme-challenge.a.test", "_acme-challenge.b.test")
}

func TestRecordIsNotSeenAnywhere(t *testing.T) {
	w, dns := withDNS(t, "a.test", "b.test")
	host := w.zoned("host")
	dns.wait = func(context.Context, []order.DNSRecord) error { return partial{"_acme-challenge.b.test"} }
	err := w.fail(w.bounded(), request("host", "a.test", "b.test"))
	var failed *order.FailedError
	if !errors.As(err, &failed) || len(failed.Failures) != 1 || failed.Failures[0].Identifier.Value != "b.test" || failed.Hint() != "mend ns2" {
		t.Errorf("%v", err)
	}
	host.called(t, 1)
	w.gone("_acme-challenge.a.test", "_acme-challenge.b.test")
	w.idle()
}

// An error that does not say what it is about is about everything that waited.
func TestWaitBreaks(t *testing.T) {
	w, dns := withDNS(t, "a.test", "b.test")
	w.zoned("host")
	w.add("web")
	broken := errors.New("the resolver is on fire")
	dns.wait = func(context.Context, []order.DNSRecord) error { return broken }
	r := request("host", "a.test", "b.test", "web.test")
	r.Authenticate = append([]model.Rule{{Match: "web.test", With: []string{"web"}}}, r.Authenticate...)
	err := w.fail(w.bounded(), r)
	var failed *order.FailedError
	if !errors.As(err, &failed) || len(failed.Failures) != 2 || !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	w.gone("_acme-challenge.a.test", "_acme-challenge.b.test")
	w.idle()
}

// An instance that fails does not keep the records of the others from being
// waited for.
func TestOneInstanceFails(t *testing.T) {
	w, dns := withDNS(t, "a.test", "b.test")
	good, bad := w.zoned("good"), w.zoned("bad")
	bad.perform = func(context.Context, []sdk.Challenge, sdk.Reporter) error { return errors.New("no credit left") }
	r := request("good", "a.test", "b.test")
	r.Authenticate = append([]model.Rule{{Match: "b.test", With: []string{"bad"}}}, r.Authenticate...)
	err := w.fail(w.bounded(), r)
	if f := one(t, err, "b.test"); !strings.Contains(f.Err.Error(), "no credit left") {
		t.Error(f.Err)
	}
	if len(dns.waits) != 1 || names(dns.waits[0]) != "_acme-challenge.a.test in a.test" {
		t.Errorf("waits: %+v", dns.waits)
	}
	good.called(t, 1)
	bad.called(t, 1)
	w.idle()
}

// Who gives up while the host waits leaves nothing behind.
func TestGivenUpWhileWaiting(t *testing.T) {
	w, dns := withDNS(t, "a.test")
	host := w.zoned("host")
	ctx, cancel := context.WithCancelCause(w.bounded())
	enough := errors.New("enough")
	dns.wait = func(ctx context.Context, _ []order.DNSRecord) error {
		cancel(enough)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err := w.fail(ctx, request("host", "a.test")); !errors.Is(err, enough) {
		t.Error(err)
	}
	host.called(t, 1)
	w.gone("_acme-challenge.a.test")
	w.idle()
}

// Of two that prove a name together, one may leave DNS to the host and one not.
func TestHostAndSelfTogether(t *testing.T) {
	w, dns := withDNS(t, "a.test", "far.test")
	w.ca.DNS().SetCNAME("_acme-challenge.a.test", "x.far.test")
	host, self := w.zoned("host"), w.zoned("self")
	self.change = func(d *sdk.Description) { d.DNS = sdk.SelfDNS }
	self.perform = func(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
		r.Result(sdk.Result{Subject: challenges[0].ID})
		return nil
	}
	r := request("", "a.test")
	r.Authenticate = []model.Rule{{WithAll: []string{"self", "host"}}}
	w.issue(r)
	if c := host.performed[0][0]; c.DNS.Name != "x.far.test" || c.DNS.Zone != "far.test" {
		t.Errorf("the one got %+v", c.DNS)
	}
	if c := self.performed[0][0]; c.DNS.Name != "_acme-challenge.a.test" || c.DNS.Zone != "" {
		t.Errorf("the other got %+v", c.DNS)
	}
	if len(dns.waits) != 1 || names(dns.waits[0]) != "x.far.test in far.test" {
		t.Errorf("waits: %+v", dns.waits)
	}
}
