package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// plugin gives a configured instance, as a new process would be.
func plugin(t *testing.T, s settings, state string) *proxmox {
	t.Helper()
	p := newProxmox()
	p.settings, p.limits.wait = s, time.Millisecond
	must(t, p.Configure(t.Context(), sdk.Instance{Name: "proxmox", StateDir: state}))
	return p
}

// Two nodes get a certificate, another one, and go back step by step, the key
// included, to what they had made themselves. After the first deployment the API
// shows a certificate that neither the CA file nor the pin knows.
func TestDeployRenewRollBack(t *testing.T) {
	for _, trust := range []string{"CA file", "fingerprint"} {
		t.Run(trust, func(t *testing.T) {
			f, state := newFake(t, "pve1", "pve2"), t.TempDir()
			s := f.settings("pve1", "pve2")
			if trust == "fingerprint" {
				s.CAFile, s.Fingerprint = "", fingerprintOf([]byte(encode(f.nodes["pve1"].builtin.Certificate)))
			}
			builtin := map[string]string{"pve1": shown(t, f.address("pve1")), "pve2": shown(t, f.address("pve2"))}
			first, second := issued(t, "a.test"), issued(t, "a.test")
			r := &recorder{}
			must(t, deploy(t.Context(), plugin(t, s, state), first, "1", r))
			equal(t, 2, len(r.results[0].Endpoints))
			must(t, deploy(t.Context(), plugin(t, s, state), second, "2", r))
			for _, name := range []string{"pve1", "pve2"} {
				equal(t, string(second.LeafPEM), shown(t, f.address(name)))
				equal(t, [2]string{string(second.FullchainPEM), string(second.KeyPEM)}, f.custom(name))
			}
			must(t, back(t.Context(), plugin(t, s, state), "a.test", "2", r))
			for _, name := range []string{"pve1", "pve2"} {
				equal(t, string(first.LeafPEM), shown(t, f.address(name)))
				equal(t, [2]string{string(first.FullchainPEM), string(first.KeyPEM)}, f.custom(name))
			}
			must(t, back(t.Context(), plugin(t, s, state), "a.test", "1", r))
			for name, want := range builtin {
				equal(t, want, shown(t, f.address(name)))
				equal(t, [2]string{}, f.custom(name))
			}
			f.requests()
			p := plugin(t, s, state)
			must(t, back(t.Context(), p, "a.test", "0", r))
			equal(t, 0, len(f.requests()))
		})
	}
}

// A renewal that is there already asks, and uploads nothing.
func TestTheSameAgain(t *testing.T) {
	f, state := newFake(t, "pve1"), t.TempDir()
	d := issued(t, "a.test")
	must(t, deploy(t.Context(), plugin(t, f.settings("pve1"), state), d, "1", &recorder{}))
	f.requests()
	r := &recorder{}
	must(t, deploy(t.Context(), plugin(t, f.settings("pve1"), state), d, "2", r))
	if r.results[0].Changed {
		t.Error("something is said to be changed")
	}
	for _, q := range f.requests() {
		if !strings.HasPrefix(q.line, "GET ") {
			t.Errorf("%s", q.line)
		}
	}
}

// A certificate of many names asks each node as often as one of one name, and a
// later deployment in the same process asks anew.
func TestManyNames(t *testing.T) {
	f, state := newFake(t, "pve1"), t.TempDir()
	p := plugin(t, f.settings("pve1"), state)
	d := issued(t, "a.test")
	for len(d.Names) < 20 {
		d.Names = append(d.Names, fmt.Sprintf("n%d.a.test", len(d.Names)))
	}
	must(t, deploy(t.Context(), p, d, "1", &recorder{}))
	equal(t, 4, len(f.requests())) // looked at, looked at again, uploaded, seen
	f.nodes["pve1"].certs, f.nodes["pve1"].key = "", ""
	r := &recorder{}
	must(t, deploy(t.Context(), p, d, "2", r))
	equal(t, 20, len(r.results))
	for _, result := range r.results {
		equal(t, true, result.Changed)
	}
	equal(t, [2]string{string(d.FullchainPEM), string(d.KeyPEM)}, f.custom("pve1"))
}

// A custom certificate that is not ours is replaced only by force, and what a
// rollback cannot do is said.
func TestForeignCertificate(t *testing.T) {
	f, state := newFake(t, "pve1"), t.TempDir()
	foreign := issued(t, "foreign.test")
	f.nodes["pve1"].certs, f.nodes["pve1"].key = string(foreign.FullchainPEM), string(foreign.KeyPEM)
	s := f.settings("pve1")
	d := issued(t, "a.test")
	err := deploy(t.Context(), plugin(t, s, state), d, "1", &recorder{})
	wantError(t, err, sdk.Conflict, "pve1", "did not put there", "set force")
	equal(t, string(foreign.KeyPEM), f.custom("pve1")[1])
	s.Force = true
	must(t, deploy(t.Context(), plugin(t, s, state), d, "2", &recorder{}))
	equal(t, string(d.KeyPEM), f.custom("pve1")[1])
	r := &recorder{}
	must(t, back(t.Context(), plugin(t, s, state), "a.test", "2", r))
	equal(t, [2]string{}, f.custom("pve1"))
	if !strings.Contains(r.story(), "could not be brought back") {
		t.Errorf("%q", r.story())
	}
}

// A key that is left without its certificate is in the way, until force is set.
func TestForeignKey(t *testing.T) {
	f, state := newFake(t, "pve1"), t.TempDir()
	f.nodes["pve1"].key = string(issued(t, "foreign.test").KeyPEM)
	s := f.settings("pve1")
	d := issued(t, "a.test")
	err := deploy(t.Context(), plugin(t, s, state), d, "1", &recorder{})
	wantError(t, err, sdk.Unavailable, "key file exists but force flag is not set", "set force")
	must(t, back(t.Context(), plugin(t, s, state), "a.test", "1", &recorder{}))
	s.Force = true
	must(t, deploy(t.Context(), plugin(t, s, state), d, "2", &recorder{}))
	equal(t, [2]string{string(d.FullchainPEM), string(d.KeyPEM)}, f.custom("pve1"))
}

// What somebody else has put there since is not taken away.
func TestReplacedBySomebodyElse(t *testing.T) {
	f, state := newFake(t, "pve1"), t.TempDir()
	p := plugin(t, f.settings("pve1"), state)
	must(t, deploy(t.Context(), p, issued(t, "a.test"), "1", &recorder{}))
	foreign := issued(t, "foreign.test")
	f.nodes["pve1"].certs, f.nodes["pve1"].key = string(foreign.FullchainPEM), string(foreign.KeyPEM)
	must(t, back(t.Context(), p, "a.test", "1", &recorder{}))
	equal(t, string(foreign.FullchainPEM), f.custom("pve1")[0])
}

// Two certificates for the same nodes are refused.
func TestSecondCertificate(t *testing.T) {
	f := newFake(t, "pve1")
	p := plugin(t, f.settings("pve1"), t.TempDir())
	must(t, deploy(t.Context(), p, issued(t, "a.test"), "1", &recorder{}))
	wantError(t, deploy(t.Context(), p, issued(t, "b.test"), "1", &recorder{}), sdk.Conflict, "the certificate a.test already")
}

// Each failure says what was attempted, what Proxmox said, and what to do; and
// nothing is changed.
func TestFailures(t *testing.T) {
	tests := map[string]struct {
		change func(*fake, *settings)
		code   sdk.Code
		want   []string
	}{
		"wrong secret": {func(_ *fake, s *settings) { s.TokenSecret = "nonsense" }, sdk.Credentials, []string{"401 Unauthorized: invalid token value!", "token_secret"}},
		"expired": {func(f *fake, _ *settings) {
			f.tokens[goodToken] = fakeToken{secret: goodSecret, nodes: []string{"pve1"}, expires: time.Now().Add(-time.Hour)}
		}, sdk.Credentials, []string{"has not expired"}},
		"no privilege": {func(f *fake, _ *settings) { f.tokens[goodToken] = fakeToken{secret: goodSecret} }, sdk.PermissionDenied,
			[]string{"node pve1", "Permission check failed (/nodes/pve1, Sys.Modify)", "give the token a role with Sys.Modify on /nodes/pve1"}},
		"no such node": {func(_ *fake, s *settings) { s.Nodes = []string{"pve9"} }, sdk.Unavailable, []string{"hostname lookup 'pve9' failed"}},
		"404":          {func(f *fake, _ *settings) { f.fail(fault{method: "POST", status: 404}) }, sdk.NotFound, []string{"this is meant to fail"}},
		"409":          {func(f *fake, _ *settings) { f.fail(fault{method: "POST", status: 409}) }, sdk.Conflict, nil},
		"412":          {func(f *fake, _ *settings) { f.fail(fault{method: "POST", status: 412}) }, sdk.Conflict, nil},
		"500":          {func(f *fake, _ *settings) { f.fail(fault{method: "POST", status: 500}) }, sdk.Unavailable, []string{"500 Internal Server Error: this is meant to fail"}},
		"cut before":   {func(f *fake, _ *settings) { f.fail(fault{method: "POST"}) }, sdk.Unavailable, []string{"POST", "certificates/custom"}},
		"429 for long": {func(f *fake, _ *settings) {
			f.fail(fault{method: "POST", status: 429, header: map[string]string{"Retry-After": "3600"}})
		}, sdk.RateLimited, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, state := newFake(t, "pve1"), t.TempDir()
			s := f.settings("pve1")
			test.change(f, &s)
			p := plugin(t, s, state)
			wantError(t, deploy(t.Context(), p, issued(t, "a.test"), "1", &recorder{}), test.code, test.want...)
			equal(t, [2]string{}, f.custom("pve1"))
		})
	}
}

// One node that fails does not keep the other from what it had.
func TestOneNodeFails(t *testing.T) {
	f, state := newFake(t, "pve1", "pve2"), t.TempDir()
	f.tokens[goodToken] = fakeToken{secret: goodSecret, nodes: []string{"pve1"}}
	s := f.settings("pve1", "pve2")
	err := deploy(t.Context(), plugin(t, s, state), issued(t, "a.test"), "1", &recorder{})
	wantError(t, err, sdk.PermissionDenied, "node pve2")
	must(t, back(t.Context(), plugin(t, s, state), "a.test", "1", &recorder{}))
	equal(t, [2]string{}, f.custom("pve1"))
}

// A node that has left the cluster does not keep a rollback from its end; one that
// only fails does.
func TestNodeThatLeft(t *testing.T) {
	t.Parallel()
	f, state := newFake(t, "pve1", "pve2"), t.TempDir()
	s := f.settings("pve1", "pve2")
	must(t, deploy(t.Context(), plugin(t, s, state), issued(t, "a.test"), "1", &recorder{}))
	f.fail(fault{method: "GET", status: 403})
	wantError(t, back(t.Context(), plugin(t, s, state), "a.test", "1", &recorder{}), sdk.PermissionDenied, "node pve1")
	f.mu.Lock()
	delete(f.nodes, "pve2")
	f.mu.Unlock()
	s.Nodes = []string{"pve1"}
	r := &recorder{}
	must(t, back(t.Context(), plugin(t, s, state), "a.test", "1", r))
	equal(t, [2]string{}, f.custom("pve1"))
	if !strings.Contains(r.story(), "pve2 has left the cluster") {
		t.Errorf("%q", r.story())
	}
	f.requests()
	must(t, back(t.Context(), plugin(t, s, state), "a.test", "0", r))
	equal(t, 0, len(f.requests()))
}

// Another pin, or no trust at all, is an error before any secret is sent.
func TestUntrusted(t *testing.T) {
	f := newFake(t, "pve1")
	for _, pin := range []string{"", strings.Repeat("0", 64)} {
		s := f.settings("pve1")
		s.CAFile, s.Fingerprint = "", pin
		err := deploy(t.Context(), plugin(t, s, t.TempDir()), issued(t, "a.test"), "1", &recorder{})
		wantError(t, err, sdk.Unavailable, "certificate")
	}
	equal(t, 0, len(f.requests()))
}

// Without deep nobody is asked: the host ends a plugin that does not say soon
// that it is well.
func TestHealth(t *testing.T) {
	f := newFake(t, "pve1")
	must(t, plugin(t, f.settings("pve1"), t.TempDir()).Health(t.Context(), true))
	f.tokens[goodToken] = fakeToken{secret: goodSecret}
	p := plugin(t, f.settings("pve1"), t.TempDir())
	f.requests()
	must(t, p.Health(t.Context(), false))
	equal(t, 0, len(f.requests()))
	wantError(t, p.Health(t.Context(), true), sdk.PermissionDenied, "Sys.Modify on /nodes/pve1")
}

// A dry run shows the change and makes none; the key is in the state directory
// only, where nobody else can read it.
func TestDryRunAndSecrets(t *testing.T) {
	f, state := newFake(t, "pve1"), t.TempDir()
	p := plugin(t, f.settings("pve1"), state)
	d := issued(t, "a.test")
	dry := d
	dry.DryRun = true
	r := &recorder{}
	must(t, p.Deploy(during(t.Context(), "a.test", "dry"), dry, r))
	if diff := r.results[0].Diff; !strings.Contains(diff, "+++ pve1/pveproxy-ssl.pem") || strings.Contains(diff, "KEY") {
		t.Errorf("%s", diff)
	}
	equal(t, [2]string{}, f.custom("pve1"))
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
	if found == 0 {
		t.Error("the key is nowhere")
	}
}

// Two instances with two accounts do not know of each other.
func TestTwoAccounts(t *testing.T) {
	f := newFake(t, "pve1", "pve2")
	f.tokens = map[string]fakeToken{
		goodToken:  {secret: goodSecret, nodes: []string{"pve1"}},
		otherToken: {secret: otherSecret, nodes: []string{"pve2"}},
	}
	one, two := f.settings("pve1"), f.settings("pve2")
	two.TokenID, two.TokenSecret = otherToken, otherSecret
	// The second instance meets the first one's certificate at the API.
	pin := issued(t, "a.test")
	two.CAFile, two.Fingerprint = "", fingerprintOf(pin.FullchainPEM)
	state := [2]string{t.TempDir(), t.TempDir()}
	must(t, deploy(t.Context(), plugin(t, one, state[0]), pin, "1", &recorder{}))
	must(t, deploy(t.Context(), plugin(t, two, state[1]), pin, "1", &recorder{}))
	for _, name := range []string{"pve1", "pve2"} {
		equal(t, string(pin.LeafPEM), shown(t, f.address(name)))
	}
	must(t, back(t.Context(), plugin(t, two, state[1]), "a.test", "1", &recorder{}))
	equal(t, string(pin.FullchainPEM), f.custom("pve1")[0])
	equal(t, "", f.custom("pve2")[0])
}

// The requests are those of the documentation.
//
//   - Authorization: https://pve.proxmox.com/pve-docs/chapter-pveum.html, API
//     Tokens: "PVEAPIToken=USER@REALM!TOKENID=UUID"; that a token needs no CSRF
//     header: https://pve.proxmox.com/wiki/Proxmox_VE_API, API Tokens, whose
//     example's token this one is like.
//   - Parameters: https://pve.proxmox.com/pve-docs/api-viewer (in the repository
//     proxmox/pve-docs api-viewer/apidata.js), /nodes/{node}/certificates/custom
//     (POST certificates, force, key, restart and no other; DELETE restart; both
//     Sys.Modify on /nodes/{node}) and …/info; /access/permissions (GET path).
//   - What is done and refused: PVE/API2/Certificates.pm and PVE/CertHelpers.pm of
//     the repository proxmox/pve-manager.
func TestTranscript(t *testing.T) {
	f, state := newFake(t, "pve1"), t.TempDir()
	p := plugin(t, f.settings("pve1"), state)
	must(t, p.Health(t.Context(), true))
	d := issued(t, "a.test")
	d.Names = d.Names[:1]
	must(t, deploy(t.Context(), p, d, "1", &recorder{}))
	next := issued(t, "a.test")
	next.Names = next.Names[:1]
	must(t, deploy(t.Context(), p, next, "2", &recorder{}))
	must(t, back(t.Context(), p, "a.test", "2", &recorder{}))
	must(t, back(t.Context(), p, "a.test", "1", &recorder{}))
	info, upload := "GET /api2/json/nodes/pve1/certificates/info", "POST /api2/json/nodes/pve1/certificates/custom"
	var lines []string
	var uploads []request
	for _, q := range f.requests() {
		lines = append(lines, q.line)
		equal(t, "PVEAPIToken=root@pam!certwright="+goodSecret, q.authorization)
		if q.form.Get("certificates") != "" {
			uploads = append(uploads, q)
		} else {
			equal(t, 0, len(q.form))
		}
	}
	equal(t, []string{
		info, "GET /api2/json/access/permissions?path=%2Fnodes%2Fpve1",
		info, info, upload, info, // staged, looked at again, uploaded, seen
		info, info, upload, info,
		info, upload, info,
		info, "DELETE /api2/json/nodes/pve1/certificates/custom?restart=1", info,
	}, lines)
	for i, force := range []string{"0", "1", "1"} {
		equal(t, "application/x-www-form-urlencoded", uploads[i].contentType)
		equal(t, 4, len(uploads[i].form))
		equal(t, force, uploads[i].form.Get("force"))
		equal(t, "1", uploads[i].form.Get("restart"))
	}
	equal(t, string(d.FullchainPEM), uploads[2].form.Get("certificates"))
	equal(t, string(d.KeyPEM), uploads[2].form.Get("key"))
}

func TestSettings(t *testing.T) {
	good := settings{Endpoint: "https://pve1.example.com:8006", TokenID: goodToken, TokenSecret: goodSecret}
	must(t, good.check())
	equal(t, []string{"pve1"}, good.Nodes)
	equal(t, []string{"pve1.example.com:8006"}, good.Endpoints)
	for name, test := range map[string]struct {
		change func(*settings)
		want   string
	}{
		"no port":  {func(s *settings) { s.Endpoint = "https://pve1.example.com" }, "has no port"},
		"http":     {func(s *settings) { s.Endpoint = "http://pve1.example.com:8006" }, "no https URL"},
		"address":  {func(s *settings) { s.Endpoint, s.Nodes = "https://192.0.2.1:8006", nil }, `"192.0.2.1" is no name of a node`},
		"token":    {func(s *settings) { s.TokenID = "root@pam" }, "USER@REALM!TOKENID"},
		"secret":   {func(s *settings) { s.TokenSecret = "a b" }, "white space"},
		"node":     {func(s *settings) { s.Nodes = []string{"a/b"} }, `"a/b" is no name of a node`},
		"endpoint": {func(s *settings) { s.Endpoints = []string{"pve1"} }, `"pve1" is not host:port`},
	} {
		s := good
		test.change(&s)
		if err := s.check(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
