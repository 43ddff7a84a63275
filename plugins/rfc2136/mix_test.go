//go:build slow

package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// Names that are not in a zone of BIND: each has an address of its own.
const (
	webName  = "web.site.test"
	alpnName = "alpn.site.test"
)

// mixed is the configuration of one certificate whose names are proven in four
// ways. The first challenge type that an instance has is the one it uses, so
// that standalone never answers http-01.
const mixed = `
server: %[1]s
ca_bundle: %[2]s/ca.pem
agree_tos: true
dns: {resolvers: ["%[3]s"], port: %[4]s}
instances:
  - {name: web, plugin: webroot, sandbox: required, settings: {path: %[2]s/web}}
  - {name: alone, plugin: standalone, sandbox: required, settings: {tls_port: %[5]d, address: 127.0.0.1}}
  - {name: dns-a, plugin: rfc2136, sandbox: required, settings: {server: "%[6]s", tsig_name: hmac-sha256, tsig_secret: {file: %[7]s}}}
  - {name: dns-b, plugin: rfc2136, sandbox: required, settings: {server: "%[6]s", tsig_name: %[8]s, tsig_secret: {file: %[9]s}}}
  - {name: dns-wrong-key, plugin: rfc2136, sandbox: required, settings: {server: "%[6]s", tsig_name: %[8]s, tsig_secret: {file: %[10]s}}}
certificates:
  - name: mix
    names: [web.site.test, alpn.site.test, one.test, "*.one.test", "*.two.test"]
    preferred_challenges: [tls-alpn, dns, http]
    authenticate:
      - {match: web.site.test, with: [web]}
      - {match: alpn.site.test, with: [alone]}
      - {match: .one.test, with: [dns-a]}
      - {match: "*.two.test", with: [%[11]s]}
`

// One certificate by webroot, standalone with tls-alpn-01, and two instances of
// rfc2136 that each have the key of one zone only, at a CA that rejects nonces
// and takes its time. No name could be proven by the instance of another.
func TestMix(t *testing.T) {
	m := newMix(t)
	t.Run("each name its own way", func(t *testing.T) {
		c := m.certificate(t, "dns-b")
		c.run(t, "run", "-n")
		c.finished(t)
		first := c.leaf(t)
		if got := m.web.asked(); !slices.Equal(got, []string{webName}) {
			t.Errorf("the web server was asked for the tokens of %q, want %s alone", got, webName)
		}
		c.run(t, "renew", "-n", "--cert-name", "mix", "--force-renewal")
		c.finished(t)
		if second := c.leaf(t); second.SerialNumber.Cmp(first.SerialNumber) == 0 {
			t.Error("the forced renewal left the certificate that was there")
		}
	})
	// With the secret of another key nothing can be written, and nothing deleted:
	// what could not be cleaned up is kept until the secret is put right.
	t.Run("the next instance", func(t *testing.T) {
		c := m.certificate(t, "dns-wrong-key, dns-b")
		c.secret(t, wrongFile, m.bind.keys["hmac-sha256"])
		out := c.run(t, "run", "-n")
		for _, words := range []string{
			"*.two.test (dns-01 by dns-wrong-key)", "BADSIG", "trying the next instance of *.two.test", "dns-b puts dns-01 for *.two.test",
		} {
			if !strings.Contains(out, words) {
				t.Errorf("it does not say %q:\n%s", words, out)
			}
		}
		first := c.leaf(t)
		if len(c.unfinished(t)) == 0 {
			t.Error("the failed cleanup is forgotten")
		}
		c.secret(t, wrongFile, m.bind.keys[otherKey])
		c.run(t, "run", "-n")
		c.finished(t)
		if second := c.leaf(t); second.SerialNumber.Cmp(first.SerialNumber) != 0 {
			t.Error("the cleanup obtained a certificate")
		}
	})
}

// wrongFile has the secret of the instance dns-wrong-key.
const wrongFile = "wrong.tsig"

// mix is what the certificates of this test share: the installed program, BIND,
// a web server, and the CA.
type mix struct {
	prefix  string
	bind    *realServer
	web     *site
	ca      *testca.CA
	tlsPort int
}

func newMix(t *testing.T) *mix {
	t.Helper()
	m := &mix{prefix: install(t), bind: startReal(t, bind), web: startSite(t), tlsPort: reserve(t)}
	ca, err := testca.Start(t.Context(), testca.Options{
		HTTPPort: m.web.port(), TLSPort: m.tlsPort, NonceReject: 15, Sleep: true, SleepSeconds: 3,
		Zones: map[string]string{zoneOne: m.bind.addr, zoneTwo: m.bind.addr},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	ca.DNS().SetA(webName, netip.MustParseAddr("127.0.0.2"))
	ca.DNS().SetA(alpnName, netip.MustParseAddr("127.0.0.1"))
	m.ca = ca
	return m
}

// site serves the directory of the certificate that is being worked on, as a
// web server that was there before.
type site struct {
	*httptest.Server

	mu    sync.Mutex
	root  string
	hosts []string
}

func startSite(t *testing.T) *site {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	s := new(site)
	s.Server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: s, ReadHeaderTimeout: patience}}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	s.mu.Lock()
	root := s.root
	s.hosts = append(s.hosts, host)
	s.mu.Unlock()
	http.FileServer(http.Dir(root)).ServeHTTP(w, r)
}

func (s *site) port() int { return s.Listener.Addr().(*net.TCPAddr).Port }

// serve changes the directory.
func (s *site) serve(root string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root, s.hosts = root, nil
}

// asked gives the names that the CA came for, each once: it asks from several
// places.
func (s *site) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(s.hosts)))
}

// reserve gives a port of 127.0.0.1 that the kernel gives nobody else while the
// test runs. The socket that holds it does not listen, and so is in nobody's way
// who asks for this very port.
func reserve(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return at.(*syscall.SockaddrInet4).Port
}

// mixedCertificate is a state directory with its configuration.
type mixedCertificate struct {
	*mix
	dir string
}

// certificate writes the configuration; these instances prove zone two.
func (m *mix) certificate(t *testing.T, zoneTwoWith string) mixedCertificate {
	t.Helper()
	c := mixedCertificate{mix: m, dir: t.TempDir()}
	p := newProgram(t, m.prefix, c.dir, m.ca, m.bind)
	for _, dir := range []string{"etc", "web"} {
		if err := os.Mkdir(filepath.Join(c.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf(mixed, m.ca.DirectoryURL(), c.dir, m.ca.DNS().Addr(), m.bind.port(), m.tlsPort,
		m.bind.addr, p.secret(t, "hmac-sha256"), otherKey, p.secret(t, otherKey),
		filepath.Join(c.dir, wrongFile), zoneTwoWith)
	for name, data := range map[string][]byte{"ca.pem": m.ca.TLSRoots(), "etc/certwright.yaml": []byte(text)} {
		if err := os.WriteFile(filepath.Join(c.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.secret(t, wrongFile, m.bind.keys[otherKey])
	m.web.serve(filepath.Join(c.dir, "web"))
	return c
}

func (c mixedCertificate) secret(t *testing.T, file, secret string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, file), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs certwright to its good end, looks that nothing of it is left, and
// gives all that it printed.
func (c mixedCertificate) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(c.prefix, "bin", "certwright"),
		append(args, "--config-dir", filepath.Join(c.dir, "etc"), "--state-dir", filepath.Join(c.dir, "state"))...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	c.clean(t)
	return plugintest.Printed(t, out)
}

// clean fails the test if a record, a token, a listener, or a process is left.
func (c mixedCertificate) clean(t *testing.T) {
	t.Helper()
	for _, zone := range []string{zoneOne, zoneTwo} {
		c.bind.holds(t, "mark."+zone, c.bind.mark) // it answers
		c.bind.holds(t, "_acme-challenge."+zone)
	}
	if left, err := os.ReadDir(filepath.Join(c.dir, "web")); err != nil || len(left) > 0 {
		t.Errorf("in the web server's directory is %v, %v", left, err)
	}
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.tlsPort)); err == nil {
		_ = conn.Close()
		t.Error("something listens on the port of tls-alpn-01")
	}
	// The kernel ends a plugin that outlives its host, in its own time.
	deadline := time.Now().Add(patience)
	for left := c.processes(t); len(left) > 0; left = c.processes(t) {
		if time.Now().After(deadline) {
			t.Fatalf("processes are left: %v", left)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// finished fails the test if the journal still owes something.
func (c mixedCertificate) finished(t *testing.T) {
	t.Helper()
	if left := c.unfinished(t); len(left) > 0 {
		t.Errorf("unfinished: %v", left)
	}
}

func (c mixedCertificate) unfinished(t *testing.T) (left []string) {
	t.Helper()
	for _, pattern := range []string{"journal/*", "archive/*/.*"} {
		found, err := filepath.Glob(filepath.Join(c.dir, "state", pattern))
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	return left
}

// processes gives what runs out of the installed tree, which is this test's own.
func (m *mix) processes(t *testing.T) (left []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil && strings.HasPrefix(exe, m.prefix) {
			left = append(left, dir+" "+exe)
		}
	}
	return left
}

// leaf gives the certificate, which has its key, the CA's chain, and all names.
func (c mixedCertificate) leaf(t *testing.T) *x509.Certificate {
	t.Helper()
	live := filepath.Join(c.dir, "state", "live", "mix")
	pair, err := tls.LoadX509KeyPair(filepath.Join(live, "fullchain.pem"), filepath.Join(live, "privkey.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.ca.IssuerRoots()) {
		t.Fatal("the CA has no root")
	}
	for _, der := range pair.Certificate[1:] {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		intermediates.AddCert(parsed)
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates}); err != nil {
		t.Error(err)
	}
	want(t, pair.Leaf, "*."+zoneOne, "*."+zoneTwo, alpnName, zoneOne, webName)
	return pair.Leaf
}
