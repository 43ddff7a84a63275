package dnswait

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// place locates a name of a zone that is served by the zone's own servers.
func (l *lab) record(f *Finder, name string, values ...string) Record {
	l.t.Helper()
	return Record{Place: l.locate(f, name), Values: values}
}

func txt(name, value string) string { return name + `. 300 IN TXT "` + value + `"` }

// after changes a server's answers to TXT questions once it has been asked n of
// them.
func (s *server) after(n int, change func()) {
	var once sync.Once
	s.changing(func(_ string, q dns.Question, reply *dns.Msg) *dns.Msg {
		if q.Qtype == dns.TypeTXT && s.count(" TXT ") > n {
			once.Do(change)
		}
		return reply
	})
}

// One server is behind: it is asked until it is not, and the other one no more.
func TestLaggingServer(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2", "127.0.0.3")
	old := z.copied()
	z.add(txt("_acme-challenge.a.test", "one"))
	first, second := l.server("127.0.0.2", z), l.server("127.0.0.3", old)
	second.after(5, func() { old.add(txt("_acme-challenge.a.test", "one")) })
	f := l.finder(true)
	if err := f.Wait(l.bounded(), []Record{l.record(f, challenge+"a.test", "one")}); err != nil {
		t.Fatal(err)
	}
	if n := second.count("udp TXT"); n != 7 {
		t.Errorf("the one that is behind was asked %d times", n)
	}
	if n := first.count("udp TXT"); n != 1 {
		t.Errorf("the other one was asked %d times", n)
	}
	if len(l.progress) > 0 {
		t.Errorf("told: %q", l.progress)
	}
}

// Two values of one name, in two records, are both waited for; those that were
// there before do no harm.
func TestNameAndWildcard(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2")
	z.add(txt("_acme-challenge.a.test", "old"), txt("_Acme-Challenge.A.test", "base"))
	s := l.server("127.0.0.2", z)
	s.after(3, func() { z.add(txt("_acme-challenge.a.test", "wild")) })
	f := l.finder(false)
	place := l.locate(f, challenge+"a.test")
	if err := f.Wait(l.bounded(), []Record{{place, []string{"base"}}, {place, []string{"wild"}}, {place, []string{"base"}}}); err != nil {
		t.Fatal(err)
	}
	if n := s.count("TXT"); n != 5 {
		t.Errorf("the server was asked %d times", n)
	}
}

// What does not fit into a datagram is asked for again over TCP; a value may be
// cut into pieces.
func TestLongAnswer(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2")
	for i := range 40 {
		z.add(txt("_acme-challenge.a.test", strings.Repeat(string(rune('a'+i%26)), 60+i)))
	}
	z.add(`_acme-challenge.a.test. 300 IN TXT "in " "pieces"`)
	s := l.server("127.0.0.2", z)
	f := l.finder(false)
	if err := f.Wait(l.bounded(), []Record{l.record(f, challenge+"a.test", "in pieces")}); err != nil {
		t.Fatal(err)
	}
	if s.count("udp TXT") != 1 || s.count("tcp TXT") != 1 {
		t.Errorf("asked: %q", s.asked)
	}
}

// Several zones, an alias, a delegation: one wait.
func TestManyRecords(t *testing.T) {
	l := newLab(t)
	a, b := l.zone("a.test", "127.0.0.2"), l.zone("b.test", "127.0.0.3", "127.0.0.4")
	own := l.zone("_acme-challenge.own.a.test", "127.0.0.4")
	a.add("_acme-challenge.own.a.test. 300 IN NS ns1._acme-challenge.own.a.test.", "_acme-challenge.alias.a.test. 300 IN CNAME x.b.test.")
	l.server("127.0.0.2", a)
	l.server("127.0.0.3", b)
	last := l.server("127.0.0.4", b, own)
	f := l.finder(true)
	var records []Record
	for _, name := range []string{"a.test", "sub.a.test", "own.a.test", "alias.a.test", "b.test"} {
		records = append(records, l.record(f, challenge+name, "value of "+name))
	}
	if records[3].Place.Name != "x.b.test" {
		t.Fatalf("%+v", records[3])
	}
	last.after(3, func() {
		a.add(txt("_acme-challenge.a.test", "value of a.test"), txt("_acme-challenge.sub.a.test", "value of sub.a.test"))
		b.add(txt("x.b.test", "value of alias.a.test"), txt("_acme-challenge.b.test", "value of b.test"))
		own.add(txt("_acme-challenge.own.a.test", "value of own.a.test"))
	})
	if err := f.Wait(l.bounded(), records); err != nil {
		t.Fatal(err)
	}
	// The resolver was asked in the end, for each once.
	if n := l.resolver.count("TXT"); n != 5 {
		t.Errorf("the resolver was asked %d times: %q", n, l.resolver.asked)
	}
}

// timeUp makes the time of a wait end when the condition is met.
func timeUp(f *Finder, when func() bool) {
	f.clock.bound = func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
		out, cancel := context.WithCancelCause(ctx)
		pause := f.clock.pause
		f.clock.pause = func(ctx context.Context, d time.Duration) {
			if when() {
				cancel(errTimeout)
			}
			pause(ctx, d)
		}
		return out, func() { cancel(nil) }
	}
	f.clock.left = func(context.Context) time.Duration { return time.Minute }
}

// A server that never shows a value is named, with the value; the others are
// not, and neither are names that all servers show.
func TestNeverShown(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2", "127.0.0.3")
	z.add(txt("_acme-challenge.a.test", "one"), txt("_acme-challenge.b.a.test", "three"))
	old := z.copied()
	z.add(txt("_acme-challenge.a.test", "two"))
	l.server("127.0.0.2", z)
	second := l.server("127.0.0.3", old)
	f := l.finder(true)
	f.timeout = 77 * time.Second
	timeUp(f, func() bool { return second.count("TXT _acme-challenge.a.test.") > 100 })
	err := f.Wait(l.bounded(), []Record{l.record(f, challenge+"a.test", "one", "two"), l.record(f, challenge+"b.a.test", "three")})
	want := "not every name server showed what it should within 1m17s:\n  TXT _acme-challenge.a.test:\n    ns2.a.test (" + second.address + `) lacks "two"`
	var late *TimeoutError
	if !errors.As(err, &late) || err.Error() != want || late.Hint() == "" {
		t.Fatalf("%v\nwant %s", err, want)
	}
	if late.About("_Acme-Challenge.a.test") == nil || late.About(challenge+"b.a.test") != nil {
		t.Errorf("about the names: %v, %v", late.About(challenge+"a.test"), late.About(challenge+"b.a.test"))
	}
	if n := l.resolver.count("TXT"); n > 0 {
		t.Errorf("the resolver was asked %d times before it made sense", n)
	}
}

// Servers that do not answer, refuse, or do not hold the zone are told of while
// another one answers.
func TestSomeServersOut(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(string, dns.Question, *dns.Msg) *dns.Msg
		told   string
	}{
		"nobody there": {nil, "cannot be reached (connection refused)"},
		"silent":       {func(string, dns.Question, *dns.Msg) *dns.Msg { return nil }, "cannot be reached (no answer)"},
		"refuses": {func(_ string, _ dns.Question, reply *dns.Msg) *dns.Msg {
			return &dns.Msg{MsgHdr: dns.MsgHdr{Id: reply.Id, Response: true, Rcode: dns.RcodeRefused}}
		}, "it says REFUSED"},
		"not authoritative": {func(_ string, _ dns.Question, reply *dns.Msg) *dns.Msg {
			reply.Authoritative = false
			return reply
		}, "it does not hold the zone"},
		"no TCP": {func(network string, _ dns.Question, reply *dns.Msg) *dns.Msg {
			if network == "tcp" {
				return nil
			}
			reply.Truncated = true
			return reply
		}, "its answer is too long for UDP, and by TCP it cannot be reached"},
		"another answer": {func(_ string, _ dns.Question, reply *dns.Msg) *dns.Msg {
			reply.Question[0].Name = "other.test."
			return reply
		}, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			z := l.zone("a.test", "127.0.0.2", "127.0.0.3")
			z.add(txt("_acme-challenge.a.test", "one"), txt("_acme-challenge.b.a.test", "one"))
			l.server("127.0.0.2", z)
			if tt.change != nil {
				l.server("127.0.0.3", z).changing(tt.change)
			}
			f := l.finder(false)
			records := []Record{l.record(f, challenge+"a.test", "one"), l.record(f, challenge+"b.a.test", "one")}
			f.attempt = 200 * time.Millisecond // it may be silent
			if err := f.Wait(l.bounded(), records); err != nil {
				t.Fatal(err)
			}
			if want := "the name server ns2.a.test (" + l.at("127.0.0.3") + ") of the zone a.test is left out: "; len(l.progress) != 1 || !l.told(want) || !l.told(tt.told) {
				t.Errorf("told: %q, want %s... %s", l.progress, want, tt.told)
			}
		})
	}
}

// SERVFAIL may pass: it is waited for.
func TestServerFailure(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2", "127.0.0.3")
	z.add(txt("_acme-challenge.a.test", "one"))
	l.server("127.0.0.2", z)
	second := l.server("127.0.0.3", z)
	second.changing(func(_ string, q dns.Question, reply *dns.Msg) *dns.Msg {
		if q.Qtype == dns.TypeTXT && second.count("TXT") <= 5 {
			return new(dns.Msg).SetRcode(&dns.Msg{MsgHdr: dns.MsgHdr{Id: reply.Id}, Question: reply.Question}, dns.RcodeServerFailure)
		}
		return reply
	})
	f := l.finder(false)
	if err := f.Wait(l.bounded(), []Record{l.record(f, challenge+"a.test", "one")}); err != nil {
		t.Fatal(err)
	}
	if n := second.count("udp TXT"); n != 6 {
		t.Errorf("it was asked %d times", n)
	}
}

// With no server in reach and no resolver that was configured nobody can say
// anything.
func TestNoneReachable(t *testing.T) {
	l := newLab(t)
	l.zone("a.test", "127.0.0.2", "127.0.0.3")
	l.zone("empty.test").add("empty.test. 300 IN NS gone.empty.test.")
	b := l.zone("b.test", "127.0.0.4")
	s := l.server("127.0.0.4", b)
	f := l.finder(false)
	f.timeout = 77 * time.Second
	timeUp(f, func() bool { return s.count("TXT") > 100 })
	records := []Record{l.record(f, challenge+"a.test", "one"), l.record(f, challenge+"empty.test", "one")}
	err := f.Wait(l.bounded(), records)
	var blind *UnreachableError
	if !errors.As(err, &blind) {
		t.Fatal(err)
	}
	for _, want := range []string{
		"no name server of the zone can be asked for _acme-challenge.a.test, _acme-challenge.empty.test, and no resolver is configured",
		"dns.resolvers", "dns.skip", "ns1.a.test (" + l.at("127.0.0.2") + "): it cannot be reached (connection refused)",
		"ns2.a.test (" + l.at("127.0.0.3") + "): it cannot be reached", "none of the zone's name servers has an address",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
	// Beside one that is only late, each has its own error.
	err = f.Wait(l.bounded(), append(records, l.record(f, challenge+"b.test", "one")))
	var late *TimeoutError
	var part interface{ About(string) error }
	if !errors.As(err, &blind) || !errors.As(err, &late) || !errors.As(err, &part) {
		t.Fatal(err)
	}
	if e := part.About(challenge + "a.test"); !errors.As(e, &blind) || errors.As(e, &late) {
		t.Errorf("about a.test: %v", e)
	}
	if e := part.About(challenge + "b.test"); errors.As(e, &blind) || !errors.As(e, &late) {
		t.Errorf("about b.test: %v", e)
	}
}

// With no server in reach the resolver decides.
func TestResolverDecides(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2")
	l.resolver.after(4, func() { z.add(txt("_acme-challenge.a.test", "one")) })
	f := l.finder(true)
	r := l.record(f, challenge+"a.test", "one")
	var paused []time.Duration
	f.clock.pause = func(_ context.Context, d time.Duration) {
		if d >= time.Second {
			paused = append(paused, d)
		}
	}
	f.clock.left = func(context.Context) time.Duration { return 2 * time.Minute }
	if err := f.Wait(l.bounded(), []Record{r}); err != nil {
		t.Fatal(err)
	}
	// It says for how long it will not look again.
	if !slices.Equal(paused, []time.Duration{time.Minute, time.Minute, time.Minute, time.Minute, time.Minute}) {
		t.Errorf("paused %v", paused)
	}
	for name, tt := range map[string]struct {
		left time.Duration
		want string
	}{
		"no time":   {59 * time.Second, "the resolver (" + l.resolver.address + "): it remembers its old answer for another 1m0s"},
		"its other": {time.Hour, "the resolver (" + l.resolver.address + `) lacks "never"`},
	} {
		t.Run(name, func(t *testing.T) {
			f := l.finder(true)
			bounded, end := context.WithCancel(l.bounded())
			f.clock.left = func(context.Context) time.Duration { return tt.left }
			f.clock.bound = func(context.Context, time.Duration) (context.Context, context.CancelFunc) { return bounded, end }
			f.clock.pause = func(_ context.Context, d time.Duration) {
				if d > time.Second {
					end()
				}
			}
			name := challenge + "b.a.test"
			if tt.left == time.Hour {
				name = challenge + "a.test"
			}
			err := f.Wait(l.bounded(), []Record{{Place{name, "a.test", r.Place.Servers}, []string{"never"}}})
			var late *TimeoutError
			if !errors.As(err, &late) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "ns1.a.test") {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

// A resolver remembers that there was no such name: it is not asked before all
// servers agree, and its memory is waited for if there is time.
func TestNegativeCache(t *testing.T) {
	l := newLab(t)
	l.remembers = true
	z := l.zone("a.test", "127.0.0.2")
	s := l.server("127.0.0.2", z)
	s.after(5, func() { z.add(txt("_acme-challenge.a.test", "one")) })
	f := l.finder(true)
	if err := f.Wait(l.bounded(), []Record{l.record(f, challenge+"a.test", "one")}); err != nil {
		t.Fatal(err)
	}
	if n := l.resolver.count("TXT"); n != 1 || len(l.progress) > 0 {
		t.Errorf("the resolver was asked %d times; told %q", n, l.progress)
	}

	// Somebody else has asked it before.
	poison := func(name string) {
		if reply, _, err := f.recurse(l.bounded(), name, dns.TypeTXT); err != nil || reply.Rcode != dns.RcodeNameError {
			t.Fatalf("%v, %v", reply, err)
		}
		z.add(txt(name, "one"))
	}
	poison(challenge + "b.a.test")
	f.clock.left = func(context.Context) time.Duration { return 61 * time.Second }
	f.clock.pause = func(_ context.Context, d time.Duration) {
		if d == time.Minute {
			l.forget()
		}
	}
	if err := f.Wait(l.bounded(), []Record{l.record(f, challenge+"b.a.test", "one")}); err != nil || len(l.progress) > 0 {
		t.Errorf("%v; told %q", err, l.progress)
	}

	// What all servers show is not held back by a resolver that remembers longer.
	poison(challenge + "c.a.test")
	f.clock.left = func(context.Context) time.Duration { return 59 * time.Second }
	if err := f.Wait(l.bounded(), []Record{l.record(f, challenge+"c.a.test", "one")}); err != nil {
		t.Error(err)
	}
	if !l.told("all name servers show _acme-challenge.c.a.test, but the resolver (" + l.resolver.address + "): it remembers its old answer for another 1m0s") {
		t.Errorf("told: %q", l.progress)
	}

	// Neither by one that is gone.
	z.add(txt("_acme-challenge.d.a.test", "one"))
	r := l.record(f, challenge+"d.a.test", "one")
	f.resolvers = []string{l.at("127.0.0.5")}
	if err := f.Wait(l.bounded(), []Record{r}); err != nil || !l.told("all name servers show _acme-challenge.d.a.test, but the resolver: ask the resolver "+l.at("127.0.0.5")) {
		t.Errorf("%v; told: %q", err, l.progress)
	}
}

// A server that has both kinds of address is asked at both, as far as this
// machine has IPv6.
func TestIPv6(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2")
	z.add("ns1.a.test. 300 IN AAAA ::1", txt("_acme-challenge.a.test", "one"))
	l.server("127.0.0.2", z)
	f := l.finder(false)
	probe, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "[::1]:0")
	has := err == nil
	old := z.copied()
	old.records = old.records[:len(old.records)-1]
	if has {
		_ = probe.Close()
		six := l.server("::1", old)
		six.after(3, func() { old.add(txt("_acme-challenge.a.test", "one")) })
		defer func() {
			if n := six.count("udp TXT"); n != 5 {
				t.Errorf("the server at ::1 was asked %d times", n)
			}
		}()
	}
	r := l.record(f, challenge+"a.test", "one")
	if len(r.Place.Servers) != 2 {
		t.Errorf("servers: %v", r.Place.Servers)
	}
	if err := f.Wait(l.bounded(), []Record{r}); err != nil {
		t.Fatal(err)
	}
	if left := l.told("the name server ns1.a.test (" + l.at("::1") + ") of the zone a.test is left out"); left == has {
		t.Errorf("this machine has IPv6: %t; told %q", has, l.progress)
	}
}

// Who gives up while a server is silent does not wait for it.
func TestGivenUp(t *testing.T) {
	l := newLab(t)
	z := l.zone("a.test", "127.0.0.2")
	s := l.server("127.0.0.2", z)
	f := l.finder(false)
	f.attempt = time.Hour
	r := l.record(f, challenge+"a.test", "one")
	ctx, cancel := context.WithCancelCause(l.bounded())
	enough := errors.New("enough")
	s.changing(func(string, dns.Question, *dns.Msg) *dns.Msg { cancel(enough); return nil })
	if err := f.Wait(ctx, []Record{r}); !errors.Is(err, enough) {
		t.Error(err)
	}
	if _, err := f.Locate(ctx, challenge+"new.a.test"); !errors.Is(err, enough) {
		t.Error(err)
	}
}

func TestSkip(t *testing.T) {
	f, err := New(Options{Skip: true, Resolvers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Wait(t.Context(), []Record{{Place{"a.test", "a.test", nil}, []string{"x"}}}); err != nil {
		t.Error(err)
	}
	if f, err = New(Options{}); err != nil || f.Wait(t.Context(), nil) != nil {
		t.Error(err)
	}
}
