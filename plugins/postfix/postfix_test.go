package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// set changes main.cf, as its owner does. Nothing may be there twice: postlogd
// never ends to complain about that to itself.
func (m *mailServer) set(t *testing.T, lines string) {
	t.Helper()
	words := append([]string{"-c", m.path("etc"), "-e"}, strings.Split(strings.TrimSpace(lines), "\n")...)
	if out, err := exec.CommandContext(t.Context(), "/usr/sbin/postconf", words...).CombinedOutput(); err != nil {
		t.Fatalf("postconf -e: %v\n%s", err, out)
	}
}

// value is what Postfix makes of main.cf.
func (m *mailServer) value(t *testing.T, name string) string {
	t.Helper()
	values, err := programs{settings: m.settings()}.postconf(t.Context(), "-x", name)
	must(t, err)
	return values[name]
}

// A certificate is deployed, renewed without a change of main.cf, and taken
// back to the byte; a client sees each step.
func TestDeployRenewRollBack(t *testing.T) {
	t.Parallel()
	m, state := running(t), t.TempDir()
	p := m.plugin(t, state)
	m.shows(t, []byte(read(t, m.path("old.pem"))))
	before := m.tree(t)

	first := placed(t, m.path("deployed"), certificate(t, "a.test"))
	c, r := deployed(t, p, first, "1")
	if c.ID == "" {
		t.Error("there is no checkpoint")
	}
	m.shows(t, first.LeafPEM)
	text := read(t, m.main())
	for _, want := range []string{
		"# Mail for a.test.\n", "mydomain   =   a.test\n", "mynetworks =\n    127.0.0.0/8\n    [::1]/128\n", "# Debian's.\n",
		"smtpd_tls_chain_files = " + first.ConfigPaths.Privkey + ", " + first.ConfigPaths.Fullchain + "\n",
		"smtpd_tls_cert_file = \n", "smtpd_tls_key_file = \n", "smtpd_tls_security_level = may\n", "smtp_tls_security_level = dane\n",
		"smtpd_tls_auth_only = yes\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("main.cf lacks %q:\n%s", want, text)
		}
	}
	if got := m.tree(t)["master.cf"]; got != before["master.cf"] {
		t.Errorf("master.cf is edited:\n%s", got)
	}
	kinds := map[string]sdk.EndpointKind{}
	for _, e := range r.results[0].Endpoints {
		kinds[e.Address] = e.Kind
	}
	equal(t, map[string]sdk.EndpointKind{m.smtp: sdk.SMTP, m.smtps: sdk.TLS}, kinds)

	saved := m.tree(t)
	second := placed(t, m.path("deployed"), certificate(t, "a.test"))
	c, _ = deployed(t, p, second, "2")
	equal(t, "", c.ID)
	equal(t, saved, m.tree(t))
	m.shows(t, second.LeafPEM)

	// In a new process.
	p = m.plugin(t, state)
	must(t, p.Rollback(during(t.Context(), "a.test", "back"), 1, r))
	equal(t, before, m.tree(t))
	must(t, p.ConfigTest(during(t.Context(), "a.test", "test"), r))
	must(t, p.Restart(during(t.Context(), "a.test", "restart"), r))
	m.shows(t, []byte(read(t, m.path("old.pem"))))
}

// What is more secure than asked for stays, whatever way it is written.
func TestNothingIsLowered(t *testing.T) {
	t.Parallel()
	m := configured(t)
	m.set(t, `smtpd_tls_security_level = encrypt
smtpd_tls_protocols = >=TLSv1.3
smtpd_tls_mandatory_protocols = !SSLv2, !SSLv3, !TLSv1
smtp_tls_security_level = secure
smtp_tls_protocols = TLSv1.2 TLSv1.3
smtp_tls_mandatory_protocols = !SSLv2, !TLSv1
smtpd_tls_ciphers = high
smtp_tls_ciphers = low
smtp_tls_mandatory_ciphers = high
smtpd_tls_exclude_ciphers = CAMELLIA, anull
`)
	m.start(t)
	d := placed(t, m.path("deployed"), certificate(t, "a.test"))
	deployed(t, m.plugin(t, t.TempDir()), d, "1")
	m.shows(t, d.LeafPEM)
	for name, want := range map[string]string{
		"smtpd_tls_security_level": "encrypt", "smtpd_tls_protocols": ">=TLSv1.3",
		"smtpd_tls_mandatory_protocols": "!SSLv2, !SSLv3, !TLSv1", "smtp_tls_security_level": "secure",
		"smtp_tls_protocols": "TLSv1.2 TLSv1.3", "smtp_tls_mandatory_protocols": ">=TLSv1.1",
		"smtpd_tls_ciphers": "high", "smtp_tls_ciphers": "medium", "smtp_tls_mandatory_ciphers": "high",
		"smtpd_tls_exclude_ciphers": "CAMELLIA, anull, eNULL, EXPORT, DES, 3DES, RC4, MD5, PSK",
	} {
		equal(t, name+" = "+want, name+" = "+m.value(t, name))
	}
}

// The modes leave alone what they name.
func TestModes(t *testing.T) {
	t.Parallel()
	weak := "smtpd_tls_protocols =\nsmtp_tls_protocols =\nsmtp_tls_security_level =\nsmtpd_tls_security_level = none\n"
	tests := map[string]struct {
		change func(*settings)
		want   map[string]string
	}{
		"all": {func(*settings) {}, map[string]string{
			"smtpd_tls_security_level": "may", "smtp_tls_security_level": "may", "smtpd_tls_auth_only": "yes",
			"smtpd_tls_protocols": ">=TLSv1", "smtp_tls_protocols": ">=TLSv1",
		}},
		"server only": {func(s *settings) { s.ServerOnly = true }, map[string]string{
			"smtpd_tls_security_level": "may", "smtp_tls_security_level": "", "smtpd_tls_auth_only": "yes",
			"smtpd_tls_protocols": ">=TLSv1", "smtp_tls_protocols": "",
		}},
		"TLS only": {func(s *settings) { s.TLSOnly = true }, map[string]string{
			"smtpd_tls_security_level": "may", "smtp_tls_security_level": "may", "smtpd_tls_auth_only": "no",
			"smtpd_tls_protocols": "", "smtp_tls_protocols": "", "smtpd_tls_exclude_ciphers": "",
		}},
	}
	m := configured(t)
	m.set(t, weak)
	m.start(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before := m.tree(t)
			p := m.plugin(t, t.TempDir(), test.change)
			d := placed(t, m.path("deployed"), certificate(t, "a.test"))
			deployed(t, p, d, "1")
			for name, want := range test.want {
				equal(t, name+" = "+want, name+" = "+m.value(t, name))
			}
			m.shows(t, d.LeafPEM)
			must(t, p.Rollback(during(t.Context(), "a.test", "back"), 1, &recorder{}))
			equal(t, before, m.tree(t))
		})
	}
}

// Options of services in master.cf are reported with service and value; nothing
// is written then, and master.cf never.
func TestOverrides(t *testing.T) {
	t.Parallel()
	m := running(t)
	write(t, m.master(), read(t, m.master())+`127.0.0.1:10 inet n - n - - smtpd
  -o smtpd_tls_security_level=none -o smtpd_tls_protocols=>=TLSv1.2
  -o smtpd_tls_ciphers=low
[::1]:11 inet n - n - - smtpd -o smtpd_tls_cert_file=/own.pem -o smtpd_tls_key_file=/own.key
relay unix - - n - - smtp -o { smtp_tls_protocols = !SSLv2 }
`)
	before := m.tree(t)
	d := placed(t, m.path("deployed"), certificate(t, "a.test"))
	err := m.plugin(t, t.TempDir()).Deploy(during(t.Context(), "a.test", "1"), d, &recorder{})
	worst := []string{
		"127.0.0.1:10/inet: smtpd_tls_security_level = none", "127.0.0.1:10/inet: smtpd_tls_ciphers = low",
		"[::1]:11/inet: smtpd_tls_cert_file = /own.pem", "[::1]:11/inet: smtpd_tls_key_file = /own.key",
		"relay/unix: smtp_tls_protocols = !SSLv2",
	}
	wantError(t, err, sdk.Conflict, append(worst, m.master(), "ignore_master_overrides")...)
	if err != nil && strings.Contains(err.Error(), ">=TLSv1.2") {
		t.Errorf("a good override is reported: %v", err)
	}
	equal(t, before, m.tree(t))

	server := &recorder{}
	must(t, m.plugin(t, t.TempDir(), func(s *settings) { s.IgnoreOverrides = true }).Deploy(during(t.Context(), "a.test", "2"), d, server))
	for _, want := range append(worst, "[::1]:11/inet has a certificate of its own") {
		if !strings.Contains(server.story(), want) {
			t.Errorf("%q does not say %q", server.story(), want)
		}
	}
	for _, e := range server.results[0].Endpoints {
		if e.Address != m.smtp && e.Address != m.smtps {
			t.Errorf("endpoint %+v", e)
		}
	}
}

// A Postfix that does not run is not started, and nothing is written.
func TestNotRunning(t *testing.T) {
	t.Parallel()
	m := configured(t)
	before := m.tree(t)
	p := m.plugin(t, t.TempDir())
	d := placed(t, m.path("deployed"), certificate(t, "a.test"))
	start := "postfix -c " + m.path("etc") + " start"
	wantError(t, p.Deploy(during(t.Context(), "a.test", "1"), d, &recorder{}), sdk.NotRunning, start)
	wantError(t, p.Restart(during(t.Context(), "a.test", "2"), &recorder{}), sdk.NotRunning, start)
	wantError(t, p.Health(t.Context(), true), sdk.NotRunning, start)
	equal(t, before, m.tree(t))
	if _, err := m.command("status"); err == nil {
		t.Error("it runs")
	}
}

// A configuration that was broken before is left alone, and one that is broken
// afterwards fails the test.
func TestBrokenConfiguration(t *testing.T) {
	t.Parallel()
	m := running(t)
	p := m.plugin(t, t.TempDir())
	must(t, p.Health(t.Context(), true))
	good := read(t, m.main())
	for name, broken := range map[string]string{
		"main.cf":   good + "= nonsense\n",
		"no master": "",
		// With these the master process would end when it reloads.
		"value":     good + "inet_protocols = nonsense\n",
		"directory": good + "daemon_directory = /nowhere\n",
	} {
		t.Run(name, func(t *testing.T) {
			if broken == "" {
				must(t, os.Rename(m.master(), m.master()+".away"))
				defer func() { must(t, os.Rename(m.master()+".away", m.master())) }()
			} else {
				write(t, m.main(), broken)
				defer write(t, m.main(), good)
			}
			before := m.tree(t)
			d := placed(t, m.path("deployed"), certificate(t, "a.test"))
			for _, confined := range []bool{false, true} {
				p.programs.confined = confined
				wantError(t, p.Deploy(during(t.Context(), "a.test", "1"), d, &recorder{}), sdk.ConfigTestFailed, "nothing was changed", m.path("etc"))
				wantError(t, p.ConfigTest(during(t.Context(), "a.test", "2"), &recorder{}), sdk.ConfigTestFailed, "-c "+m.path("etc"))
				equal(t, before, m.tree(t))
			}
		})
	}
}

// postconf -e goes on in a last line that has no end.
func TestLastLineWithoutEnd(t *testing.T) {
	t.Parallel()
	m := running(t)
	write(t, m.main(), read(t, m.main())+"smtp_tls_loglevel = 1")
	before := m.tree(t)
	p := m.plugin(t, t.TempDir())
	d := placed(t, m.path("deployed"), certificate(t, "a.test"))
	deployed(t, p, d, "1")
	m.shows(t, d.LeafPEM)
	equal(t, "1", m.value(t, "smtp_tls_loglevel"))
	must(t, p.Rollback(during(t.Context(), "a.test", "back"), 1, &recorder{}))
	equal(t, before, m.tree(t))
}

// What was there is named when it goes, and stays where something else, in main.cf
// or in master.cf, takes its value from it.
func TestCertificatesInPlace(t *testing.T) {
	t.Parallel()
	m := configured(t)
	m.set(t, "smtpd_tls_eccert_file = ${config_directory}/ec.pem\nsmtpd_tls_eckey_file = $smtpd_tls_eccert_file")
	write(t, m.master(), read(t, m.master())+"relay unix - - n - - smtp -o smtp_tls_cert_file=$smtpd_tls_cert_file -o smtp_tls_key_file=/own.key\n")
	p := m.plugin(t, t.TempDir())
	d := placed(t, m.path("deployed"), certificate(t, "a.test"))
	plan, err := p.plan(t.Context(), d.ConfigPaths)
	must(t, err)
	r := &recorder{}
	plan.tell(r)
	for _, want := range []string{
		"takes the place of smtpd_tls_cert_file = " + m.path("old.pem"), "takes the place of smtpd_tls_eckey_file = " + m.path("etc/ec.pem"),
		"smtpd_tls_cert_file stays in main.cf",
	} {
		if !strings.Contains(r.story(), want) {
			t.Errorf("%q does not say %q", r.story(), want)
		}
	}
	for _, want := range []string{"\nsmtpd_tls_cert_file=" + m.path("old.pem") + "\n", "\nsmtpd_tls_key_file = \n", "\nsmtpd_tls_eccert_file = \n", "\nsmtpd_tls_eckey_file = \n"} {
		if !strings.Contains(string(plan.is), want) {
			t.Errorf("main.cf lacks %q:\n%s", want, plan.is)
		}
	}
	must(t, os.WriteFile(m.main(), plan.is, 0o600))
	plan, err = p.plan(t.Context(), d.ConfigPaths)
	must(t, err)
	if plan.changed() {
		t.Errorf("it is changed again:\n%s", plan.is)
	}
}

// A dry run shows the change and makes none.
func TestDryRun(t *testing.T) {
	t.Parallel()
	m := running(t)
	before := m.tree(t)
	state := t.TempDir()
	d := placed(t, m.path("deployed"), certificate(t, "a.test"))
	d.DryRun = true
	r := &recorder{}
	must(t, m.plugin(t, state).Deploy(during(t.Context(), "a.test", "1"), d, r))
	diff := r.results[0].Diff
	for _, want := range []string{"+++ " + m.main(), "-smtpd_tls_cert_file=" + m.path("old.pem"), "+smtpd_tls_chain_files = " + d.ConfigPaths.Privkey} {
		if !strings.Contains(diff, want) {
			t.Errorf("%q is not in\n%s", want, diff)
		}
	}
	equal(t, before, m.tree(t))
	if left, err := filepath.Glob(filepath.Join(state, "edit*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q %v", left, err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	m := configured(t)
	got, err := m.plugin(t, t.TempDir()).Names(t.Context())
	must(t, err)
	equal(t, []sdk.Site{{ID: "postfix", Names: []string{"mail.a.test", "a.test", "post.a.test"}, File: m.main(), TLS: true}}, got)
}

// Two certificates of certwright cannot be in the same place.
func TestSecondCertificate(t *testing.T) {
	t.Parallel()
	m := running(t)
	state := t.TempDir()
	p := m.plugin(t, state)
	deployed(t, p, placed(t, m.path("deployed"), certificate(t, "a.test")), "1")
	other := placed(t, m.path("deployed"), certificate(t, "b.test"))
	err := p.Deploy(during(t.Context(), "b.test", "2"), other, &recorder{})
	wantError(t, err, sdk.Conflict, "a.test already", "certwright delete --cert-name a.test")
	must(t, os.RemoveAll(m.path("deployed/a.test")))
	deployed(t, p, other, "3")
	m.shows(t, other.LeafPEM)
}

// A path that main.cf cannot name is refused before anything is written.
func TestPathsThatCannotBeNamed(t *testing.T) {
	for _, path := range []string{"/a b/privkey.pem", "/a,b/privkey.pem", "/a$b/privkey.pem"} {
		wantError(t, checkPaths(sdk.Paths{Privkey: path, Fullchain: "/x"}), sdk.Unsupported, path)
	}
}
