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
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

// patient is how long anything may take on a machine that is busy.
const patient = 60 * time.Second

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

// recorder keeps what a call reports, and answers what it asks.
type recorder struct {
	mu       sync.Mutex
	results  []sdk.Result
	progress []string
	asked    []string
	answers  []string
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

func (r *recorder) Say(sdk.Stream, string) {}

func (r *recorder) Ask(_ context.Context, text string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, text)
	if len(r.answers) == 0 {
		return "", sdk.ErrNotInteractive
	}
	next := r.answers[0]
	r.answers = r.answers[1:]
	return next, nil
}

func (r *recorder) last(t *testing.T, subject string) sdk.Result {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.results) - 1; i >= 0; i-- {
		if r.results[i].Subject == subject {
			return r.results[i]
		}
	}
	t.Errorf("there is no result for %s", subject)
	return sdk.Result{}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// selfSigned writes fullchain.pem and privkey.pem into a directory.
func selfSigned(t *testing.T, dir string, names ...string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	number, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	put(t, filepath.Join(dir, "fullchain.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	put(t, filepath.Join(dir, "privkey.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return cert
}

// certificate is a lineage as the host keeps it: its versions in directories,
// and one pointer that the configuration names.
type certificate struct {
	lineage string
	names   []string
	dir     string
	leaf    *x509.Certificate
	version int
}

func (w *web) certificate(t *testing.T, lineage string, names ...string) *certificate {
	t.Helper()
	c := &certificate{lineage: lineage, names: names, dir: w.path(filepath.Join("lineages", lineage))}
	c.renew(t)
	return c
}

func (c *certificate) renew(t *testing.T) {
	t.Helper()
	c.version++
	version := filepath.Join(c.dir, fmt.Sprint(c.version))
	c.leaf = selfSigned(t, version, c.names...)
	pointer := filepath.Join(c.dir, "deployed")
	must(t, os.Symlink(version, pointer+".new"))
	must(t, os.Rename(pointer+".new", pointer))
}

func (c *certificate) paths() sdk.Paths {
	in := func(name string) string { return filepath.Join(c.dir, "deployed", name) }
	return sdk.Paths{Cert: in("cert.pem"), Chain: in("chain.pem"), Fullchain: in("fullchain.pem"), Privkey: in("privkey.pem")}
}

func (c *certificate) deployment(name string) sdk.Deployment {
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.leaf.Raw})
	return sdk.Deployment{
		Lineage: c.lineage, Name: name, Names: c.names, LeafPEM: leaf, FullchainPEM: leaf,
		Paths: c.paths(), ConfigPaths: c.paths(),
	}
}

// during is a context of an operation, as the host gives it.
func during(ctx context.Context, lineage, step string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{
		ID: lineage + "/nginx/" + step, Lineage: lineage, Attempt: 1,
		Identifiers: []sdk.Identifier{{Type: "dns", Value: lineage}},
	})
}

// save stages and writes all names of a certificate, as the host does.
func (c *certificate) save(ctx context.Context, n *nginx, r *recorder) (sdk.Checkpoint, error) {
	run := fmt.Sprint(c.version)
	for _, name := range c.names {
		if err := n.Deploy(during(ctx, c.lineage, run+"deploy "+name), c.deployment(name), r); err != nil {
			return sdk.Checkpoint{}, err
		}
		if _, err := n.Save(during(ctx, c.lineage, run+"save "+name), sdk.SaveRequest{}, r); err != nil {
			return sdk.Checkpoint{}, err
		}
	}
	saved, err := n.Save(during(ctx, c.lineage, run+"save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, r)
	if err != nil {
		return saved, err
	}
	return saved, n.ConfigTest(during(ctx, c.lineage, run+"test"), r)
}

// deploy is save and the restart, with the endpoints that were reported.
func (c *certificate) deploy(t *testing.T, n *nginx) (sdk.Checkpoint, []sdk.Endpoint) {
	t.Helper()
	r := &recorder{}
	saved, err := c.save(t.Context(), n, r)
	must(t, err)
	must(t, n.Restart(during(t.Context(), c.lineage, fmt.Sprint(c.version, "restart")), r))
	var out []sdk.Endpoint
	for _, result := range r.results {
		out = append(out, result.Endpoints...)
	}
	return saved, out
}

// served gives the certificate that an address shows for a name, after one
// handshake.
func served(address, name string) (*x509.Certificate, error) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patient}, Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

func wantLeaf(t *testing.T, leaf *x509.Certificate, address, name string) {
	t.Helper()
	got, err := served(address, name)
	if err != nil {
		t.Errorf("%s for %s: %v", address, name, err)
		return
	}
	if !got.Equal(leaf) {
		t.Errorf("%s shows for %s the certificate of %q", address, name, got.DNSNames)
	}
}

// both gives the two loopback addresses with a port.
func both(port int) []string {
	return []string{fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("[::1]:%d", port)}
}

// get asks by a new connection, and follows nothing.
func get(address, host, path string) (int, string, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = host
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func challenge(name, token string) sdk.Challenge {
	body := token + ".thumb-print_0"
	return sdk.Challenge{
		ID: name + "/" + token, Type: sdk.HTTP01, Identifier: sdk.Identifier{Type: "dns", Value: name},
		Token: token, KeyAuthorization: body,
		HTTP: &sdk.HTTPChallenge{Path: challengePrefix + token, Body: []byte(body)},
	}
}

func wantAnswer(t *testing.T, w *web, c sdk.Challenge, answered bool) {
	t.Helper()
	for _, address := range both(w.http) {
		host := c.Identifier.Value
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		code, body, err := get(address, host, c.HTTP.Path)
		if got := err == nil && code == http.StatusOK && body == string(c.HTTP.Body); got != answered {
			t.Errorf("%s at %s: %d %q %v", c.ID, address, code, body, err)
		}
	}
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
		if !strings.Contains(p.Error()+"\n"+p.Hint, part) {
			t.Errorf("%q does not say %q", p.Error()+"\n"+p.Hint, part)
		}
	}
}
