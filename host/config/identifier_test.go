package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
)

func TestParseIdentifier(t *testing.T) {
	label := strings.Repeat("x", 63)
	for in, want := range map[string]string{ // "type name"
		"example.com":             "dns example.com",
		"EXAMPLE.Com":             "dns example.com",
		"example.com.":            "dns example.com",
		"*.Example.com.":          "dns *.example.com",
		"bücher.example":          "dns xn--bcher-kva.example",
		"BÜCHER.example":          "dns xn--bcher-kva.example",
		"XN--BCHER-KVA.example":   "dns xn--bcher-kva.example",
		"*.bücher.example":        "dns *.xn--bcher-kva.example",
		"faß.example":             "dns xn--fa-hia.example",
		"_dmarc.example.com":      "dns _dmarc.example.com",
		"localhost":               "dns localhost",
		"1.2.3.4.in-addr.arpa":    "dns 1.2.3.4.in-addr.arpa",
		"3com.example":            "dns 3com.example",
		label + ".example":        "dns " + label + ".example",
		"192.0.2.1":               "ip 192.0.2.1",
		"2001:DB8:0:0::1":         "ip 2001:db8::1",
		"[2001:db8::1]":           "ip 2001:db8::1",
		"::ffff:192.0.2.1":        "ip 192.0.2.1",
		"::1":                     "ip ::1",
		"xn--bcher-kva.xn--p1ai.": "dns xn--bcher-kva.xn--p1ai",
	} {
		id, err := ParseIdentifier(in)
		if got := id.Type + " " + id.String(); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"":                              "is not a domain name",
		".":                             "is not a domain name",
		"*":                             "a wildcard can only stand alone at the front",
		"*.":                            "a wildcard can only stand alone at the front",
		"**.example.com":                "a wildcard",
		"a.*.example.com":               "a wildcard",
		"w*.example.com":                "a wildcard",
		"*.*.example.com":               "a wildcard",
		"a..example.com":                "is not a domain name",
		"a b.example":                   "has characters that a host name cannot have",
		" a.example":                    "is not a domain name",
		"-a.example":                    `invalid label "-a"`,
		"a-.example":                    `invalid label "a-"`,
		"a/b.example":                   "is not a domain name",
		"a.example:443":                 "is not a domain name",
		"https://a.example":             "is not a domain name",
		"a@b.example":                   "is not a domain name",
		"xn--\x00.example":              "is not a domain name",
		"xn--a-ä.example":               "is not a domain name",
		label + "x.example":             "is not a domain name",
		strings.Repeat("abcdefg.", 32):  "is not a domain name",
		"192.0.2.1.":                    "is a number",
		"*.192.0.2.1":                   "is a number",
		"192.0.2":                       "is a number",
		"192.0.2.256":                   "is a number",
		"[2001:db8::1":                  "is not a domain name",
		"]2001:db8::1[":                 "is not a domain name",
		"[192.0.2.1]]":                  "is not a domain name",
		"fe80::1%eth0":                  "has a zone",
		"2001:db8::/32":                 "is not a domain name",
		"a\u200b\u202eb.example\u0000x": "is not a domain name",
	} {
		if id, err := ParseIdentifier(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", in, id, err, want)
		}
	}
}

func TestParseIdentifiers(t *testing.T) {
	ids, err := ParseIdentifiers([]string{"b.example", "B.example.", "a.example", "*.a.example", "[::1]", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b.example", "a.example", "*.a.example", "::1"}, model.Names(ids)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = ParseIdentifiers([]string{"a b", "ok.example", "*"})
	if err == nil || !strings.Contains(err.Error(), `"a b"`) || !strings.Contains(err.Error(), `"*"`) {
		t.Errorf("not every mistake is named: %v", err)
	}
}

func TestLineageName(t *testing.T) {
	for in, want := range map[string]string{
		"Example.COM": "example.com", "*.example.com": "example.com", "bücher.example": "xn--bcher-kva.example",
		"192.0.2.1": "192.0.2.1", "2001:db8::1": "2001-db8--1", "::1": "--1",
	} {
		id, err := ParseIdentifier(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := LineageName(id); got != want || !validName(got) {
			t.Errorf("%s: %q (valid: %v), want %q", in, got, validName(got), want)
		}
	}
	for name, want := range map[string]bool{
		"a": true, "a.b_c-d": true, "example.com-0001": true, strings.Repeat("x", 230): true,
		"": false, ".a": false, "..": false, "a/b": false, "A": false, "a b": false, "ä": false, strings.Repeat("x", 231): false,
	} {
		if validName(name) != want {
			t.Errorf("%q: valid is not %v", name, want)
		}
	}
}

func TestParseMatch(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "Example.com.": "example.com", "*.Bücher.example": "*.xn--bcher-kva.example", ".Bücher.example": ".xn--bcher-kva.example",
		"type:ip": "type:ip", "type:dns": "type:dns", "[2001:DB8::1]": "2001:db8::1", ".com": ".com",
	} {
		if got, err := ParseMatch(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"type:", "type:IP", ".", ".*.example.com", ".192.0.2.1", "a b", "*"} {
		if got, err := ParseMatch(in); err == nil {
			t.Errorf("%q gives %q", in, got)
		}
	}
}

func TestChallengeTypes(t *testing.T) {
	got := ChallengeTypes([]string{"HTTP", " dns ", "tls-alpn-01", "tls-alpn", "dns-account", "other"})
	if diff := cmp.Diff([]string{"http-01", "dns-01", "tls-alpn-01", "tls-alpn-01", "dns-account-01", "other"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestServerURL(t *testing.T) {
	for in, want := range map[string]string{
		"letsencrypt":           "https://acme-v02.api.letsencrypt.org/directory",
		"letsencrypt-staging":   "https://acme-staging-v02.api.letsencrypt.org/directory",
		"https://ca:14000/dir":  "https://ca:14000/dir",
		"http://ca.example/dir": "", "ca.example": "", "": "", "https://": "", "https:///dir": "", "://": "",
	} {
		got, err := ServerURL(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestAccountName(t *testing.T) {
	for in, want := range map[string]string{
		"https://acme-v02.api.letsencrypt.org/directory": "acme-v02.api.letsencrypt.org-directory",
		"https://LOCALHOST:14000/dir/":                   "localhost-14000-dir",
		"https://[::1]:14000/a/b?c=d":                    "1--14000-a-b",
		"https://ca.example":                             "ca.example",
	} {
		if got := AccountName(in); got != want || !validName(got) {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
