package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// plugin gives a configured instance, as a new process would be.
func plugin(t *testing.T, s settings, state string) *pritunl {
	t.Helper()
	p := newPritunl()
	p.settings, p.limits.wait = s, time.Millisecond
	must(t, p.Configure(t.Context(), sdk.Instance{Name: "pritunl", StateDir: state}))
	return p
}

func trimmed(pem []byte) string { return strings.TrimSpace(string(pem)) }

// A certificate is deployed over one that was there, renewed, and taken back
// step by step to what was there, the key included; a client sees each. After the
// first deployment the API shows a certificate that neither the CA file nor the
// pin knows.
func TestDeployRenewRollBack(t *testing.T) {
	for _, trust := range []string{"CA file", "fingerprint", "nothing before"} {
		t.Run(trust, func(t *testing.T) {
			f, state := newFake(t), t.TempDir()
			s := f.instance()
			old := issued(t, "old.test")
			if trust != "nothing before" {
				f.give(t, old.FullchainPEM, old.KeyPEM)
				write(t, f.caFile, string(old.ChainPEM))
			}
			if trust == "fingerprint" {
				text := string(old.FullchainPEM)
				s.CAFile, s.Fingerprint = "", printOf(&text)
			}
			first, second := issued(t, "a.test"), issued(t, "a.test")
			r := &recorder{}
			must(t, deploy(t.Context(), plugin(t, s, state), first, "1", r))
			equal(t, []sdk.Endpoint{{Address: f.address(), Kind: sdk.TLS}}, r.results[0].Endpoints)
			equal(t, string(first.LeafPEM), shown(t, f.address()))
			must(t, deploy(t.Context(), plugin(t, s, state), second, "2", r))
			equal(t, string(second.LeafPEM), shown(t, f.address()))
			equal(t, trimmed(second.KeyPEM), f.has("server_key"))

			must(t, back(t.Context(), plugin(t, s, state), "a.test", "2", r))
			equal(t, string(first.LeafPEM), shown(t, f.address()))
			equal(t, trimmed(first.FullchainPEM), f.has("server_cert"))
			equal(t, trimmed(first.KeyPEM), f.has("server_key"))

			must(t, back(t.Context(), plugin(t, s, state), "a.test", "1", r))
			want := [3]string{string(old.LeafPEM), trimmed(old.FullchainPEM), trimmed(old.KeyPEM)}
			if trust == "nothing before" {
				want = [3]string{f.ownLeaf()}
			}
			equal(t, want, [3]string{shown(t, f.address()), f.has("server_cert"), f.has("server_key")})
			f.requests()
			must(t, back(t.Context(), plugin(t, s, state), "a.test", "0", r))
			equal(t, 0, len(f.requests()))
			// Nothing else was touched.
			equal(t, "mail.a.test hidden light", f.has("email_server")+" "+f.has("email_password")+" "+f.has("theme"))
		})
	}
}

// A renewal that is there already asks, and puts nothing.
func TestTheSameAgain(t *testing.T) {
	f, state := newFake(t), t.TempDir()
	d := issued(t, "a.test")
	must(t, deploy(t.Context(), plugin(t, f.instance(), state), d, "1", &recorder{}))
	f.requests()
	r := &recorder{}
	must(t, deploy(t.Context(), plugin(t, f.instance(), state), d, "2", r))
	if r.results[0].Changed {
		t.Error("something is said to be changed")
	}
	for _, q := range f.requests() {
		equal(t, "GET /settings", q.line)
	}
}

// A Pritunl that orders certificates itself is left alone.
func TestACMEDomain(t *testing.T) {
	f := newFake(t)
	f.set("acme_domain", "vpn.a.test")
	p := plugin(t, f.instance(), t.TempDir())
	wantError(t, deploy(t.Context(), p, issued(t, "a.test"), "1", &recorder{}), sdk.Conflict, "vpn.a.test", "Lets Encrypt Domain")
	wantError(t, p.Health(t.Context(), true), sdk.Conflict, "vpn.a.test")
	equal(t, "vpn.a.test", f.has("acme_domain"))
	equal(t, "", f.has("server_cert"))
}

// What somebody else has put there since is not taken away.
func TestReplacedBySomebodyElse(t *testing.T) {
	f, state := newFake(t), t.TempDir()
	p := plugin(t, f.instance(), state)
	must(t, deploy(t.Context(), p, issued(t, "a.test"), "1", &recorder{}))
	foreign := issued(t, "foreign.test")
	f.give(t, foreign.FullchainPEM, foreign.KeyPEM)
	write(t, f.caFile, string(foreign.ChainPEM))
	r := &recorder{}
	must(t, back(t.Context(), plugin(t, f.instance(), state), "a.test", "1", r))
	equal(t, trimmed(foreign.KeyPEM), f.has("server_key"))
	if !strings.Contains(r.story(), "somebody else") {
		t.Errorf("%q", r.story())
	}
}

// What somebody else puts there between two deployments is not lost: it is what
// the last rollback brings back, with its key.
func TestReplacedAndRenewed(t *testing.T) {
	f, state := newFake(t), t.TempDir()
	first, second, foreign := issued(t, "a.test"), issued(t, "a.test"), issued(t, "foreign.test")
	must(t, deploy(t.Context(), plugin(t, f.instance(), state), first, "1", &recorder{}))
	f.give(t, foreign.FullchainPEM, foreign.KeyPEM)
	write(t, f.caFile, string(foreign.ChainPEM))
	must(t, deploy(t.Context(), plugin(t, f.instance(), state), second, "2", &recorder{}))
	equal(t, string(second.LeafPEM), shown(t, f.address()))
	must(t, back(t.Context(), plugin(t, f.instance(), state), "a.test", "2", &recorder{}))
	equal(t, string(first.LeafPEM), shown(t, f.address()))
	must(t, back(t.Context(), plugin(t, f.instance(), state), "a.test", "1", &recorder{}))
	equal(t, [2]string{trimmed(foreign.FullchainPEM), trimmed(foreign.KeyPEM)}, [2]string{f.has("server_cert"), f.has("server_key")})
	equal(t, string(foreign.LeafPEM), shown(t, f.address()))
}

// Two certificates in one place are refused.
func TestSecondCertificate(t *testing.T) {
	f := newFake(t)
	p := plugin(t, f.instance(), t.TempDir())
	must(t, deploy(t.Context(), p, issued(t, "a.test"), "1", &recorder{}))
	wantError(t, deploy(t.Context(), p, issued(t, "b.test"), "1", &recorder{}), sdk.Conflict, "the certificate a.test already")
}

// Each failure says what was attempted, what Pritunl said, and what to do; and
// nothing is changed.
func TestFailures(t *testing.T) {
	tests := map[string]struct {
		change func(*fake, *settings)
		code   sdk.Code
		want   []string
	}{
		"wrong secret": {func(_ *fake, s *settings) { s.APISecret = "nonsense" }, sdk.Credentials, []string{"401 Unauthorized: The server could not verify", "doesn't understand", "api_secret"}},
		"wrong token":  {func(_ *fake, s *settings) { s.APIToken = "nonsense" }, sdk.Credentials, []string{"GET", "/settings"}},
		"no API":       {func(f *fake, _ *settings) { f.admins[goodToken] = fakeAdmin{goodSecret, false} }, sdk.Credentials, []string{"API access is enabled"}},
		"clock":        {func(f *fake, _ *settings) { f.clock = func() time.Time { return time.Now().Add(time.Hour) } }, sdk.Credentials, []string{"the clocks here and there agree"}},
		"403":          {func(f *fake, _ *settings) { f.fail(fault{method: "PUT", status: 403}) }, sdk.PermissionDenied, []string{"this is meant to fail"}},
		"404":          {func(f *fake, _ *settings) { f.fail(fault{method: "GET", status: 404}) }, sdk.NotFound, nil},
		"409":          {func(f *fake, _ *settings) { f.fail(fault{method: "PUT", status: 409}) }, sdk.Conflict, nil},
		"412":          {func(f *fake, _ *settings) { f.fail(fault{method: "PUT", status: 412}) }, sdk.Conflict, nil},
		"429 for long": {func(f *fake, _ *settings) {
			f.fail(fault{method: "PUT", status: 429, header: map[string]string{"Retry-After": "3600"}})
		}, sdk.RateLimited, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			s := f.instance()
			test.change(f, &s)
			p := plugin(t, s, t.TempDir())
			wantError(t, deploy(t.Context(), p, issued(t, "a.test"), "1", &recorder{}), test.code, test.want...)
			equal(t, "", f.has("server_cert")+f.has("server_key"))
		})
	}
}

// Without deep nobody is asked: the host ends a plugin that does not say soon
// that it is well.
func TestHealthAsksNobody(t *testing.T) {
	f := newFake(t)
	p := plugin(t, f.instance(), t.TempDir())
	must(t, p.Health(t.Context(), false))
	equal(t, 0, len(f.requests()))
	must(t, p.Health(t.Context(), true))
	equal(t, 1, len(f.requests()))
}

// A web server that goes on with its old certificate is noticed, and the old
// setting comes back.
func TestNeverServed(t *testing.T) {
	f, state := newFake(t), t.TempDir()
	f.broken = true
	p := plugin(t, f.instance(), state)
	p.patience = 300 * time.Millisecond
	wantError(t, deploy(t.Context(), p, issued(t, "a.test"), "1", &recorder{}), sdk.Unavailable, f.address()+" does not show", "served_at")
	must(t, back(t.Context(), plugin(t, f.instance(), state), "a.test", "1", &recorder{}))
	equal(t, "", f.has("server_cert")+f.has("server_key"))
}

// Another pin, or no trust at all, is an error before any credential is sent.
func TestUntrusted(t *testing.T) {
	f := newFake(t)
	for _, pin := range []string{"", strings.Repeat("0", 64)} {
		s := f.instance()
		s.CAFile, s.Fingerprint = "", pin
		err := deploy(t.Context(), plugin(t, s, t.TempDir()), issued(t, "a.test"), "1", &recorder{})
		wantError(t, err, sdk.Unavailable, "certificate")
	}
	equal(t, 0, len(f.requests()))
}

// A dry run shows the change and makes none; keys, the one from before too, are
// in the state directory only, where nobody else can read them.
func TestDryRunAndSecrets(t *testing.T) {
	f, state := newFake(t), t.TempDir()
	old := issued(t, "old.test")
	f.give(t, old.FullchainPEM, old.KeyPEM)
	write(t, f.caFile, string(old.ChainPEM))
	p := plugin(t, f.instance(), state)
	d := issued(t, "a.test")
	dry := d
	dry.DryRun = true
	r := &recorder{}
	must(t, p.Deploy(during(t.Context(), "a.test", "dry"), dry, r))
	if diff := r.results[0].Diff; !strings.Contains(diff, "+++ server_cert") || !strings.Contains(diff, "server_key: changes") || strings.Contains(diff, "KEY-----") {
		t.Errorf("%s", diff)
	}
	equal(t, trimmed(old.KeyPEM), f.has("server_key"))
	must(t, deploy(t.Context(), p, d, "1", r))
	found := 0
	must(t, filepath.WalkDir(state, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(read(t, path), "PRIVATE KEY") {
			return err
		}
		found++
		info, err := e.Info()
		equal(t, os.FileMode(0o600), info.Mode())
		return err
	}))
	if found < 2 {
		t.Errorf("%d files with a key", found)
	}
}

// The requests are those of the documentation:
//
//   - headers and the text that is signed: the function auth_request of
//     https://docs.pritunl.com/kb/vpn/development/api, whose token and secret are
//     used here; what the server compares: check_session of
//     https://github.com/pritunl/pritunl, pritunl/auth/administrator.py;
//   - fields of GET and PUT /settings, which that page leaves to the browser's
//     tools: settings_get and settings_put of pritunl/handlers/settings.py there.
func TestTranscript(t *testing.T) {
	f, state := newFake(t), t.TempDir()
	p := plugin(t, f.instance(), state)
	d := issued(t, "a.test")
	d.Names = d.Names[:1]
	must(t, deploy(t.Context(), p, d, "1", &recorder{}))
	must(t, back(t.Context(), p, "a.test", "1", &recorder{}))
	var lines []string
	var bodies []map[string]any
	for _, q := range f.requests() {
		lines = append(lines, q.line)
		for name, want := range map[string]string{"Auth-Token": goodToken, "Accept": "application/json"} {
			equal(t, want, q.header.Get(name))
		}
		if q.body != "" {
			equal(t, "application/json", q.contentType)
			var body map[string]any
			must(t, json.Unmarshal([]byte(q.body), &body))
			bodies = append(bodies, body)
		}
	}
	equal(t, []string{"GET /settings", "GET /settings", "PUT /settings", "GET /settings", "PUT /settings"}, lines)
	equal(t, []map[string]any{
		{"server_cert": trimmed(d.FullchainPEM), "server_key": trimmed(d.KeyPEM)},
		{"server_cert": nil, "server_key": nil},
	}, bodies)
}

// The signature is what the function auth_request of the documentation makes of
// the same token, secret, time and nonce, run with Python.
func TestSignature(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://localhost/settings?x=y", strings.NewReader("body"))
	must(t, err)
	const stamp = 1388495793
	sign(r, goodToken, "OpS9fjxkPI3DclkdKDDr6mqYVd0DJh4i", time.Unix(stamp, 0), "0123456789abcdef0123456789abcdef")
	equal(t, "LzgDjuUEqcsL/bmaW7QNqfRliCx5hMUVUqARLhlCEPQ=", r.Header.Get("Auth-Signature"))
	equal(t, "1388495793", r.Header.Get("Auth-Timestamp"))
}

func TestSettings(t *testing.T) {
	good := settings{Endpoint: "https://vpn.example.com", APIToken: goodToken, APISecret: goodSecret}
	must(t, good.check())
	equal(t, []string{"vpn.example.com:443"}, good.ServedAt)
	for name, test := range map[string]struct {
		change func(*settings)
		want   string
	}{
		"http":   {func(s *settings) { s.Endpoint = "http://vpn.example.com" }, "no https URL"},
		"token":  {func(s *settings) { s.APIToken = "a&b" }, "setting api_token"},
		"secret": {func(s *settings) { s.APISecret = "a b" }, "setting api_secret"},
		"where":  {func(s *settings) { s.ServedAt = []string{"vpn"} }, `"vpn" is not host:port`},
	} {
		s := good
		test.change(&s)
		if err := s.check(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
