package run

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/testca"
)

// patience bounds every wait for an event on a busy machine.
const patience = 2 * time.Minute

// prefix is where everything is installed, by the first test that needs it.
var prefix string

// installed gives the directory of the plugins.
var installed = sync.OnceValues(func() (string, error) {
	syscall.Umask(0o022)
	dir, err := os.MkdirTemp("", "certwright-run-test-")
	if err != nil {
		return "", err
	}
	prefix = dir
	install := exec.Command("make", "--no-print-directory", "-C", "../../..", "install", "DESTDIR="+dir, "PREFIX=")
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "MAKE") && !strings.HasPrefix(entry, "MFLAGS") {
			install.Env = append(install.Env, entry)
		}
	}
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make install: %w\n%s", err, out)
	}
	return filepath.Join(dir, "libexec", "certwright", "plugins"), nil
})

// rig is a CA, a web server that it looks for challenges at, and a TLS server
// that certificates are deployed to. One case uses it at a time.
type rig struct {
	ca      *testca.CA
	tlsPort int
	target  net.Listener
	// home has the case that is being worked on, and what each begins with.
	home string
	dir  atomic.Pointer[string] // of the case
}

func newRig(t *testing.T, o testca.Options) *rig {
	t.Helper()
	r := &rig{home: t.TempDir()}
	r.dir.Store(&r.home)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.FileServer(http.Dir(filepath.Join(*r.dir.Load(), "web"))).ServeHTTP(w, req)
	}))
	t.Cleanup(web.Close)
	free, err := net.Listen("tcp", aside+":0")
	if err != nil {
		t.Fatal(err)
	}
	r.tlsPort = port(t, free.Addr().String())
	_ = free.Close()
	o.HTTPPort, o.TLSPort = port(t, web.Listener.Addr().String()), r.tlsPort
	if r.ca, err = testca.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.ca.Close() })
	r.ca.DNS().SetA("c.test", netip.MustParseAddr(aside))
	r.serve(t)
	return r
}

// aside is where a plugin listens: at an address that no connection of anybody
// else comes from, so that nobody takes the port meanwhile.
const aside = "127.0.0.9"

// serve is the server that certificates are deployed to: it serves what its
// reload command has copied to served.pem.
func (r *rig) serve(t *testing.T) {
	t.Helper()
	var err error
	if r.target, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return r.served() },
	}); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := r.target.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_ = conn.SetDeadline(time.Now().Add(patience))
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = r.target.Close()
		serving.Wait()
	})
}

func (r *rig) served() (*tls.Certificate, error) {
	data, err := os.ReadFile(filepath.Join(*r.dir.Load(), "site", "served.pem"))
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(data, data)
	return &pair, err
}

func port(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// state is a state directory with all that belongs to it.
type state struct {
	*rig
	t       *testing.T
	dir     string
	plugins string
	story   bytes.Buffer
}

// The certificate site is proven by webroot and deployed by files; other is
// proven by standalone with tls-alpn-01.
const configuration = `
server: %[1]s
ca_bundle: %[2]s/ca.pem
agree_tos: true
instances:
  - {name: webroot, settings: {path: %[2]s/web}}
  - {name: standalone, settings: {address: 127.0.0.9, tls_port: %[3]d}}
  - name: files
    settings:
      combined: %[2]s/site/site.pem
      test: test -s %[2]s/site/site.pem
      reload: %[2]s/reload
      endpoints: ["%[4]s"]
certificates:
  - {name: site, names: [a.test, b.test], authenticate: [{with: [webroot]}], deploy: [files]}
  - {name: other, names: [c.test], authenticate: [{with: [standalone]}], preferred_challenges: [tls-alpn-01]}
`

// The reload refuses anything but the content of "only", if that is there.
const reload = `#!/bin/sh
set -e
cd %[1]s/site
if [ -e only ]; then cmp -s site.pem only || { echo 'the site is refused'; exit 1; }; fi
if [ -e site.pem ]; then cp site.pem served.new; mv served.new served.pem; else rm -f served.pem; fi
`

func (r *rig) state(t *testing.T) *state {
	t.Helper()
	plugins, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	s := &state{rig: r, t: t, dir: filepath.Join(r.home, "case"), plugins: plugins}
	r.dir.Store(&s.dir)
	if err := errors.Join(os.RemoveAll(s.dir), os.Mkdir(s.dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc", "web", "site"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write("ca.pem", string(r.ca.TLSRoots()), 0o600)
	s.write("etc/certwright.yaml", fmt.Sprintf(configuration, r.ca.DirectoryURL(), s.dir, r.tlsPort, r.target.Addr()), 0o600)
	s.write("reload", fmt.Sprintf(reload, s.dir), 0o755)
	return s
}

// keep makes this what further cases of the rig begin with.
func (s *state) keep() { s.copy("case", "kept") }

// kept is a case that begins with what was kept.
func (r *rig) kept(t *testing.T) *state {
	t.Helper()
	s := r.state(t)
	s.copy("kept", "case")
	return s
}

func (s *state) copy(from, to string) {
	s.t.Helper()
	from, to = filepath.Join(s.home, from), filepath.Join(s.home, to)
	if err := os.RemoveAll(to); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.CommandContext(s.t.Context(), "cp", "-a", from, to).CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}

func (s *state) write(name, text string, mode fs.FileMode) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

func (s *state) read(name string) string {
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	return string(data)
}

// prepare makes a command of this state.
func (s *state) prepare(ctx context.Context, c command) *exec.Cmd {
	s.t.Helper()
	c.Dir, c.Plugins = s.dir, s.plugins
	text, err := json.Marshal(c)
	if err != nil {
		s.t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), childVar+"="+string(text))
	return cmd
}

// run is one run of a host. It gives its steps, and whether it was killed.
func (s *state) run(c command) (trace []string, killed bool, err error) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.dir, "steps")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := s.prepare(ctx, c)
	text := fmt.Sprintf("--- %+v\n", c)
	out, err := cmd.CombinedOutput()
	s.story.WriteString(text)
	s.story.Write(out)
	if ctx.Err() != nil {
		s.t.Fatalf("the run does not end:\n%s", &s.story)
	}
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	trace = strings.Split(strings.TrimSuffix(s.read("steps"), "\n"), "\n")
	return trace, status.Signaled() && status.Signal() == syscall.SIGKILL, err
}

// mustRun is a run that is to succeed.
func (s *state) mustRun(c command) (trace []string) {
	s.t.Helper()
	trace, _, err := s.run(c)
	if err != nil {
		s.fail("the run failed: %v", err)
	}
	return trace
}

// fail shows the story too.
func (s *state) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf(format, args...)
	s.t.Fatalf("what was said:\n%s", tail(s.story.String(), 12000))
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// lineage reads what is kept of a certificate.
func (s *state) lineage(name string) (l model.Lineage) {
	s.t.Helper()
	text := s.read("state/lineages/" + name + ".json")
	if text == "" {
		return l
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		s.fail("lineage %s: %v", name, err)
	}
	return l
}

// live holds that a certificate is there as a matching, trusted pair, and gives
// its leaf.
func (s *state) live(lineage string, names ...string) *x509.Certificate {
	s.t.Helper()
	dir := filepath.Join(s.dir, "state", "live", lineage)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "privkey.pem"))
	if err != nil {
		s.fail("live %s: %v", lineage, err)
	}
	info, err := os.Stat(filepath.Join(dir, "privkey.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		s.fail("the key of %s: %v, %v", lineage, info.Mode(), err)
	}
	roots, chain := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(s.ca.IssuerRoots())
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			s.fail("chain of %s: %v", lineage, err)
		}
		chain.AddCert(c)
	}
	for _, name := range names {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: chain}); err != nil {
			s.fail("the certificate of %s: %v", lineage, err)
		}
	}
	l := s.lineage(lineage)
	if l.Version == nil || l.Version.Serial != fmt.Sprintf("%x", pair.Leaf.SerialNumber) {
		s.fail("lineage %s does not know what is live: %+v", lineage, l.Version)
	}
	return pair.Leaf
}

// handshake asks the target what it serves; nil: nothing.
func (s *state) handshake() *x509.Certificate {
	s.t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"}} //nolint:gosec // it is only looked at
	conn, err := dialer.DialContext(s.t.Context(), "tcp", s.target.Addr().String())
	if err != nil {
		return nil
	}
	defer conn.Close()
	tlsConn, ok := conn.(*tls.Conn)
	if !ok {
		s.fail("not TLS")
	}
	return tlsConn.ConnectionState().PeerCertificates[0]
}

// whole holds that the target serves one version, with its files and its pointer
// in step, and gives its number; 0: none.
func (s *state) whole() (version int) {
	s.t.Helper()
	leaf := s.handshake()
	pointer, err := os.Readlink(filepath.Join(s.dir, "state", "deployed", "files", "site"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.fail("the pointer: %v", err)
	}
	site := s.read("site/site.pem")
	if leaf == nil {
		if pointer != "" || site != "" {
			s.fail("nothing is served, but the pointer leads to %q and site.pem has %d bytes", pointer, len(site))
		}
		return 0
	}
	block, _ := pem.Decode([]byte(site))
	if block == nil || !bytes.Equal(block.Bytes, leaf.Raw) {
		s.fail("site.pem is not what is served")
	}
	cert, _ := pem.Decode([]byte(s.read("state/deployed/files/site/cert.pem")))
	if cert == nil || !bytes.Equal(cert.Bytes, leaf.Raw) {
		s.fail("the pointer (%s) does not lead to what is served", pointer)
	}
	version, err = strconv.Atoi(filepath.Base(pointer))
	if err != nil {
		s.fail("the pointer leads to %s", pointer)
	}
	return version
}

var leftover = regexp.MustCompile(`\.tmp-|/\.order-|\.commit\.json$|\.deleted$|/\.new-|key\.new\.pem$`)

// clean holds that nothing is left of what was in flight.
func (s *state) clean() {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.dir, "state"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && (leftover.MatchString(path) || strings.Contains(path, "/state/journal/")) {
			s.fail("left over: %s", path)
		}
		return err
	})
	if err != nil {
		s.fail("%v", err)
	}
	if _, err := os.Lstat(filepath.Join(s.dir, "web", ".well-known")); !errors.Is(err, fs.ErrNotExist) {
		s.fail("a challenge is left in place")
	}
	if conn, err := net.Dial("tcp", net.JoinHostPort(aside, strconv.Itoa(s.tlsPort))); err == nil {
		_ = conn.Close()
		s.fail("something listens on the challenge port")
	}
	s.quiet()
}

// quiet waits until no plugin of this state lives.
func (s *state) quiet() {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		left := s.processes()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.fail("processes are left: %v", left)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *state) processes() (left []string) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, dir := range dirs {
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if cwd == s.dir && strings.HasPrefix(filepath.Base(exe), "certwright-plugin-") {
			left = append(left, exe)
		}
	}
	return left
}

// orders counts those that the CA has made for this state.
func (s *state) orders() int { return strings.Count(s.story.String(), "/order-plz: 201") }

// accountKey is the key of the one account, if there is one yet.
func (s *state) accountKey() string {
	s.t.Helper()
	matches, err := filepath.Glob(filepath.Join(s.dir, "state", "accounts", "*", "key.pem"))
	if err != nil || len(matches) > 1 {
		s.fail("accounts: %v, %v", matches, err)
	}
	if len(matches) == 0 {
		return ""
	}
	data, err := os.ReadFile(matches[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

// finished holds that everything is as after an undisturbed run.
func (s *state) finished(version int) {
	s.t.Helper()
	s.clean()
	leaf := s.live("site", "a.test", "b.test")
	if now := s.handshake(); now == nil || !now.Equal(leaf) {
		s.fail("the target does not serve what is live")
	}
	if got := s.whole(); got != version {
		s.fail("the target serves version %d, not %d", got, version)
	}
	l := s.lineage("site")
	target := l.Targets["files"]
	if l.Version.Number != version || target.Deployed != version || target.Proven != version || target.Error != "" {
		s.fail("lineage: version %+v, target %+v", l.Version, target)
	}
}
