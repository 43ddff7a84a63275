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
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

var serials atomic.Int64

// issue makes a certificate, signed by an intermediate, as the host hands it
// over.
func issue(t *testing.T, lineage string, names ...string) sdk.Deployment {
	t.Helper()
	if len(names) == 0 {
		names = []string{lineage}
	}
	caKey, ca := sign(t, "intermediate", nil, nil, nil)
	leafKey, leaf := sign(t, lineage, names, ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	must(t, err)
	d := sdk.Deployment{
		Lineage: lineage, Name: names[0], Names: names,
		LeafPEM:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}),
		ChainPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}),
		KeyPEM:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
	d.FullchainPEM = slices.Concat(d.LeafPEM, d.ChainPEM)
	return d
}

func sign(t *testing.T, name string, names []string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()*1000 + serials.Add(1)), Subject: pkix.Name{CommonName: name}, DNSNames: names,
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

// pemOf is the file that haproxy gets.
func pemOf(t *testing.T, d sdk.Deployment) []byte {
	t.Helper()
	out, err := bundle(d)
	must(t, err)
	return out
}

// leafOf is what a handshake is to show.
func leafOf(d sdk.Deployment) []byte {
	block, _ := pem.Decode(d.LeafPEM)
	return block.Bytes
}

// served gives the leaf that a new connection shows, after a whole request over
// it.
func served(ctx context.Context, address, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}} //nolint:gosec // the leaf is compared
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialTLSContext:    func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+name+"/", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "hello" {
		return nil, fmt.Errorf("%s: %q, %w", response.Status, body, err)
	}
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw, nil
}

// serves checks what the proxy shows on both families.
func (p *proxy) serves(t *testing.T, name string, d sdk.Deployment) {
	t.Helper()
	p.shows(t, name, leafOf(d))
}

func (p *proxy) shows(t *testing.T, name string, want []byte) {
	t.Helper()
	for _, address := range []string{loopback(p.tls), loopback6(p.tls)} {
		leaf, err := served(t.Context(), address, name)
		must(t, err)
		if !bytes.Equal(leaf, want) {
			t.Errorf("%s does not serve the certificate of %s", address, name)
		}
	}
}

// watch opens a new connection for each request until the test ends it. Every
// request must be answered.
type watch struct {
	stop chan struct{}
	done chan struct{}
	errs []error
	// seen are the leaves in the order in which they came up.
	seen [][]byte
	n    int
}

func (p *proxy) watch(t *testing.T, name string) *watch {
	t.Helper()
	w := &watch{stop: make(chan struct{}), done: make(chan struct{})}
	first := make(chan struct{})
	ctx := context.WithoutCancel(t.Context())
	go func() {
		defer close(w.done)
		// So often that no step is missed, and not so often that nothing else runs.
		pace := time.NewTicker(5 * time.Millisecond)
		defer pace.Stop()
		for ; ; w.n++ {
			if w.n == 2 {
				close(first)
			}
			select {
			case <-w.stop:
				return
			case <-pace.C:
			}
			address := loopback(p.tls)
			if w.n%2 == 1 {
				address = loopback6(p.tls)
			}
			leaf, err := served(ctx, address, name)
			if err != nil {
				w.errs = append(w.errs, fmt.Errorf("request %d: %w", w.n, err))
				continue
			}
			if len(w.seen) == 0 || !bytes.Equal(w.seen[len(w.seen)-1], leaf) {
				w.seen = append(w.seen, leaf)
			}
		}
	}()
	select {
	case <-first:
	case <-time.After(patience):
		t.Fatal("no request is answered")
	}
	return w
}

// end gives the order in which the leaves were seen, by their number; another
// leaf is a failure.
func (w *watch) end(t *testing.T, leaves ...[]byte) []int {
	t.Helper()
	close(w.stop)
	select {
	case <-w.done:
	case <-time.After(2 * patience):
		t.Fatal("a request does not end")
	}
	if err := errors.Join(w.errs...); err != nil {
		t.Errorf("of %d requests these failed: %v", w.n, err)
	}
	var out []int
	for _, leaf := range w.seen {
		which := slices.IndexFunc(leaves, func(l []byte) bool { return bytes.Equal(leaf, l) })
		if which < 0 {
			t.Error("another certificate was seen")
		}
		out = append(out, which)
	}
	return out
}
