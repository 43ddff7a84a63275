package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDeclaration(t *testing.T) {
	d, err := declaration(newStandalone()).Description()
	if err != nil {
		t.Fatal(err)
	}
	ports := []sdk.Value{sdk.FromSetting("http_port"), sdk.FromSetting("tls_port")}
	if diff := cmp.Diff(sdk.Permissions{BindTCP: ports, Key: sdk.KeyPath}, d.Permissions); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	resources := []sdk.Resource{{Kind: "tcp", Value: ports[0]}, {Kind: "tcp", Value: ports[1]}}
	if diff := cmp.Diff(resources, d.ExclusiveResources); diff != "" {
		t.Errorf("exclusive resources (-want +got):\n%s", diff)
	}
	types := []sdk.ChallengeType{
		{Type: "http-01", IdentifierTypes: []string{"dns", "ip"}}, {Type: "tls-alpn-01", IdentifierTypes: []string{"dns", "ip"}},
	}
	if diff := cmp.Diff(types, d.ChallengeTypes); diff != "" {
		t.Errorf("challenge types (-want +got):\n%s", diff)
	}
	defaults := map[string]string{}
	for _, s := range d.Settings {
		defaults[s.Name] = s.Default
	}
	if diff := cmp.Diff(map[string]string{"http_port": "80", "tls_port": "443", "address": ""}, defaults); diff != "" {
		t.Errorf("defaults of settings (-want +got):\n%s", diff)
	}
}

func TestConfigureNamesTheWrongSetting(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings settings
		want     string // subject of the problem; empty: none
	}{
		{"defaults", settings{HTTPPort: 80, TLSPort: 443}, ""},
		{"IPv4", settings{HTTPPort: 80, TLSPort: 443, Address: "127.0.0.1"}, ""},
		{"IPv6", settings{HTTPPort: 80, TLSPort: 443, Address: "::1"}, ""},
		{"no port", settings{HTTPPort: 0, TLSPort: 443}, "http_port"},
		{"negative port", settings{HTTPPort: 80, TLSPort: -1}, "tls_port"},
		{"large port", settings{HTTPPort: 65536, TLSPort: 443}, "http_port"},
		{"same port", settings{HTTPPort: 8080, TLSPort: 8080}, "tls_port"},
		{"a name", settings{HTTPPort: 80, TLSPort: 443, Address: "localhost"}, "address"},
		{"address with port", settings{HTTPPort: 80, TLSPort: 443, Address: "127.0.0.1:80"}, "address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStandalone()
			s.settings = test.settings
			err := s.Configure(t.Context(), sdk.Instance{})
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			p := sdk.ProblemOf(err)
			if p.Subject != test.want || p.Code != sdk.InvalidConfig || p.Hint == "" {
				t.Errorf("got %+v, want one about %s with a hint", p, test.want)
			}
		})
	}
}

func TestHTTP01IsAnsweredByPathUntilCleanup(t *testing.T) {
	s := onLoopback(t)
	a, b := httpChallenge("a"), httpChallenge("b")
	performed(t, s, "", a, b)
	for _, c := range []sdk.Challenge{a, b} {
		if got := get(t, s, c.HTTP.Path); got != c.KeyAuthorization {
			t.Errorf("%s gives %q, want %q", c.HTTP.Path, got, c.KeyAuthorization)
		}
	}
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{"HEAD", a.HTTP.Path, 200}, {"POST", a.HTTP.Path, 405}, {"GET", "/", 404}, {"GET", challengePrefix, 404},
		{"GET", challengePrefix + "other", 404}, {"GET", a.HTTP.Path + "/", 404}, {"POST", "/", 404},
	} {
		if got, _ := request(t, s, test.method, test.path); got != test.want {
			t.Errorf("%s %s gives %d, want %d", test.method, test.path, got, test.want)
		}
	}
	cleaned(t, s, "", a)
	if status, _ := request(t, s, "GET", a.HTTP.Path); status != 404 {
		t.Errorf("a removed answer gives %d, want 404", status)
	}
	if got := get(t, s, b.HTTP.Path); got != b.KeyAuthorization {
		t.Errorf("the other answer gives %q, want %q", got, b.KeyAuthorization)
	}
	cleaned(t, s, "", b)
	closed(t, s.web)
	cleaned(t, s, "", a, b)
	performed(t, s, "", a)
	if got := get(t, s, a.HTTP.Path); got != a.KeyAuthorization {
		t.Errorf("opened again it gives %q, want %q", got, a.KeyAuthorization)
	}
	cleaned(t, s, "", a)
}

func TestTLSALPN01IsAnsweredBySNIAndProtocolOnly(t *testing.T) {
	s := onLoopback(t)
	name := alpnChallenge(t, "dns", "A.example", "a.example")
	ipv4 := alpnChallenge(t, "ip", "192.0.2.17", "17.2.0.192.in-addr.arpa")
	ipv6 := alpnChallenge(t, "ip", "2001:db8::1", "")
	performed(t, s, "", name, ipv4, ipv6)
	const reverse6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
	for sni, c := range map[string]sdk.Challenge{
		"a.example": name, "A.EXAMPLE": name, "17.2.0.192.in-addr.arpa": ipv4, reverse6: ipv6,
	} {
		state, err := handshake(t, s, sni, alpnProtocol)
		if err != nil {
			t.Errorf("handshake for %s: %v", sni, err)
			continue
		}
		if state.NegotiatedProtocol != alpnProtocol {
			t.Errorf("protocol for %s is %q", sni, state.NegotiatedProtocol)
		}
		pair, err := tls.X509KeyPair(c.ALPN.CertPEM, c.ALPN.KeyPEM)
		if err != nil {
			t.Fatal(err)
		}
		if !state.PeerCertificates[0].Equal(pair.Leaf) {
			t.Errorf("%s shows another certificate", sni)
		}
	}
	for _, test := range []struct {
		sni       string
		protocols []string
	}{
		{"a.example", nil}, {"a.example", []string{"h2", "http/1.1"}}, {"b.example", []string{alpnProtocol}},
		{"", []string{alpnProtocol}},
	} {
		if _, err := handshake(t, s, test.sni, test.protocols...); err == nil {
			t.Errorf("a handshake for %q with %q succeeds", test.sni, test.protocols)
		}
	}
	cleaned(t, s, "", name, ipv4, ipv6)
	closed(t, s.alpn)
}

func TestOnlyThePortsThatTheBatchNeedsAreOpened(t *testing.T) {
	s := onLoopback(t)
	web, alpn := httpChallenge("a"), alpnChallenge(t, "dns", "a.example", "a.example")
	performed(t, s, "", web)
	closed(t, s.alpn)
	cleaned(t, s, "", web)
	performed(t, s, "", alpn)
	closed(t, s.web)
	cleaned(t, s, "", alpn)
}

func TestSameOperationTwiceLeavesNoDuplicate(t *testing.T) {
	s := onLoopback(t)
	web, alpn := httpChallenge("a"), alpnChallenge(t, "dns", "a.example", "a.example")
	performed(t, s, "lineage", web, alpn)
	performed(t, s, "lineage", web, alpn)
	cleaned(t, s, "lineage", web, alpn)
	closed(t, s.web)
	closed(t, s.alpn)
}

// A CA may give one pending authorization to two orders (RFC 8555 section 7.4).
func TestAnAnswerStaysWhileAnotherOrderNeedsIt(t *testing.T) {
	s := onLoopback(t)
	c := httpChallenge("shared")
	performed(t, s, "one", c)
	performed(t, s, "two", c)
	cleaned(t, s, "one", c)
	cleaned(t, s, "one", c)
	if got := get(t, s, c.HTTP.Path); got != c.KeyAuthorization {
		t.Errorf("gives %q while an order needs it", got)
	}
	cleaned(t, s, "two", c)
	closed(t, s.web)
}

// Two certificates for one name, say RSA and ECDSA, are ordered at once; only
// one answer can be shown for the name at a time.
func TestAnotherOrderForTheSameServerNameIsWaitedFor(t *testing.T) {
	s := onLoopback(t)
	first, second := alpnChallenge(t, "dns", "a.example", ""), alpnChallenge(t, "dns", "a.example", "")
	second.KeyAuthorization = "another"
	performed(t, s, "rsa", first)
	r := &recorder{told: make(chan string, 8)}
	ended := make(chan error, 1)
	go func() { ended <- s.Perform(operation(t.Context(), "ecdsa"), []sdk.Challenge{second}, r) }()
	select {
	case message := <-r.told:
		if !strings.Contains(message, "waits") {
			t.Errorf("the progress is %q", message)
		}
	case err := <-ended:
		t.Fatalf("Perform did not wait: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("Perform says nothing")
	}
	cleaned(t, s, "rsa", first)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	state, err := handshake(t, s, "a.example", alpnProtocol)
	if err != nil {
		t.Fatal(err)
	}
	pair, _ := tls.X509KeyPair(second.ALPN.CertPEM, second.ALPN.KeyPEM)
	if !state.PeerCertificates[0].Equal(pair.Leaf) {
		t.Error("the second certificate is not shown")
	}
	cleaned(t, s, "ecdsa", second)
	closed(t, s.alpn)
}

func TestCancelWhileWaitingForAnotherOrderWithdraws(t *testing.T) {
	s := onLoopback(t)
	first, second := alpnChallenge(t, "dns", "a.example", ""), alpnChallenge(t, "dns", "a.example", "")
	second.KeyAuthorization = "another"
	performed(t, s, "one", first)
	ctx, cancel := context.WithCancel(t.Context())
	r := &recorder{told: make(chan string, 8)}
	ended := make(chan error, 1)
	go func() {
		ended <- s.Perform(operation(ctx, "two"), []sdk.Challenge{httpChallenge("w"), second}, r)
	}()
	<-r.told
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	closed(t, s.web)
	if _, err := handshake(t, s, "a.example", alpnProtocol); err != nil {
		t.Errorf("the other order's answer is gone: %v", err)
	}
	cleaned(t, s, "one", first)
}

func TestWhatCannotBeAnsweredDoesNotStopTheRest(t *testing.T) {
	s := onLoopback(t)
	good := httpChallenge("good")
	dns := sdk.Challenge{ID: "dns", Type: sdk.DNS01, Identifier: sdk.Identifier{Type: "dns", Value: "a.example"}}
	outside := httpChallenge("outside")
	outside.HTTP.Path = "/etc/passwd"
	empty := httpChallenge("empty")
	empty.HTTP = nil
	broken := alpnChallenge(t, "dns", "a.example", "a.example")
	broken.ID, broken.ALPN.KeyPEM = "broken", []byte("no key")
	r := &recorder{}
	if err := s.Perform(t.Context(), []sdk.Challenge{dns, outside, empty, broken, good}, r); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"dns", "http-outside", "http-empty", "broken"} {
		if r.result(t, id).Err == nil {
			t.Errorf("challenge %s is accepted", id)
		}
	}
	if p := sdk.ProblemOf(r.result(t, "dns").Err); p.Code != sdk.Unsupported || p.Subject != "dns" || p.Retry != sdk.RetryNever {
		t.Errorf("the problem of an unknown type is %+v", p)
	}
	if err := r.result(t, good.ID).Err; err != nil {
		t.Error(err)
	}
	if got := get(t, s, good.HTTP.Path); got != good.KeyAuthorization {
		t.Errorf("gives %q, want %q", got, good.KeyAuthorization)
	}
	cleaned(t, s, "", dns, outside, empty, broken, good)
	closed(t, s.web)
}

func TestConcurrentOrdersShareTheListener(t *testing.T) {
	s := onLoopback(t)
	var orders sync.WaitGroup
	for i := range 16 {
		web := httpChallenge(fmt.Sprintf("token-%d", i))
		alpn := alpnChallenge(t, "dns", fmt.Sprintf("n%d.example", i), "")
		orders.Go(func() {
			lineage := fmt.Sprint("lineage-", i)
			for range 4 {
				r := &recorder{}
				if err := s.Perform(operation(t.Context(), lineage), []sdk.Challenge{web, alpn}, r); err != nil {
					t.Errorf("perform: %v", err)
				}
				for _, c := range []sdk.Challenge{web, alpn} {
					if err := r.result(t, c.ID).Err; err != nil {
						t.Errorf("result of %s: %v", c.ID, err)
					}
				}
				if got := get(t, s, web.HTTP.Path); got != web.KeyAuthorization {
					t.Errorf("%s gives %q", web.HTTP.Path, got)
				}
				if err := s.Cleanup(operation(t.Context(), lineage), []sdk.Challenge{web, alpn}, r); err != nil {
					t.Errorf("cleanup: %v", err)
				}
			}
		})
	}
	orders.Wait()
	closed(t, s.web)
	closed(t, s.alpn)
}
