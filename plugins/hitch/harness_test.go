package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
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

const program = "/usr/sbin/hitch"

// proxy is a real hitch of the test's own.
type proxy struct {
	dir, config, pidfile, certs string
	port                        int
	backend                     string

	process *exec.Cmd
	output  *safeBuffer
	ended   chan struct{}
}

// start runs hitch with a directory of certificates, of which one is there.
func start(t *testing.T) *proxy {
	t.Helper()
	p := write(t)
	p.run(t)
	return p
}

// write makes the files of a hitch that does not run.
func write(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{dir: t.TempDir(), port: plugintest.Port(t), backend: backend(t)}
	p.config, p.pidfile, p.certs = filepath.Join(p.dir, "hitch.conf"), filepath.Join(p.dir, "hitch.pid"), filepath.Join(p.dir, "certs")
	must(t, os.Mkdir(p.certs, 0o700))
	put(t, filepath.Join(p.dir, "default.pem"), issue(t, "default.test").bundle())
	put(t, p.config, p.conf("pem-file = \""+filepath.Join(p.dir, "default.pem")+"\"\npem-dir = \""+p.certs+"\"\npem-dir-glob = \"*.pem\"\n"))
	return p
}

func (p *proxy) conf(certificates string) string {
	host, port, _ := net.SplitHostPort(p.backend)
	text := fmt.Sprintf("# a test's\nfrontend = {\n  host = \"127.0.0.1\"\n  port = \"%d\"\n}\nbackend = \"[%s]:%s\"\nworkers = 2\nocsp-dir = \"\"\nlog-level = 2\n",
		p.port, host, port)
	if os.Geteuid() == 0 {
		text += "user = \"nobody\"\ngroup = \"nogroup\"\n"
	}
	return text + certificates
}

func (p *proxy) file(name string) string { return filepath.Join(p.certs, name+".pem") }
func (p *proxy) address() string         { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// run starts hitch and waits until it shows a certificate.
func (p *proxy) run(t *testing.T) {
	t.Helper()
	p.output, p.ended = &safeBuffer{}, make(chan struct{})
	p.process = exec.Command(program, "--config="+p.config, "--pidfile="+p.pidfile)
	p.process.Stdout, p.process.Stderr = p.output, p.output
	p.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, p.process.Start())
	process, ended := p.process, p.ended
	go func() { _ = process.Wait(); close(ended) }()
	t.Cleanup(func() { p.stop(t) })
	eventually(t, "hitch answers", func() error {
		select {
		case <-ended:
			t.Fatalf("hitch ended: %s\n%s", process.ProcessState, p.output)
		default:
		}
		_, err := p.shown("default.test")
		return err
	})
}

// stop ends hitch with its workers.
func (p *proxy) stop(t *testing.T) {
	t.Helper()
	if p.process == nil {
		return
	}
	_ = p.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Errorf("hitch did not end\n%s", p.output)
	}
	_ = syscall.Kill(-p.process.Process.Pid, syscall.SIGKILL) // workers that still have a connection
	p.process = nil
}

func (p *proxy) settings() settings {
	return settings{Config: p.config, Pidfile: p.pidfile, Binary: program, PemDir: p.certs}
}

// shown is the leaf that hitch shows for a name.
func (p *proxy) shown(name string) ([]byte, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}}
	conn, err := dialer.Dial("tcp", p.address())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw, nil
}

// comesToShow waits until hitch shows a leaf for a name.
func (p *proxy) comesToShow(t *testing.T, name string, leaf []byte) {
	t.Helper()
	eventually(t, "hitch shows the certificate of "+name, func() error {
		got, err := p.shown(name)
		if err == nil && !bytes.Equal(got, leaf) {
			err = errors.New("it shows another one")
		}
		return err
	})
}

// backend is a web server behind hitch.
func backend(t *testing.T) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	})}
	served := make(chan struct{})
	go func() { _ = server.Serve(listener); close(served) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	return listener.Addr().String()
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
func plugin(t *testing.T, s settings, state string) *hitch {
	t.Helper()
	h := newHitch()
	h.settings = s
	h.unit.Booted = filepath.Join(state, "no-systemd")
	must(t, h.Configure(t.Context(), sdk.Instance{Name: "hitch", StateDir: state}))
	return h
}

func operation(ctx context.Context, lineage, id string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{ID: id, Lineage: lineage})
}

func deployment(c certificate, lineage string) sdk.Deployment {
	return sdk.Deployment{Lineage: lineage, Name: lineage, Names: []string{lineage}, LeafPEM: c.leaf, FullchainPEM: c.leaf, KeyPEM: c.key}
}

// deploy does what the host does, up to the restart.
func deploy(ctx context.Context, h *hitch, c certificate, lineage string) error {
	r := &recorder{}
	if err := h.Deploy(ctx, deployment(c, lineage), r); err != nil {
		return err
	}
	if _, err := h.Save(ctx, sdk.SaveRequest{}, r); err != nil {
		return err
	}
	if _, err := h.Save(ctx, sdk.SaveRequest{Title: "Deployed ACME Certificate"}, r); err != nil {
		return err
	}
	if err := h.ConfigTest(ctx, r); err != nil {
		return err
	}
	return h.Restart(ctx, r)
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

func read(t *testing.T, path string) string {
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
