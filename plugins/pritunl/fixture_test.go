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
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

// patience is how long something that must happen may take on a busy machine.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if steps := plugintest.StartedAs("pritunl"); steps != nil {
		p := newPritunl()
		p.step = steps.At
		sdk.Serve(declaration(p))
		os.Exit(0)
	}
	mortal()
	// Pebble's validator is never stopped.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

// during is a context of an operation, as the host gives it.
func during(ctx context.Context, lineage, step string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{
		ID: lineage + "/pritunl/" + step, Lineage: lineage, Attempt: 1,
		Identifiers: []sdk.Identifier{{Type: "dns", Value: lineage}},
	})
}

// deploy does what the host does, up to the proof.
func deploy(ctx context.Context, p *pritunl, d sdk.Deployment, run string, r sdk.Reporter) error {
	for _, name := range d.Names {
		d.Name = name
		if err := p.Deploy(during(ctx, d.Lineage, run+" deploy "+name), d, r); err != nil {
			return err
		}
		if _, err := p.Save(during(ctx, d.Lineage, run+" save "+name), sdk.SaveRequest{}, r); err != nil {
			return err
		}
	}
	if _, err := p.Save(during(ctx, d.Lineage, run+" save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, r); err != nil {
		return err
	}
	return p.Restart(during(ctx, d.Lineage, run+" restart"), r)
}

func back(ctx context.Context, p *pritunl, lineage, run string, r sdk.Reporter) error {
	return p.Rollback(during(ctx, lineage, run+" back"), 1, r)
}

var serial atomic.Int64

// issued makes a real certificate, signed by an intermediate.
func issued(t *testing.T, lineage string) sdk.Deployment {
	t.Helper()
	caKey, ca := issue(t, "intermediate", nil, nil)
	leafKey, leaf := issue(t, lineage, ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	must(t, err)
	d := sdk.Deployment{
		Lineage: lineage, Name: lineage, Names: []string{lineage, "www." + lineage},
		LeafPEM:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}),
		ChainPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}),
		KeyPEM:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
	d.FullchainPEM = []byte(string(d.LeafPEM) + string(d.ChainPEM))
	return d
}

func issue(t *testing.T, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
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

// shown gives the certificate that a client sees, as PEM. A connection that breaks,
// because the web server restarts meanwhile, is made again.
func shown(t *testing.T, address string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		leaf, err := leafAt(ctx, address)
		if err == nil {
			return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}))
		}
		timer := time.NewTimer(10 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			t.Fatal(err)
		}
	}
}

func leafAt(ctx context.Context, address string) ([]byte, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the certificate is compared
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw, nil
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
