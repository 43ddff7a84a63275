package run

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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
	plugins := filepath.Join(dir, "libexec", "certwright", "plugins")
	build := exec.Command("go", "build", "-o", filepath.Join(plugins, "certwright-plugin-sites"), "./cmd/certwright/testdata/plugins/sites")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the plugin of the tests: %w\n%s", err, out)
	}
	return plugins, nil
})

// rig is a CA, a web server that it looks for challenges at, and a TLS server
// that certificates are deployed to. One case uses it at a time.
type rig struct {
	ca      *testca.CA
	tlsPort int
	target  net.Listener
	// one and two are further targets.
	one, two net.Listener
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
	r.target, r.one, r.two = r.serve(t, "site/served.pem"), r.serve(t, "one/served.pem"), r.serve(t, "two/sites.conf.pem")
	return r
}

// aside is where a plugin listens: at an address that no connection of anybody
// else comes from, so that nobody takes the port meanwhile.
const aside = "127.0.0.9"

// serve is a server that certificates are deployed to: it serves what its reload
// has copied to a file of the case.
func (r *rig) serve(t *testing.T, file string) net.Listener {
	t.Helper()
	target, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return r.served(file) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := target.Accept()
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
		_ = target.Close()
		serving.Wait()
	})
	return target
}

func (r *rig) served(file string) (*tls.Certificate, error) {
	data, err := os.ReadFile(filepath.Join(*r.dir.Load(), file))
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
// proven by standalone with tls-alpn-01; pair goes to two targets or to none, one
// of which edits a configuration and sets a redirect.
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
  - name: one
    plugin: files
    settings:
      combined: %[2]s/one/site.pem
      test: "! test -e %[2]s/one/site.pem || test -s %[2]s/one/site.pem"
      reload: %[2]s/reload one
      endpoints: ["%[5]s"]
  - {name: two, plugin: sites, settings: {config: %[2]s/two/sites.conf, endpoints: ["%[6]s"]}}
certificates:
  - {name: pair, names: [a.test], authenticate: [{with: [webroot]}], deploy: [one, two], all_or_nothing: true, enhance: [redirect]}
  - {name: site, names: [a.test, b.test], authenticate: [{with: [webroot]}], deploy: [files]}
  - {name: other, names: [c.test], authenticate: [{with: [standalone]}], preferred_challenges: [tls-alpn-01]}
`

const sitesConf = "a.test\nb.test\n"

// The reload refuses anything but the content of "only", if that is there.
const reload = `#!/bin/sh
set -e
cd %[1]s/${1:-site}
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
	for _, dir := range []string{"etc", "web", "site", "one", "two"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write("ca.pem", string(r.ca.TLSRoots()), 0o600)
	s.write("etc/certwright.yaml", fmt.Sprintf(configuration, r.ca.DirectoryURL(), s.dir, r.tlsPort, r.target.Addr(), r.one.Addr(), r.two.Addr()), 0o600)
	s.write("two/sites.conf", sitesConf, 0o600)
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
