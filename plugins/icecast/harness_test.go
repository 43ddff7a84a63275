package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
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

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

// patience is how long something that must happen may take on a busy machine.
const patience = 60 * time.Second

const icecast2 = "/usr/bin/icecast2"

// server is a real Icecast of the test's own, with a supervisor that starts it
// again whenever it ends.
type server struct {
	dir, config, bundle, pidfile string
	plain, tls                   int

	output *safeBuffer
	// starts counts them.
	starts atomic.Int64
	quit   chan struct{}
	ended  chan struct{}
}

// start runs an Icecast without TLS.
func start(t *testing.T) *server {
	t.Helper()
	s := prepare(t)
	s.run(t)
	return s
}

// prepare makes the files of an Icecast that does not run.
func prepare(t *testing.T) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "ice") //nolint:usetesting // Icecast's user must be able to enter it
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	s := &server{dir: dir, plain: plugintest.Port(t), tls: plugintest.Port(t)}
	// Icecast's user may write its logs and its pidfile, and nothing else.
	logs := filepath.Join(dir, "log")
	must(t, os.Mkdir(logs, 0o755))
	owner := ""
	if os.Geteuid() == 0 {
		nobody, err := lookUp("nobody", "")
		must(t, err)
		must(t, os.Chown(logs, *nobody.uid, *nobody.gid))
		owner = "<changeowner><user>nobody</user><group>nogroup</group></changeowner>"
	}
	must(t, os.Mkdir(filepath.Join(dir, "etc"), 0o755))
	s.config, s.bundle, s.pidfile = filepath.Join(dir, "etc", "icecast.xml"), filepath.Join(dir, "etc", "icecast.pem"), filepath.Join(logs, "pid")
	put(t, s.config, strings.NewReplacer("DIR", dir, "PORT", strconv.Itoa(s.plain), "OWNER", owner, "LOGS", logs).Replace(configuration))
	must(t, os.Chmod(s.config, 0o644))
	return s
}

// configuration is as an operator may have written it.
const configuration = `<?xml version="1.0"?>
<!DOCTYPE icecast [ <!ENTITY where "Earth"> ]>
<icecast>
  <!-- <ssl-certificate>not here</ssl-certificate> -->
  <location>&where;</location> <admin>a&#64;a.test</admin>
  <limits><clients>10</clients><sources>2</sources></limits>
  <authentication><source-password>hackme</source-password><admin-user>a</admin-user><admin-password>x</admin-password></authentication>
  <hostname>a.test</hostname>
  <listen-socket>
    <port>PORT</port>   <!-- for all -->
    <bind-address>127.0.0.1</bind-address>
  </listen-socket>
  <fileserve>1</fileserve>
  <paths>
    <basedir>DIR</basedir>
    <logdir>LOGS</logdir><webroot>/usr/share/icecast2/web</webroot>
    <adminroot>/usr/share/icecast2/admin</adminroot>
    <pidfile>LOGS/pid</pidfile>
    <!-- the end -->
  </paths>
  <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>4</loglevel></logging>
  <security><chroot>0</chroot>OWNER</security>
</icecast>
`

func (s *server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.tls)) }

// run supervises Icecast until the test ends.
func (s *server) run(t *testing.T) {
	t.Helper()
	s.output, s.quit, s.ended = &safeBuffer{}, make(chan struct{}), make(chan struct{})
	go s.supervise()
	t.Cleanup(func() { s.stop(t) })
	eventually(t, "Icecast answers", func() error {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.plain)), patience)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, s.output)
		}
		return conn.Close()
	})
}

func (s *server) supervise() {
	defer close(s.ended)
	for {
		cmd := exec.Command(icecast2, "-c", s.config)
		cmd.Stdout, cmd.Stderr = s.output, s.output
		if err := cmd.Start(); err != nil {
			_, _ = fmt.Fprintln(s.output, err)
			return
		}
		s.starts.Add(1)
		died := make(chan struct{})
		go func() { _ = cmd.Wait(); close(died) }()
		select {
		case <-s.quit:
			_ = cmd.Process.Kill()
			<-died
			return
		case <-died:
		}
		// It may end at once, for want of a configuration.
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-s.quit:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	if s.quit == nil {
		return
	}
	close(s.quit)
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Errorf("Icecast did not end\n%s", s.output)
	}
	s.quit = nil
}

func (s *server) settings() settings {
	return settings{Config: s.config, Bundle: s.bundle, SSLPort: s.tls, Pidfile: s.pidfile}
}

// comesToShow waits until Icecast shows a leaf; nil: until it has no TLS.
func (s *server) comesToShow(t *testing.T, leaf []byte) {
	t.Helper()
	eventually(t, "Icecast shows the certificate", func() error {
		err := handshake(t.Context(), s.address(), leaf)
		if leaf != nil {
			return err
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		return fmt.Errorf("somebody is there: %w", err)
	})
}

// certificate is one that the test has made.
type certificate struct{ leaf, key []byte } // PEM

func (c certificate) bundle() []byte { return append(bytes.Clone(c.key), c.leaf...) }

func (c certificate) der() []byte {
	block, _ := pem.Decode(c.leaf)
	return block.Bytes
}

var serial atomic.Int64

func issue(t *testing.T, names ...string) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return certificate{
		leaf: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

// plugin gives a configured instance, as a new process would be.
func plugin(t *testing.T, s settings, state string) *icecast {
	t.Helper()
	i := newIcecast()
	i.settings = s
	i.unit.Booted = filepath.Join(state, "no-systemd")
	must(t, i.Configure(t.Context(), sdk.Instance{Name: "icecast", StateDir: state}))
	return i
}

func operation(ctx context.Context, id string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{ID: id, Lineage: "a.test"})
}

func deployment(c certificate) sdk.Deployment {
	return sdk.Deployment{Lineage: "a.test", Name: "a.test", Names: []string{"a.test"}, LeafPEM: c.leaf, FullchainPEM: c.leaf, KeyPEM: c.key}
}

// deploy does what the host does, up to the restart.
func deploy(ctx context.Context, i *icecast, c certificate) error {
	r := &recorder{}
	if err := i.Deploy(ctx, deployment(c), r); err != nil {
		return err
	}
	if _, err := i.Save(ctx, sdk.SaveRequest{}, r); err != nil {
		return err
	}
	if _, err := i.Save(ctx, sdk.SaveRequest{Title: "Deployed ACME Certificate"}, r); err != nil {
		return err
	}
	if err := i.ConfigTest(ctx, r); err != nil {
		return err
	}
	return i.Restart(ctx, r)
}

// eventually tries until there is no error.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			t.Fatalf("%s: not in time: %v", what, err)
		case <-timer.C:
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func put(t *testing.T, path string, data any) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(fmt.Sprintf("%s", data)), 0o600))
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// tree is what the files of a directory hold, with their modes.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = fmt.Sprint(info.Mode(), "\n", string(data))
		return err
	}))
	return out
}

func wantError(t *testing.T, err error, code sdk.Code, parts ...string) {
	t.Helper()
	p := sdk.ProblemOf(err)
	if p == nil {
		t.Fatal("there is no error")
	}
	if p.Code != code {
		t.Errorf("code %s, want %s: %v", p.Code, code, err)
	}
	for _, part := range parts {
		if text := p.Error() + "\n" + p.Hint; !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}

// recorder keeps what a call reports.
type recorder struct {
	mu      sync.Mutex
	results []sdk.Result
}

func (r *recorder) Result(result sdk.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

func (r *recorder) Progress(string, string)                     {}
func (r *recorder) Say(sdk.Stream, string)                      {}
func (r *recorder) Ask(context.Context, string) (string, error) { return "", io.EOF }

// safeBuffer may be read while a process writes into it.
type safeBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
