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
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T any](t *testing.T, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func (f *fake) settings(token, app string) settings {
	return settings{
		Token: sdk.Secret(token), App: app, Variable: "LETS_ENCRYPT_CHALLENGE", Variables: "LETS_ENCRYPT_CHALLENGES",
		DynoWait: 60 * time.Second, AddDomains: true, Endpoint: f.url,
	}
}

// configured gives an instance, as a new process would be.
func configured(t *testing.T, s settings, stateDir string) *heroku {
	t.Helper()
	h := newHeroku()
	h.settings, h.pause = s, time.Millisecond
	must(t, h.Configure(t.Context(), sdk.Instance{Name: "test", StateDir: stateDir}))
	states.Store(h, stateDir)
	return h
}

// states are the state directories of the instances.
var states sync.Map

func stateOf(h *heroku) string {
	dir, _ := states.Load(h)
	return dir.(string)
}

// recorder keeps what a call reports.
type recorder struct {
	sdk.Reporter
	mu       sync.Mutex
	results  map[string]sdk.Result
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
	if r.results == nil {
		r.results = map[string]sdk.Result{}
	}
	r.results[result.Subject] = result
}

func operation(ctx context.Context, lineage, id string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{ID: id, Lineage: lineage, RunID: "run"})
}

func challenge(name, token string) sdk.Challenge {
	proof := token + ".thumbprint"
	return sdk.Challenge{
		ID: name + "/" + token, Type: sdk.HTTP01, Identifier: sdk.Identifier{Type: "dns", Value: name},
		Token: token, KeyAuthorization: proof,
		HTTP: &sdk.HTTPChallenge{Path: "/.well-known/acme-challenge/" + token, Body: []byte(proof)},
	}
}

// authority issues the certificates of a test.
var authority = sync.OnceValues(func() (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := template("Test CA")
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err == nil {
		c, err = x509.ParseCertificate(der)
	}
	if err != nil {
		panic(err)
	}
	return c, key
})

func template(subject string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: subject},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

// certificate is what a CA would have issued.
func certificate(t *testing.T, names ...string) sdk.Deployment {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca, caKey := authority()
	c := template("")
	c.DNSNames = names
	der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	leaf, chain := encode("CERTIFICATE", der), encode("CERTIFICATE", ca.Raw)
	return sdk.Deployment{
		Lineage: strings.TrimPrefix(names[0], "*."), Name: names[0], Names: names,
		LeafPEM: leaf, ChainPEM: chain, FullchainPEM: slices.Concat(leaf, chain), KeyPEM: encode("PRIVATE KEY", pkcs8),
	}
}

// deploy does what the host does, up to where nothing has to be proven.
func deploy(ctx context.Context, h *heroku, d sdk.Deployment, id string) (sdk.Checkpoint, error) {
	ctx = operation(ctx, d.Lineage, id)
	for _, name := range d.Names {
		d.Name = name
		if err := h.Deploy(ctx, d, &recorder{}); err != nil {
			return sdk.Checkpoint{}, err
		}
		if _, err := h.Save(ctx, sdk.SaveRequest{}, &recorder{}); err != nil {
			return sdk.Checkpoint{}, err
		}
	}
	c, err := h.Save(ctx, sdk.SaveRequest{Title: "Deployed"}, &recorder{})
	if err == nil {
		err = h.Restart(ctx, &recorder{})
	}
	return c, err
}

// shows wants the leaf to be served for a name.
func (f *fake) shows(t *testing.T, name string, leafPEM []byte) {
	t.Helper()
	block, _ := pem.Decode(leafPEM)
	conn, err := (&tls.Dialer{Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", f.edge)
	must(t, err)
	defer conn.Close()
	got := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	if string(got.Raw) != string(block.Bytes) {
		t.Errorf("%s is served with %X for %q", name, got.SerialNumber, got.DNSNames)
	}
}

// problem is what a user would read; nil is a failure of the test.
func problem(t *testing.T, err error) *sdk.Problem {
	t.Helper()
	if err == nil {
		t.Fatal("it did not fail")
	}
	var p *sdk.Problem
	if !errors.As(err, &p) {
		t.Fatalf("it is no problem: %v", err)
	}
	return sdk.ProblemOf(err)
}
