package testca_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/certwright/certwright/host/testca"
)

// ask gives the reply code and the data of the answer, one string per record.
func ask(t *testing.T, network, addr, name string, qtype uint16) (string, []string) {
	t.Helper()
	client := &dns.Client{Net: network, Timeout: 30 * time.Second}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype), addr)
	if err != nil {
		t.Fatalf("asking for %s over %s: %v", name, network, err)
	}
	var out []string
	for _, rr := range reply.Answer {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return dns.RcodeToString[reply.Rcode], out
}

func TestDNSRecords(t *testing.T) {
	resolver := start(t, testca.Options{}).DNS()
	resolver.SetTXT("_acme-challenge.a.test.", "one")
	resolver.AddTXT("_ACME-challenge.a.test", "two")
	resolver.AddTXT("_acme-challenge.a.test", "two")
	resolver.SetA("two.test", netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"))
	resolver.SetA("none.test")
	resolver.SetAAAA("six.test", netip.IPv6Loopback())
	resolver.SetCNAME("alias.test", "middle.test")
	resolver.SetCNAME("middle.test", "two.test")
	resolver.SetCNAME("round.test", "round.test")
	resolver.SetSERVFAIL("broken.test")
	long := strings.Repeat("x", 300)
	resolver.SetTXT("long.test", long)

	for _, tt := range []struct {
		name  string
		qtype uint16
		rcode string
		want  []string
	}{
		{"any.test", dns.TypeA, "NOERROR", []string{"127.0.0.1"}},
		{"any.test", dns.TypeAAAA, "NOERROR", nil},
		{"any.test", dns.TypeTXT, "NOERROR", nil},
		{"_acme-challenge.A.test", dns.TypeTXT, "NOERROR", []string{`"one"`, `"two"`}},
		{"two.test", dns.TypeA, "NOERROR", []string{"127.0.0.2", "127.0.0.3"}},
		{"none.test", dns.TypeA, "NOERROR", nil},
		{"six.test", dns.TypeAAAA, "NOERROR", []string{"::1"}},
		{"six.test", dns.TypeA, "NOERROR", []string{"127.0.0.1"}},
		{"alias.test", dns.TypeA, "NOERROR", []string{"middle.test.", "two.test.", "127.0.0.2", "127.0.0.3"}},
		{"alias.test", dns.TypeCNAME, "NOERROR", []string{"middle.test."}},
		{"broken.test", dns.TypeA, "SERVFAIL", nil},
		{"long.test", dns.TypeTXT, "NOERROR", []string{`"` + long[:255] + `" "` + long[255:] + `"`}},
	} {
		for _, network := range []string{"udp", "tcp"} {
			rcode, got := ask(t, network, resolver.Addr(), tt.name, tt.qtype)
			if rcode != tt.rcode || !cmp.Equal(got, tt.want) {
				t.Errorf("%s %s over %s: %s %q, want %s %q", dns.TypeToString[tt.qtype], tt.name, network, rcode, got, tt.rcode, tt.want)
			}
		}
	}
	if rcode, _ := ask(t, "tcp", resolver.Addr(), "round.test", dns.TypeA); rcode != "SERVFAIL" {
		t.Errorf("a circle of aliases: %s, want SERVFAIL", rcode)
	}

	resolver.DeleteTXT("_acme-challenge.a.test", "one")
	if got := resolver.TXT("_acme-challenge.a.test"); !cmp.Equal(got, []string{"two"}) {
		t.Errorf("after DeleteTXT of one value: %q", got)
	}
	resolver.DeleteTXT("_acme-challenge.a.test")
	if got := resolver.TXT("_acme-challenge.a.test"); len(got) != 0 {
		t.Errorf("after DeleteTXT of all: %q", got)
	}
	resolver.Clear("broken.test")
	if rcode, _ := ask(t, "udp", resolver.Addr(), "broken.test", dns.TypeA); rcode != "NOERROR" {
		t.Errorf("after Clear: %s", rcode)
	}
}

func TestDNSForwards(t *testing.T) {
	behind := start(t, testca.Options{}).DNS()
	behind.SetTXT("_acme-challenge.sub.zone.test", "behind", strings.Repeat("y", 2000))
	behind.SetA("sub.zone.test", netip.MustParseAddr("127.0.0.9"))
	deeper := start(t, testca.Options{}).DNS()
	deeper.SetTXT("x.deep.zone.test", "deeper")

	resolver := start(t, testca.Options{Zones: map[string]string{"zone.test": behind.Addr()}}).DNS()
	resolver.Forward("Deep.Zone.test.", deeper.Addr())
	resolver.SetCNAME("_acme-challenge.other.test", "_acme-challenge.sub.zone.test")
	behind.SetCNAME("leaves.zone.test", "here.test")
	resolver.SetTXT("here.test", "back")

	for _, tt := range []struct {
		name string
		want string
	}{
		{"_acme-challenge.sub.zone.test", "behind"},
		{"_acme-challenge.other.test", "behind"},
		{"x.deep.zone.test", "deeper"},
		{"leaves.zone.test", "back"},
	} {
		_, got := ask(t, "tcp", resolver.Addr(), tt.name, dns.TypeTXT)
		if !strings.Contains(strings.Join(got, " "), `"`+tt.want+`"`) {
			t.Errorf("%s: %.200q, want %q in it", tt.name, got, tt.want)
		}
	}
	if _, got := ask(t, "tcp", resolver.Addr(), "notzone.test", dns.TypeA); !cmp.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("a name outside the zone was passed on: %q", got)
	}
	resolver.Forward("zone.test", "127.0.0.1:1")
	if rcode, _ := ask(t, "tcp", resolver.Addr(), "a.zone.test", dns.TypeA); rcode != "SERVFAIL" {
		t.Errorf("a dead server behind a zone: %s, want SERVFAIL", rcode)
	}
}

// A zone that the server holds can be found, and what is in it is seen with
// authority.
func TestDNSServesZones(t *testing.T) {
	behind := start(t, testca.Options{}).DNS()
	behind.ServeZone("far.test")
	resolver := start(t, testca.Options{Zones: map[string]string{"far.test": behind.Addr()}}).DNS()
	resolver.ServeZone("Zone.test.")
	resolver.ServeZone("sub.zone.test")
	resolver.SetTXT("_acme-challenge.zone.test", "one")
	resolver.SetCNAME("alias.zone.test", "x.far.test")
	for _, tt := range []struct {
		name          string
		qtype         uint16
		authoritative bool
		answer, proof string // of the last record
	}{
		{"zone.test", dns.TypeSOA, true, "ns.zone.test. hostmaster.zone.test. 1 0 0 0 0", ""},
		{"zone.test", dns.TypeNS, true, "ns.zone.test.", ""},
		{"ns.zone.test", dns.TypeA, true, "127.0.0.1", ""},
		{"_acme-challenge.zone.test", dns.TypeTXT, true, `"one"`, ""},
		{"_acme-challenge.zone.test", dns.TypeSOA, true, "", "zone.test."},
		{"a.sub.zone.test", dns.TypeTXT, true, "", "sub.zone.test."},
		{"zone.test", dns.TypeTXT, true, "", "zone.test."},
		{"elsewhere.test", dns.TypeSOA, false, "", ""},
		{"far.test", dns.TypeSOA, false, "ns.far.test. hostmaster.far.test. 1 0 0 0 0", ""},
		{"x.far.test", dns.TypeTXT, false, "", "far.test."},
		{"alias.zone.test", dns.TypeTXT, true, "x.far.test.", "far.test."},
	} {
		client := &dns.Client{Timeout: 30 * time.Second}
		reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(tt.name), tt.qtype), resolver.Addr())
		if err != nil {
			t.Fatal(err)
		}
		answer, proof := "", ""
		for _, rr := range reply.Answer {
			answer = strings.TrimPrefix(rr.String(), rr.Header().String())
		}
		for _, rr := range reply.Ns {
			proof = rr.Header().Name
		}
		if reply.Authoritative != tt.authoritative || answer != tt.answer || proof != tt.proof || reply.Rcode != dns.RcodeSuccess {
			t.Errorf("%s %s: %t %q %q, want %+v", dns.TypeToString[tt.qtype], tt.name, reply.Authoritative, answer, proof, tt)
		}
	}
}
