package acmeclient_test

// What the tests against Pebble have in common.

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/testca"
)

func startCA(t *testing.T, o testca.Options) *testca.CA {
	t.Helper()
	ca, err := testca.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	return ca
}

// clientOf is a client of a CA that counts its requests by method.
func clientOf(t *testing.T, ca *testca.CA, count *counter, change ...func(*acmeclient.Options)) *acmeclient.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.TLSRoots()) {
		t.Fatal("no roots")
	}
	o := acmeclient.Options{Server: ca.DirectoryURL(), Roots: roots, Log: t.Logf}
	if count != nil {
		o.OnRequest = count.add
	}
	for _, c := range change {
		c(&o)
	}
	client, err := acmeclient.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

type counter struct {
	mu      sync.Mutex
	methods map[string]int
}

func (c *counter) add(method, _ string, _ int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.methods == nil {
		c.methods = map[string]int{}
	}
	c.methods[method]++
}

func p256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func register(t *testing.T, client *acmeclient.Client, r acmeclient.Registration) string {
	t.Helper()
	url, created, err := client.Register(bounded(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if !created {
		t.Error("a new account is said to have been there")
	}
	client.SetAccount(r.Key, url)
	return url
}

func dnsNames(names ...string) []model.Identifier {
	var out []model.Identifier
	for _, name := range names {
		value, wildcard := strings.CutPrefix(name, "*.")
		out = append(out, model.Identifier{Type: "dns", Value: value, Wildcard: wildcard})
	}
	return out
}

func pick(t *testing.T, z model.Authorization, challengeType string) model.ACMEChallenge {
	t.Helper()
	for _, challenge := range z.Challenges {
		if challenge.Type == challengeType {
			return challenge
		}
	}
	t.Fatalf("%s has no %s: %+v", z.Identifier, challengeType, z.Challenges)
	return model.ACMEChallenge{}
}

func csr(t *testing.T, key crypto.Signer, names ...string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// answers is an http-01 server on a port of its own.
type answers struct {
	sync.Map
	port int
}

func serveAnswers(t *testing.T) *answers {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &answers{port: listener.Addr().(*net.TCPAddr).Port}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := a.Load(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, body.(string))
	})}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { _ = server.Close(); served.Wait() })
	return a
}

// answer puts the answer to http-01 in place.
func (a *answers) answer(t *testing.T, client *acmeclient.Client, z model.Authorization) model.ACMEChallenge {
	t.Helper()
	challenge := pick(t, z, "http-01")
	path, err := client.HTTP01Path(challenge.Token)
	if err != nil {
		t.Fatal(err)
	}
	body, err := client.KeyAuthorization(challenge.Token)
	if err != nil {
		t.Fatal(err)
	}
	a.Store(path, body)
	return challenge
}

// prove does http-01 for one authorization.
func prove(ctx context.Context, t *testing.T, client *acmeclient.Client, web *answers, url string) model.Authorization {
	t.Helper()
	z, err := client.Authorization(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	challenge := web.answer(t, client, z)
	if err := client.Accept(ctx, challenge.URL); err != nil {
		t.Fatal(err)
	}
	// Again is no failure, whatever has become of it.
	if err := client.Accept(ctx, challenge.URL); err != nil {
		t.Errorf("accepting a challenge twice: %v", err)
	}
	z, err = client.PollAuthorization(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// issue gets a certificate from a CA that holds everything to be proven.
func issue(ctx context.Context, t *testing.T, client *acmeclient.Client, o model.Order, key crypto.Signer, names ...string) model.Order {
	t.Helper()
	for _, url := range o.Authorizations {
		z, err := client.Authorization(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		if z.Status == model.StatusValid {
			continue
		}
		if err := client.Accept(ctx, pick(t, z, "dns-01").URL); err != nil {
			t.Fatal(err)
		}
		if z, err = client.PollAuthorization(ctx, url); err != nil || z.Status != model.StatusValid {
			t.Fatalf("authorization: %+v, %v", z, err)
		}
	}
	o, err := client.Finalize(ctx, o, csr(t, key, names...))
	if err != nil {
		t.Fatal(err)
	}
	if o, err = client.PollOrder(ctx, o.URL); err != nil || o.Status != model.StatusValid {
		t.Fatalf("order: %+v, %v", o, err)
	}
	return o
}

// issued is a certificate for a name, with its key.
func issued(ctx context.Context, t *testing.T, client *acmeclient.Client, name string) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	o, err := client.NewOrder(ctx, dnsNames(name))
	if err != nil {
		t.Fatal(err)
	}
	key := p256(t)
	chain, err := client.Certificate(ctx, issue(ctx, t, client, o, key, name).Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return leafOf(t, chain), key
}

func leafOf(t *testing.T, chain []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(chain)
	if block == nil {
		t.Fatalf("no PEM: %s", chain)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func verify(t *testing.T, ca *testca.CA, chain []byte, names ...string) {
	t.Helper()
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.IssuerRoots())
	block, rest := pem.Decode(chain)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	intermediates.AppendCertsFromPEM(rest)
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: intermediates}); err != nil {
			t.Error(err)
		}
	}
}
