package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

func TestMain(m *testing.M) {
	mortal()
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pemOf(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }

// defaults are the settings as the SDK fills them.
func defaults(s settings) settings {
	if s.Server == "" {
		s.Server = "https://localhost:8443"
	}
	if s.VHosts == "" {
		s.VHosts = "/var/www/vhosts"
	}
	if s.Certificate == "" {
		s.Certificate = "Certwright {name}"
	}
	if s.PanelFile == "" {
		s.PanelFile = "/usr/local/psa/admin/conf/httpsd.pem"
	}
	return s
}

// configured gives an instance with its state in a directory.
func configured(t *testing.T, s settings, state string) *plesk {
	t.Helper()
	p := newPlesk()
	p.settings, p.wait = defaults(s), time.Millisecond
	must(t, p.Configure(t.Context(), sdk.Instance{Name: "plesk", StateDir: state}))
	return p
}

func wantProblem(t *testing.T, err error, code sdk.Code, parts ...string) *sdk.Problem {
	t.Helper()
	p := sdk.ProblemOf(err)
	if p == nil {
		t.Fatal("there is no error")
	}
	if p.Code != code {
		t.Errorf("code %s, want %s", p.Code, code)
	}
	for _, part := range parts {
		if !strings.Contains(p.Error()+"\n"+p.Hint, part) {
			t.Errorf("%q does not say %q", p.Error()+"\n"+p.Hint, part)
		}
	}
	return p
}

// recorder keeps what a call reports.
type recorder struct {
	mu       sync.Mutex
	results  []sdk.Result
	progress []string
}

func (r *recorder) Progress(_, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = append(r.progress, message)
}

func (r *recorder) Result(result sdk.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

func (r *recorder) Say(sdk.Stream, string)                      {}
func (r *recorder) Ask(context.Context, string) (string, error) { return "", io.EOF }

var serial atomic.Int64

// certificateFor makes one that signs itself, with its key.
func certificateFor(t *testing.T, names ...string) sdk.Deployment {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return sdk.Deployment{
		Lineage: names[0], Name: names[0], Names: names, LeafPEM: pemOf(der), FullchainPEM: pemOf(der),
		KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

func TestDeclaration(t *testing.T) {
	d, err := declaration(newPlesk()).Description()
	must(t, err)
	if d.DNS != sdk.HostDNS || len(d.ChallengeTypes) != 3 || d.Permissions.Key != sdk.KeyBytes {
		t.Errorf("%+v", d)
	}
	if p := d.Permissions; p.Unconfined || p.Signals || len(p.BindTCP) > 0 || len(p.Write) != 1 || len(p.Execute) != 1 {
		t.Errorf("the permissions are %+v", p)
	}
	for _, s := range d.Settings {
		if s.Secret != (s.Name == "secret_key" || s.Name == "password") || s.Doc == "" {
			t.Errorf("setting %+v", s)
		}
	}
}

func TestWrongSettings(t *testing.T) {
	for _, c := range []struct {
		s       settings
		setting string
		say     string
	}{
		{settings{}, "secret_key", "no credentials"},
		{settings{Login: "admin"}, "secret_key", "no credentials"},
		{settings{SecretKey: "x", Login: "admin", Password: "x"}, "secret_key", "there is a login too"},
		{settings{SecretKey: "a\nb"}, "secret_key", "several lines"},
		{settings{SecretKey: "x", Server: "http://plesk.example:8880"}, "server", "no https URL"},
		{settings{SecretKey: "x", Server: "plesk.example"}, "server", "no https URL"},
		{settings{SecretKey: "x", Challenges: []string{"tls-alpn-01"}}, "challenges", "not answered"},
		{settings{SecretKey: "x", Challenges: []string{sdk.HTTP01}}, "filemng", "http-01 is wanted"},
		{settings{SecretKey: "x", Filemng: "filemng"}, "filemng", "absolute"},
		{settings{SecretKey: "x", VHosts: "www"}, "vhosts", "absolute"},
		{settings{SecretKey: "x", Certificate: " "}, "certificate", "has a name"},
		{settings{SecretKey: "x", Endpoints: []string{"x"}}, "endpoints", "not host:port"},
		{settings{SecretKey: "x", Fingerprint: "abc"}, "server", "SHA-256"},
		{settings{SecretKey: "x", Fingerprint: strings.Repeat("ab", 32), Certmng: "/x"}, "fingerprint", "is replaced"},
		{settings{SecretKey: "x", CAFile: "/none.pem"}, "server", "CA file"},
	} {
		p := newPlesk()
		p.settings = defaults(c.s)
		err := p.Configure(t.Context(), sdk.Instance{StateDir: t.TempDir(), ValidateOnly: true})
		if got := wantProblem(t, err, sdk.InvalidConfig, c.say); got.Subject != c.setting {
			t.Errorf("%+v: the problem is with %q, want %q", c.s, got.Subject, c.setting)
		}
	}
	configured(t, settings{SecretKey: "x\n", Server: "http://127.0.0.1:8880"}, t.TempDir())
}

func TestPreferences(t *testing.T) {
	name, wildcard := sdk.Identifier{Type: "dns", Value: "a.test"}, sdk.Identifier{Type: "dns", Value: "a.test", Wildcard: true}
	for _, c := range []struct {
		s    settings
		id   sdk.Identifier
		want string
	}{
		{settings{}, name, "dns-01 dns-account-01"},
		{settings{Filemng: "/x"}, name, "dns-01 dns-account-01 http-01"},
		{settings{Filemng: "/x"}, wildcard, "dns-01 dns-account-01"},
		{settings{Filemng: "/x", Challenges: []string{sdk.HTTP01}}, name, "http-01"},
		{settings{Filemng: "/x", Challenges: []string{sdk.HTTP01}}, wildcard, ""},
		{settings{}, sdk.Identifier{Type: "ip", Value: "192.0.2.1"}, ""},
	} {
		c.s.SecretKey = "x"
		got, err := configured(t, c.s, t.TempDir()).Prefer(t.Context(), []sdk.Identifier{c.id})
		must(t, err)
		if strings.Join(got[0].ChallengeTypes, " ") != c.want || (got[0].Err != nil) != (c.want == "") {
			t.Errorf("%+v: %+v, want %q", c.s, got[0], c.want)
		}
	}
}

func TestCredentials(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test").login = "owner"
	f.site("a.test").password = "pass " + plugintest.Mark
	f.add(t, "b.test", "b.test")
	sum := sha256.Sum256(f.Certificate().Raw)
	pin := hex.EncodeToString(sum[:])
	good := f.settings(t)
	for name, c := range map[string]struct {
		change func(*settings)
		code   sdk.Code // empty: it works
		say    string
	}{
		"secret key":        {func(*settings) {}, "", ""},
		"pinned":            {func(s *settings) { s.CAFile, s.Fingerprint = "", pin }, "", ""},
		"login":             {func(s *settings) { s.SecretKey, s.Login, s.Password = "", "owner", "pass "+plugintest.Mark+"\n" }, "", ""},
		"wrong secret key":  {func(s *settings) { s.SecretKey = "other-secret" }, sdk.Credentials, "11003"},
		"wrong password":    {func(s *settings) { s.SecretKey, s.Login, s.Password = "", "owner", "other-secret" }, sdk.Credentials, "1001: You have entered incorrect"},
		"another pin":       {func(s *settings) { s.CAFile, s.Fingerprint = "", strings.Repeat("ab", 32) }, sdk.Unavailable, pin},
		"unknown authority": {func(s *settings) { s.CAFile = "" }, sdk.Unavailable, "pin its fingerprint"},
	} {
		s := good
		c.change(&s)
		err := configured(t, s, t.TempDir()).Health(t.Context(), true)
		if c.code == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		t.Run(name, func(t *testing.T) { wantProblem(t, err, c.code, c.say) })
		if strings.Contains(err.Error(), "other-secret") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
	// The login sees its own site only.
	s := good
	s.SecretKey, s.Login, s.Password = "", "owner", "pass "+plugintest.Mark
	p := configured(t, s, t.TempDir())
	sites, err := p.Names(t.Context())
	must(t, err)
	if len(sites) != 1 || sites[0].ID != "a.test" {
		t.Errorf("the sites are %+v", sites)
	}
	_, err = p.api.site(t.Context(), "b.test")
	wantProblem(t, err, sdk.NotFound, "1013")
}

func TestNames(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test").properties["ssl"] = "true"
	f.add(t, "shop.a.test", "a.test")
	f.add(t, "b.test", "b.test").properties = nil
	sites, err := configured(t, f.settings(t), t.TempDir()).Names(t.Context())
	must(t, err)
	var got []string
	for _, s := range sites {
		if s.TLS {
			s.ID += " (TLS)"
		}
		got = append(got, s.ID)
	}
	if text := strings.Join(got, ", "); text != "a.test (TLS), b.test, shop.a.test" {
		t.Errorf("the sites are %s", text)
	}
}
