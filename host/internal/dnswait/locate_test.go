package dnswait

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const challenge = "_acme-challenge."

func TestLocate(t *testing.T) {
	l := newLab(t)
	test := l.zone("test", "127.0.0.2")
	a := l.zone("a.test", "127.0.0.3", "127.0.0.4")
	deep := l.zone("deep.a.test", "127.0.0.3")
	own := l.zone("_acme-challenge.own.a.test", "127.0.0.5")
	acme := l.zone("acme.invalid", "127.0.0.5")
	invalid := l.zone("invalid", "127.0.0.5")
	for _, z := range []*zone{a, own} {
		test.add(z.name + " 300 IN NS ns1." + z.name)
	}
	a.add(
		"a.test. 300 IN A 127.0.0.9", "www.a.test. 300 IN CNAME far.acme.invalid.",
		"deep.a.test. 300 IN NS ns1.deep.a.test.",
		"_acme-challenge.own.a.test. 300 IN NS ns1._acme-challenge.own.a.test.",
		"_acme-challenge.alias.a.test. 300 IN CNAME X.acme.invalid.",
		"_acme-challenge.wide.a.test. 300 IN CNAME y.deep.a.test.",
		"_acme-challenge.apex.a.test. 300 IN CNAME acme.invalid.",
		"_acme-challenge.taken.a.test. 300 IN TXT old",
	)
	deep.add("y.deep.a.test. 300 IN CNAME _here.acme.invalid.")
	acme.add("far.acme.invalid. 300 IN A 127.0.0.9")
	l.server("127.0.0.2", test)
	l.server("127.0.0.3", a, deep)
	l.server("127.0.0.4", a.copied())
	l.server("127.0.0.5", own, acme, invalid)

	both := []Server{{"ns1.a.test", l.at("127.0.0.3")}, {"ns2.a.test", l.at("127.0.0.4")}}
	acmes := []Server{{"ns1.acme.invalid", l.at("127.0.0.5")}}
	for name, want := range map[string]Place{
		"a.test":          {challenge + "a.test", "a.test", both},
		"A.Test.":         {challenge + "a.test", "a.test", both},
		"nothing.a.test":  {challenge + "nothing.a.test", "a.test", both},
		"x.y.z.a.test":    {challenge + "x.y.z.a.test", "a.test", both},
		"taken.a.test":    {challenge + "taken.a.test", "a.test", both},
		"www.a.test":      {challenge + "www.a.test", "a.test", both},
		"deep.a.test":     {challenge + "deep.a.test", "deep.a.test", []Server{{"ns1.deep.a.test", l.at("127.0.0.3")}}},
		"own.a.test":      {challenge + "own.a.test", challenge + "own.a.test", []Server{{"ns1._acme-challenge.own.a.test", l.at("127.0.0.5")}}},
		"alias.a.test":    {"x.acme.invalid", "acme.invalid", acmes},
		"wide.a.test":     {"_here.acme.invalid", "acme.invalid", acmes},
		"apex.a.test":     {"acme.invalid", "acme.invalid", acmes},
		"below.deep.test": {challenge + "below.deep.test", "test", []Server{{"ns1.test", l.at("127.0.0.2")}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := l.finder(false).Locate(l.bounded(), challenge+name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	// dns-account-01 has a label more, of the account.
	if p := l.locate(l.finder(false), "_a1b2._acme-challenge.a.test"); p.Name != "_a1b2._acme-challenge.a.test" || p.Zone != "a.test" {
		t.Errorf("%+v", p)
	}
	// What it is asked for it remembers.
	for _, question := range []string{"SOA _", "TXT ", "CNAME ", "SOA x.acme", "SOA y.deep"} {
		if l.resolver.count(question) > 0 {
			t.Errorf("the resolver was asked for %s: %q", question, l.resolver.asked)
		}
	}
}

// What is the matter with a name that cannot be located is said.
func TestLocateFails(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2")
	z.add(
		"_acme-challenge.one.a.test. 300 IN CNAME _acme-challenge.two.a.test.",
		"_acme-challenge.two.a.test. 300 IN CNAME _acme-challenge.one.a.test.",
		"_acme-challenge.out.a.test. 300 IN CNAME x.nowhere.",
	)
	for i := range 12 {
		z.add(fmt.Sprintf("_acme-challenge.l%d.a.test. 300 IN CNAME _acme-challenge.l%d.a.test.", i, i+1))
	}
	l.server("127.0.0.2", z)
	bare := l.zone("bare.test")
	bare.add("bare.test. 300 IN A 127.0.0.1")
	for name, want := range map[string]string{
		"_acme-challenge.one.a.test": "go round in a circle: _acme-challenge.one.a.test -> _acme-challenge.two.a.test -> _acme-challenge.one.a.test",
		"_acme-challenge.l0.a.test":  "more than 8 CNAMEs in a row: _acme-challenge.l0.a.test -> ",
		"_acme-challenge.out.a.test": "knows no zone that holds nowhere: check the name, or set dns.resolvers",
		"_acme-challenge.no.where":   "find the zone of _acme-challenge.no.where: the resolver " + l.resolver.address + " knows no zone",
		"_acme-challenge.bare.test":  "knows no name server of the zone bare.test",
		"_acme-challenge":            "it is a top level name",
		"":                           "it is no domain name",
		"a..test":                    "it is no domain name",
	} {
		if _, err := l.finder(false).Locate(l.bounded(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	// Four CNAMEs before the end of what is allowed: still followed.
	if _, err := l.finder(false).Locate(l.bounded(), "_acme-challenge.l4.a.test"); err != nil {
		t.Error(err)
	}
}

func TestDelegationsWithoutEnd(t *testing.T) {
	l := newLab(t)
	l.zone("a.test", "127.0.0.2")
	s := l.server("127.0.0.2")
	cuts := 0
	s.changing(func(_ string, q dns.Question, reply *dns.Msg) *dns.Msg {
		labels := dns.SplitDomainName(q.Name)
		cuts = min(cuts+1, len(labels)-2)
		child := dns.Fqdn(strings.Join(labels[len(labels)-2-cuts:], "."))
		reply.Rcode = dns.RcodeSuccess
		reply.Ns = []dns.RR{rr(child + " 300 IN NS ns1.a.test.")}
		return reply
	})
	_, err := l.finder(false).Locate(l.bounded(), "_acme-challenge.1.2.3.4.5.6.7.8.9.10.11.12.a.test")
	if err == nil || !strings.Contains(err.Error(), "more than 8 delegations below each other") {
		t.Error(err)
	}
}

// With no authoritative server in reach, the resolver says what there is.
func TestLocateThroughResolver(t *testing.T) {
	for name, change := range map[string]func(*server){
		"nobody there": nil,
		"lame": func(s *server) {
			s.changing(func(_ string, _ dns.Question, reply *dns.Msg) *dns.Msg {
				reply.Authoritative = false
				return reply
			})
		},
		"refused": func(s *server) {
			s.changing(func(_ string, _ dns.Question, reply *dns.Msg) *dns.Msg {
				reply.Rcode, reply.Answer, reply.Ns = dns.RcodeRefused, nil, nil
				return reply
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			z := l.zone("a.test", "127.0.0.2")
			z.add("_acme-challenge.b.a.test. 300 IN CNAME c.a.test.")
			l.zone("_acme-challenge.own.a.test", "127.0.0.3")
			if change != nil {
				change(l.server("127.0.0.2", z))
			}
			f := l.finder(false)
			for name, want := range map[string][2]string{
				"a.test":     {challenge + "a.test", "a.test"},
				"b.a.test":   {"c.a.test", "a.test"},
				"own.a.test": {challenge + "own.a.test", challenge + "own.a.test"},
			} {
				if p := l.locate(f, challenge+name); p.Name != want[0] || p.Zone != want[1] || len(p.Servers) != 1 {
					t.Errorf("%s: %+v, want %q", name, p, want)
				}
			}
		})
	}
}

func TestResolvers(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2")
	l.server("127.0.0.2", z)
	failing := l.server("127.0.0.3")
	f := l.finder(false)
	f.resolvers = []string{failing.address, l.at("127.0.0.4"), l.resolver.address}
	if p := l.locate(f, challenge+"a.test"); p.Zone != "a.test" || failing.count("SOA") == 0 {
		t.Errorf("%+v; the first was asked %q", p, failing.asked)
	}
	// SERVFAIL is tried again.
	once := 0
	l.resolver.changing(func(_ string, _ dns.Question, reply *dns.Msg) *dns.Msg {
		if once++; once == 1 {
			reply.Rcode, reply.Answer, reply.Ns = dns.RcodeServerFailure, nil, nil
		}
		return reply
	})
	if p := l.locate(l.finder(false), challenge+"a.test"); p.Zone != "a.test" {
		t.Errorf("%+v", p)
	}
	f = l.finder(false)
	f.resolvers = []string{failing.address, l.at("127.0.0.4")}
	_, err := f.Locate(l.bounded(), challenge+"a.test")
	for _, want := range []string{
		"ask the resolver " + failing.address + " for SOA a.test: it says REFUSED",
		"ask the resolver " + l.at("127.0.0.4") + " for SOA a.test: it cannot be reached (connection refused)",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f.resolvers = nil
	if _, err := f.Locate(l.bounded(), challenge+"a.test"); err == nil || !strings.Contains(err.Error(), "set dns.resolvers") {
		t.Error(err)
	}
}

// A name server that nobody knows is told of, the other one is used.
func TestServerWithoutAddress(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2")
	z.add("a.test. 300 IN NS gone.a.test.")
	l.server("127.0.0.2", z)
	if p := l.locate(l.finder(false), challenge+"a.test"); len(p.Servers) != 1 {
		t.Errorf("%+v", p)
	}
	if !l.told("the name server gone.a.test of the zone a.test has no address: it has neither A nor AAAA records") {
		t.Errorf("told: %q", l.progress)
	}
}

// Many who look for the same at once are one search, and its end is kept.
func TestSingleFlight(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2")
	l.server("127.0.0.2", z)
	asked, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	l.resolver.changing(func(_ string, _ dns.Question, reply *dns.Msg) *dns.Msg {
		once.Do(func() { close(asked) })
		<-goOn
		return reply
	})
	f := l.finder(false)
	f.attempt = time.Minute
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			name := challenge + "a.test"
			if i%2 == 1 {
				name = strings.ToUpper(name) + "."
			}
			if p, err := f.Locate(l.bounded(), name); err != nil || p.Zone != "a.test" {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
	<-asked
	close(goOn)
	all.Wait()
	l.locate(f, challenge+"a.test")
	l.locate(f, challenge+"b.a.test")
	if n := l.resolver.count("SOA a.test."); n != 1 {
		t.Errorf("the zone was searched %d times: %q", n, l.resolver.asked)
	}
	if n := l.resolver.count("NS a.test."); n != 1 {
		t.Errorf("its servers were searched %d times: %q", n, l.resolver.asked)
	}
}

// One who gives up does not take those with him who wait for what he found, and
// a failure is not kept.
func TestSearchGivenUp(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2")
	l.server("127.0.0.2", z)
	f := l.finder(false)
	f.attempt = time.Minute
	silent := true
	asked := make(chan struct{}, 1)
	l.resolver.changing(func(_ string, _ dns.Question, reply *dns.Msg) *dns.Msg {
		if silent {
			asked <- struct{}{}
			silent = false
			return nil
		}
		return reply
	})
	enough := errors.New("enough")
	first, cancel := context.WithCancelCause(t.Context())
	errs := make(chan error, 1)
	go func() {
		_, err := f.Locate(first, challenge+"a.test")
		errs <- err
	}()
	<-asked
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if p, err := f.Locate(l.bounded(), challenge+"a.test"); err != nil || p.Zone != "a.test" {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
	cancel(enough)
	if err := <-errs; !errors.Is(err, enough) {
		t.Error(err)
	}
	all.Wait()
}

// Authoritative servers may stand in for resolvers: one that only refers to
// others is passed over, and believed if nobody knows better.
func TestServersAsResolvers(t *testing.T) {
	l := newLab(t)
	test := l.zone("test", "127.0.0.2")
	a := l.zone("a.test", "127.0.0.3")
	test.add("a.test. 300 IN NS ns1.a.test.", "ns1.a.test. 300 IN A 127.0.0.3")
	a.add(txt("_acme-challenge.a.test", "one"))
	first, second := l.server("127.0.0.2", test), l.server("127.0.0.3", a)
	for _, resolvers := range [][]string{{first.address, second.address}, {first.address}} {
		f := l.finder(true)
		f.resolvers = resolvers
		r := l.record(f, challenge+"a.test", "one")
		if want := []Server{{"ns1.a.test", second.address}}; r.Place.Zone != "a.test" || !cmp.Equal(r.Place.Servers, want) {
			t.Errorf("%q: %+v", resolvers, r.Place)
		}
		if err := f.Wait(l.bounded(), []Record{r}); err != nil {
			t.Error(err)
		}
		if told := l.told("it is no resolver: it refers to the name servers of a.test"); told != (len(resolvers) == 1) {
			t.Errorf("%q: told %q", resolvers, l.progress)
		}
	}
}
