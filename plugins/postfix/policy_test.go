package main

import (
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// Each list of versions is kept, or replaced by one that forbids what it forbade
// and SSL too.
func TestSecureProtocols(t *testing.T) {
	for _, test := range []struct{ value, version, want string }{
		{"", "3.7.11", ">=TLSv1"},
		{"", "3.5.6", "!SSLv2, !SSLv3"},
		{">=TLSv1", "3.7.11", ""},
		{">= TLSv1", "3.7.11", ""}, // postfix reads it as nonsense, and says so
		{">=TLSv1.2, <=TLSv1.3", "3.7.11", ""},
		{"<=TLSv1.3", "3.7.11", ">=TLSv1"},
		{">=0x0303", "3.7.11", ""},
		{"!SSLv2, !SSLv3", "3.7.11", ""},
		{"!sslv2 !sslv3", "3.7.11", ""},
		{"!SSLv3", "3.7.11", ""},
		{"!SSLv2", "3.7.11", ">=TLSv1"},
		{"!SSLv2", "3.4", "!SSLv2, !SSLv3"},
		{"!SSLv2, !TLSv1", "3.4.0", "!SSLv2, !SSLv3, !TLSv1"},
		{"!SSLv2, !TLSv1", "3.10-20250101", ">=TLSv1.1"},
		{"!SSLv2, !TLSv1.1", "3.7", "!SSLv2, !SSLv3, !TLSv1.1"},
		{"TLSv1", "3.7", ">=TLSv1.2"},
		{"TLSv1, SSLv3", "3.5", "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1"},
		{"TLSv1.2", "3.7", ""},
		{"TLSv1.3", "3.7", ""},
		{">=TLSv1.3", "3.7", ""},
		{"SSLv3 TLSv1.3", "3.7", ">=TLSv1.3"},
		{"!SSLv3, !TLSv1.2, !TLSv1.3", "3.7", ">=TLSv1.2"},
		{"nonsense", "3.7", ""},
	} {
		got, changed := secureProtocols(test.value, test.version)
		if got != test.want || changed != (test.want != "") {
			t.Errorf("%q with %s: %q %v, want %q", test.value, test.version, got, changed, test.want)
		}
	}
}

func TestLevel(t *testing.T) {
	for _, test := range []struct {
		value, enforce string
		change         bool
	}{
		{"", "", true},
		{"none", "", true},
		{"", "yes", false},
		{"may", "", false},
		{"encrypt", "", false},
		{"dane-only", "", false},
		{"not-known-yet", "", false},
	} {
		got, change := level("smtp_").better(test.value, map[string]string{"smtp_enforce_tls": test.enforce})
		if change != test.change || change && got != "may" {
			t.Errorf("%q, enforced %q: %q %v", test.value, test.enforce, got, change)
		}
	}
}

// Old parameters are emptied, unless something else depends on them.
func TestChanges(t *testing.T) {
	chain := []string{"/k", "/f"}
	edits, remarks := changes(nil, map[string]string{"smtpd_tls_chain_files": "/old"}, map[string]string{
		"smtpd_tls_cert_file": "/c", "smtp_tls_cert_file": "${smtpd_tls_cert_file}", "smtpd_tls_key_file": "$smtpd_tls_cert_file",
		"smtpd_tls_eccert_file": "/e", "smtpd_tls_dkey_file": "",
	}, chain)
	equal(t, map[string]string{"smtpd_tls_chain_files": "/k, /f", "smtpd_tls_key_file": "", "smtpd_tls_eccert_file": ""}, edits)
	if len(remarks) != 1 || !strings.HasPrefix(remarks[0], "smtpd_tls_cert_file stays") {
		t.Errorf("%q", remarks)
	}
	edits, _ = changes(nil, map[string]string{"smtpd_tls_chain_files": "/k /f"}, nil, chain)
	equal(t, map[string]string{}, edits)
}

func TestEndpoints(t *testing.T) {
	lines := []string{
		"smtp inet n - y - - smtpd",
		"587 inet n - y - - smtpd -o x=y",
		"127.0.0.1:smtps inet n - n - - smtpd",
		"[::1]:26 inet n - n - 1 postscreen",
		"mail.a.test:27 inet n - n - - smtpd",
		"28 inet n - n - - smtpd", "29 inet n - n - - smtpd", "no-such inet n - n - - smtpd", "30 inet n - n - - qmqpd",
		"smtp unix - - y - - smtp",
		"smtpd pass - - y - - smtpd",
	}
	overrides := []string{
		"127.0.0.1:smtps/inet/smtpd_tls_wrappermode = yes", "28/inet/smtpd_tls_security_level = none",
		"29/inet/smtpd_upstream_proxy_protocol = haproxy",
	}
	services := parseServices(lines, overrides)
	for _, test := range []struct{ interfaces, protocols, want string }{
		{"all", "all", "smtp localhost:25, smtp localhost:587"},
		{"loopback-only", "ipv4", "smtp 127.0.0.1:25, smtp 127.0.0.1:587"},
		{"192.0.2.1, [2001:db8::1]", "all", "smtp 192.0.2.1:25, smtp [2001:db8::1]:25, smtp 192.0.2.1:587, smtp [2001:db8::1]:587"},
	} {
		main := map[string]string{"smtpd_tls_security_level": "may", "inet_interfaces": test.interfaces, "inet_protocols": test.protocols}
		got, unproven := endpoints(services, main, nil)
		var words []string
		for _, e := range got {
			words = append(words, string(e.Kind)+" "+e.Address)
		}
		equal(t, test.want+", tls 127.0.0.1:465, smtp [::1]:26, smtp mail.a.test:27", strings.Join(words, ", "))
		equal(t, 2, len(unproven))
	}
}

func TestSettings(t *testing.T) {
	s := settings{ConfigDir: "etc", CommandDirectory: "/usr/sbin", QueueDirectory: "/q", Endpoints: []string{"smtp://a.test"}}
	err := s.check()
	for _, want := range []string{"setting config_dir", "setting endpoints", `"smtp://a.test" is not host:port`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	got, err := parseEndpoints([]string{"smtp://mail.a.test:smtp", "[::1]:465"})
	must(t, err)
	equal(t, []sdk.Endpoint{{Address: "mail.a.test:smtp", Kind: sdk.SMTP}, {Address: "[::1]:465", Kind: sdk.TLS}}, got)
}

func TestVersions(t *testing.T) {
	for _, test := range []struct {
		version, than string
		want          bool
	}{{"3.7.11", "3.4", false}, {"3.3.22", "3.4", true}, {"3.10-20250101", "3.4", false}, {"4.0", "3.4", false}, {"2.11", "3.4", true}} {
		if got := older(test.version, test.than); got != test.want {
			t.Errorf("older(%s, %s) = %v", test.version, test.than, got)
		}
	}
}
