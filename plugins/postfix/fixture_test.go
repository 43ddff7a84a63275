package main

import (
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
	"io/fs"
	"math/big"
	"net"
	"net/smtp"
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

// mailServer is a Postfix of the test's own.
type mailServer struct {
	dir string
	// smtp speaks STARTTLS, smtps TLS at once.
	smtp, smtps string
}

// The comment, the odd layout and the continued line must survive.
const mainCF = `# Mail for a.test.
compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
myhostname = mail.a.test
mydomain   =   a.test
myorigin = DIR/etc/mailname
inet_interfaces = loopback-only
maillog_file = DIR/mail.log
maillog_file_prefixes = DIR
mynetworks =
    127.0.0.0/8
    [::1]/128
# Debian's.
smtpd_tls_cert_file=DIR/old.pem
smtpd_tls_key_file=DIR/old.key
smtpd_tls_security_level = may
smtp_tls_security_level = dane
`

const masterCF = `# service type  private unpriv  chroot  wakeup  maxproc command + args
SMTP inet  n       -       n       -       -       smtpd
SMTPS inet n       -       n       -       -       smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_tls_security_level=encrypt
cleanup   unix  n       -       n       -       0       cleanup
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
proxymap  unix  -       -       n       -       -       proxymap
anvil     unix  -       -       n       -       1       anvil
postlog   unix-dgram n  -       n       -       1       postlogd
smtp      unix  -       -       n       -       -       smtp
`

// configured writes a configuration and starts nothing.
func configured(t *testing.T) *mailServer {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("postfix starts only as root: run this test as root")
	}
	for _, program := range []string{"/usr/sbin/postfix", "/usr/sbin/postconf"} {
		if _, err := os.Stat(program); err != nil {
			t.Fatalf("%v: install the package postfix", err)
		}
	}
	// Processes of the user postfix must get there, so not t.TempDir.
	dir, err := os.MkdirTemp("", "postfix") //nolint:usetesting // see above
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	m := &mailServer{dir: dir, smtp: reserve(t), smtps: reserve(t)}
	for _, d := range []string{"etc", "queue", "data"} {
		must(t, os.Mkdir(m.path(d), 0o755))
	}
	if out, err := exec.CommandContext(t.Context(), "chown", "postfix", m.path("data")).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v\n%s", err, out)
	}
	old := certificate(t, "old.test")
	write(t, m.path("old.pem"), string(old.FullchainPEM))
	write(t, m.path("old.key"), string(old.KeyPEM))
	write(t, m.path("etc/mailname"), "Post.A.test\n")
	write(t, m.main(), strings.ReplaceAll(mainCF, "DIR", dir))
	write(t, m.master(), strings.NewReplacer("SMTPS inet", m.smtps+" inet", "SMTP inet", m.smtp+" inet").Replace(masterCF))
	return m
}

// running starts it, and stops it at the end.
func running(t *testing.T) *mailServer {
	t.Helper()
	m := configured(t)
	m.start(t)
	return m
}

func (m *mailServer) path(name string) string { return filepath.Join(m.dir, name) }
func (m *mailServer) main() string            { return m.path("etc/main.cf") }
func (m *mailServer) master() string          { return m.path("etc/master.cf") }

func (m *mailServer) command(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return exec.CommandContext(ctx, "/usr/sbin/postfix", append([]string{"-c", m.path("etc")}, args...)...).CombinedOutput()
}

func (m *mailServer) start(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { m.stop(t) })
	if out, err := m.command("start"); err != nil {
		t.Fatalf("postfix start: %v\n%s\n%s", err, out, m.log())
	}
}

// stop ends its master process, and all others with it; that there is none is
// fine. Whatever postfix says, none must outlive the test.
func (m *mailServer) stop(t *testing.T) {
	t.Helper()
	if !m.alive(t) {
		return
	}
	if out, err := m.command("stop"); err != nil {
		t.Errorf("postfix stop: %v\n%s\n%s", err, out, m.log())
	}
	eventually(t, "the master process is gone", func() error {
		if !m.alive(t) {
			return nil
		}
		return errors.Join(errors.New("it lives"), syscall.Kill(m.pid(t), syscall.SIGTERM))
	})
}

func (m *mailServer) pid(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile(m.path("queue/pid/master.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	must(t, err)
	return pid
}

func (m *mailServer) alive(t *testing.T) bool {
	t.Helper()
	pid := m.pid(t)
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return pid != 0 && err == nil && strings.Contains(string(name), "/postfix/")
}

func (m *mailServer) log() string {
	data, _ := os.ReadFile(m.path("mail.log"))
	return string(data)
}

// tree is all that a deployment could have touched.
func (m *mailServer) tree(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(m.path("etc"))
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		out[e.Name()] = fmt.Sprintln(info.Mode(), info.ModTime().UTC()) + read(t, filepath.Join(m.path("etc"), e.Name()))
	}
	return out
}

// reserve gives an address that is the test's until it ends.
func reserve(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", plugintest.Port(t))
}

// served gives the leaf that is shown, by STARTTLS or at once.
func served(ctx context.Context, address string, kind sdk.EndpointKind) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"} //nolint:gosec // the leaf is compared
	if kind == sdk.TLS {
		client := tls.Client(conn, config)
		if err := client.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		return client.ConnectionState().PeerCertificates[0].Raw, nil
	}
	client, err := smtp.NewClient(conn, "a.test")
	if err != nil {
		return nil, err
	}
	if err := client.StartTLS(config); err != nil {
		return nil, err
	}
	state, _ := client.TLSConnectionState()
	return state.PeerCertificates[0].Raw, client.Quit()
}

// shows waits until both services show a leaf: processes that have a connection
// go on with what they have.
func (m *mailServer) shows(t *testing.T, leafPEM []byte) {
	t.Helper()
	block, _ := pem.Decode(leafPEM)
	for address, kind := range map[string]sdk.EndpointKind{m.smtp: sdk.SMTP, m.smtps: sdk.TLS} {
		eventually(t, address+" shows the certificate", func() error {
			got, err := served(t.Context(), address, kind)
			if err == nil && string(got) != string(block.Bytes) {
				err = errors.New("it shows another one")
			}
			return err
		})
	}
}

func (m *mailServer) settings() settings {
	return settings{
		ConfigDir: m.path("etc"), CommandDirectory: "/usr/sbin", QueueDirectory: m.path("queue"),
	}
}

// plugin gives a configured instance, as a new process would be.
func (m *mailServer) plugin(t *testing.T, state string, change ...func(*settings)) *postfix {
	t.Helper()
	p := newPostfix()
	p.settings = m.settings()
	p.systemd.booted = filepath.Join(state, "no-systemd")
	for _, c := range change {
		c(&p.settings)
	}
	must(t, p.Configure(t.Context(), sdk.Instance{Name: "postfix", StateDir: state}))
	return p
}

// during is a context of an operation, as the host gives it.
func during(ctx context.Context, lineage, step string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{
		ID: lineage + "/postfix/" + step, Lineage: lineage, Attempt: 1,
		Identifiers: []sdk.Identifier{{Type: "dns", Value: lineage}},
	})
}

// stage does what the host does up to the checkpoint.
func stage(ctx context.Context, p *postfix, d sdk.Deployment, run string, r sdk.Reporter) (sdk.Checkpoint, error) {
	for _, name := range d.Names {
		d.Name = name
		if err := p.Deploy(during(ctx, d.Lineage, run+" deploy "+name), d, r); err != nil {
			return sdk.Checkpoint{}, err
		}
		if _, err := p.Save(during(ctx, d.Lineage, run+" save "+name), sdk.SaveRequest{}, r); err != nil {
			return sdk.Checkpoint{}, err
		}
	}
	return p.Save(during(ctx, d.Lineage, run+" save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, r)
}

func deployed(t *testing.T, p *postfix, d sdk.Deployment, run string) (sdk.Checkpoint, *recorder) {
	t.Helper()
	r := &recorder{}
	c, err := stage(t.Context(), p, d, run, r)
	must(t, err)
	must(t, p.ConfigTest(during(t.Context(), d.Lineage, run+" test"), r))
	must(t, p.Restart(during(t.Context(), d.Lineage, run+" restart"), r))
	return c, r
}

var serial atomic.Int64

// certificate makes a real one, signed by an intermediate.
func certificate(t *testing.T, lineage string) sdk.Deployment {
	t.Helper()
	caKey, ca := issue(t, "intermediate", nil, nil)
	leafKey, leaf := issue(t, lineage, ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	must(t, err)
	d := sdk.Deployment{
		Lineage: lineage, Name: lineage, Names: []string{lineage, "mail." + lineage},
		LeafPEM:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}),
		ChainPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}),
		KeyPEM:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
	d.FullchainPEM = []byte(string(d.LeafPEM) + string(d.ChainPEM))
	return d
}

// placed puts it where main.cf is to look for it.
func placed(t *testing.T, root string, d sdk.Deployment) sdk.Deployment {
	t.Helper()
	dir := filepath.Join(root, d.Lineage)
	must(t, os.MkdirAll(dir, 0o700))
	d.ConfigPaths = sdk.Paths{Fullchain: filepath.Join(dir, "fullchain.pem"), Privkey: filepath.Join(dir, "privkey.pem")}
	write(t, d.ConfigPaths.Fullchain, string(d.FullchainPEM))
	write(t, d.ConfigPaths.Privkey, string(d.KeyPEM))
	return d
}

func issue(t *testing.T, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, parentKey = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), parentKey)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return private, cert
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

func (r *recorder) story() string { return strings.Join(r.progress, "\n") }

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

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
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
