package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

func TestDeclaration(t *testing.T) {
	d, err := declaration(&rfc2136{}).Description()
	if err != nil {
		t.Fatal(err)
	}
	if d.DNS != sdk.HostDNS || len(d.ChallengeTypes) != 2 || d.ChallengeTypes[0].Type != sdk.DNS01 || d.ChallengeTypes[1].Type != sdk.DNSAccount01 {
		t.Errorf("dns is %q, the challenge types are %v", d.DNS, d.ChallengeTypes)
	}
	if !d.Permissions.UDP || d.Permissions.Children || len(d.Permissions.Read)+len(d.Permissions.Write)+len(d.Permissions.Execute) > 0 {
		t.Errorf("the permissions are %+v", d.Permissions)
	}
	for _, s := range d.Settings {
		if s.Secret != (s.Name == "tsig_secret") || s.Required != (s.Name == "server") || s.Doc == "" {
			t.Errorf("setting %+v", s)
		}
	}
}

func TestSettingsThatAreRight(t *testing.T) {
	for server, want := range map[string]string{
		"ns1.example.com":      "ns1.example.com:53",
		"ns1.example.com.":     "ns1.example.com.:53",
		"ns1.example.com:5353": "ns1.example.com:5353",
		"192.0.2.1":            "192.0.2.1:53",
		"192.0.2.1:5353":       "192.0.2.1:5353",
		"2001:db8::1":          "[2001:db8::1]:53",
		"[2001:db8::1]":        "[2001:db8::1]:53",
		"[2001:db8::1]:5353":   "[2001:db8::1]:5353",
		"localhost":            "localhost:53",
	} {
		r := configured(t, settings{Server: server})
		if r.client.server != want || r.client.key != (key{}) {
			t.Errorf("%s gives %s and key %v", server, r.client.server, r.client.key)
		}
	}
	s := signing("ns1.example.com")
	s.TSIGName, s.TSIGSecret, s.TSIGAlgorithm = "Acme.Example.COM", goodSecret+"\n", "hmac-sha512"
	if got, want := configured(t, s).client.key, (key{"acme.example.com.", "hmac-sha512.", goodSecret}); got != want {
		t.Errorf("the key is %s %s, want %s %s", got, got.algorithm, want, want.algorithm)
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	right := settings{Server: "192.0.2.1", TSIGAlgorithm: "hmac-sha256", TTL: time.Minute, Timeout: time.Minute}
	for name, c := range map[string]struct {
		change  func(*settings)
		setting string
		words   string
	}{
		"no server":           {func(s *settings) { s.Server = "" }, "server", "neither"},
		"port alone":          {func(s *settings) { s.Server = ":53" }, "server", "neither"},
		"port zero":           {func(s *settings) { s.Server = "ns1:0" }, "server", "not a port"},
		"port too large":      {func(s *settings) { s.Server = "ns1:65536" }, "server", "not a port"},
		"port of words":       {func(s *settings) { s.Server = "ns1:domain" }, "server", "not a port"},
		"no port after colon": {func(s *settings) { s.Server = "ns1:" }, "server", "not a port"},
		"a URL":               {func(s *settings) { s.Server = "https://ns1" }, "server", ""},
		"two colons":          {func(s *settings) { s.Server = "ns1:53:53" }, "server", "neither"},
		"a space":             {func(s *settings) { s.Server = "ns1 53" }, "server", "neither"},
		"a name without end":  {func(s *settings) { s.Server = strings.Repeat("a", 64) }, "server", "neither"},
		"key without secret":  {func(s *settings) { s.TSIGName = "key" }, "tsig_secret", "no tsig_secret"},
		"secret without key":  {func(s *settings) { s.TSIGSecret = goodSecret }, "tsig_name", "no tsig_name"},
		"not base64":          {func(s *settings) { s.TSIGName, s.TSIGSecret = "key", "Tr0ub4dor&3" }, "tsig_secret", "not base64"},
		"blank secret":        {func(s *settings) { s.TSIGName, s.TSIGSecret = "key", " \n" }, "tsig_secret", "no tsig_secret"},
		"key that is no name": {func(s *settings) { s.TSIGName, s.TSIGSecret = "a..b", goodSecret }, "tsig_name", "a..b"},
		"negative ttl":        {func(s *settings) { s.TTL = -time.Second }, "ttl", "-1s"},
		"ttl without end":     {func(s *settings) { s.TTL = 1 << 62 }, "ttl", ""},
		"no time":             {func(s *settings) { s.Timeout = 0 }, "timeout", "0s"},
	} {
		s := right
		c.change(&s)
		r := &rfc2136{}
		r.settings = s
		p := sdk.ProblemOf(r.Configure(t.Context(), sdk.Instance{Name: "test", ValidateOnly: true}))
		if p == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		if p.Code != sdk.InvalidConfig || p.Subject != c.setting || p.Retry != sdk.RetryNever || p.Hint == "" || !strings.Contains(p.Error(), c.words) {
			t.Errorf("%s gives %+v", name, p)
		}
		if strings.Contains(fmt.Sprintf("%+v", p), "Tr0ub4dor") {
			t.Errorf("%s shows the secret: %+v", name, p)
		}
	}
}

// One record in, the same record out; nothing else is touched or asked for.
func TestWhatAnUpdateSays(t *testing.T) {
	f := startFake(t, answers(dns.RcodeSuccess), silent)
	r := configured(t, signing(f.addr))
	if receipt, err := r.SetTXT(t.Context(), txt("value")); err != nil || receipt != nil {
		t.Fatalf("set: %q, %v", receipt, err)
	}
	if err := r.DeleteTXT(t.Context(), txt("value")); err != nil {
		t.Fatal(err)
	}
	seen, over := f.asked()
	if len(seen) != 2 || over[0] != "udp" || over[1] != "udp" || f.bad != nil {
		t.Fatalf("%d messages over %v, signatures %v", len(seen), over, f.bad)
	}
	for i, want := range []string{
		"_acme-challenge.www.zone.test.\t60\tIN\tTXT\t\"value\"",
		"_acme-challenge.www.zone.test.\t0\tNONE\tTXT\t\"value\"", // RFC 2136 section 2.5.4
	} {
		m := seen[i]
		if m.Opcode != dns.OpcodeUpdate || len(m.Question) != 1 || m.Question[0] != (dns.Question{Name: "zone.test.", Qtype: dns.TypeSOA, Qclass: dns.ClassINET}) {
			t.Errorf("update %d is for %v", i, m.Question)
		}
		if len(m.Answer) != 0 || len(m.Ns) != 1 || m.Ns[0].String() != want {
			t.Errorf("update %d has prerequisites %v and says %v, want %q", i, m.Answer, m.Ns, want)
		}
		if signature := m.IsTsig(); signature == nil || signature.Hdr.Name != "key." || len(m.Extra) != 1 {
			t.Errorf("update %d has %v", i, m.Extra)
		}
	}
	if seen[0].Id == seen[1].Id {
		t.Errorf("two messages have the same ID %d", seen[0].Id)
	}
}

func TestWithoutAKeyNothingIsSigned(t *testing.T) {
	f := startFake(t, unsigned(dns.RcodeSuccess), silent)
	r := configured(t, settings{Server: f.addr})
	if _, err := r.SetTXT(t.Context(), txt("value")); err != nil {
		t.Fatal(err)
	}
	if seen, _ := f.asked(); len(seen) != 1 || len(seen[0].Extra) != 0 || seen[0].Ns[0].Header().Ttl != 0 {
		t.Errorf("asked %v", seen)
	}
}

func TestValuesArriveAsTheyAre(t *testing.T) {
	for _, value := range []string{"", `a"b\c\098; d`, strings.Repeat("x", 255), strings.Repeat(`\`, 256), strings.Repeat("abc", 200)} {
		packed := make([]byte, 4096)
		record, err := recordOf(txt(value), 0)
		if err != nil {
			t.Fatal(err)
		}
		n, err := dns.PackRR(record, packed, 0, nil, false)
		if err != nil {
			t.Errorf("%.20q: %v", value, err)
			continue
		}
		// After the name come type, class, TTL and length: ten bytes.
		rdata := packed[len(record.Hdr.Name)+1+10 : n]
		var got strings.Builder
		for len(rdata) > 0 {
			size := int(rdata[0])
			got.Write(rdata[1 : 1+size])
			rdata = rdata[1+size:]
		}
		if got.String() != value {
			t.Errorf("%.20q arrives as %.20q", value, got.String())
		}
	}
}

func TestNamesThatAreNone(t *testing.T) {
	r := configured(t, settings{Server: "127.0.0.1"})
	for _, wrong := range []sdk.TXT{{Name: "a.test"}, {Zone: "test"}, {Zone: "test", Name: "a..test"}, {Zone: ".."}} {
		_, err := r.SetTXT(t.Context(), wrong)
		for _, p := range []*sdk.Problem{sdk.ProblemOf(err), sdk.ProblemOf(r.DeleteTXT(t.Context(), wrong))} {
			if p == nil || p.Code != sdk.Internal || p.Retry != sdk.RetryNever {
				t.Errorf("%+v gives %+v", wrong, p)
			}
		}
	}
}
