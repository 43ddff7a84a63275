package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

// onLoopback gives an instance on free loopback ports.
func onLoopback(t *testing.T) *standalone {
	t.Helper()
	s := newStandalone()
	s.settings = settings{HTTPPort: plugintest.Port(t), TLSPort: plugintest.Port(t), Address: "127.0.0.1"}
	if err := s.Configure(t.Context(), sdk.Instance{Name: "test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range []*port{s.web, s.alpn} {
			if p.isOpen() {
				t.Errorf("the %s listener is left open", p.challenge)
			}
		}
	})
	return s
}

func httpChallenge(token string) sdk.Challenge {
	proof := token + ".thumbprint"
	return sdk.Challenge{
		ID: "http-" + token, Type: sdk.HTTP01, Identifier: sdk.Identifier{Type: "dns", Value: "a.example"},
		Token: token, KeyAuthorization: proof,
		HTTP: &sdk.HTTPChallenge{Path: challengePrefix + token, Body: []byte(proof)},
	}
}

func operation(ctx context.Context, lineage string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{ID: "op-" + lineage, Lineage: lineage})
}

func performed(t *testing.T, s *standalone, lineage string, challenges ...sdk.Challenge) {
	t.Helper()
	r := &recorder{}
	if err := s.Perform(operation(t.Context(), lineage), challenges, r); err != nil {
		t.Fatal(err)
	}
	for _, c := range challenges {
		if err := r.result(t, c.ID).Err; err != nil {
			t.Fatal(err)
		}
	}
}

func cleaned(t *testing.T, s *standalone, lineage string, challenges ...sdk.Challenge) {
	t.Helper()
	r := &recorder{}
	if err := s.Cleanup(operation(t.Context(), lineage), challenges, r); err != nil {
		t.Fatal(err)
	}
	for _, c := range challenges {
		if err := r.result(t, c.ID).Err; err != nil {
			t.Fatal(err)
		}
	}
}

func request(t *testing.T, s *standalone, method, path string) (int, string) {
	t.Helper()
	return requestAt(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.web.number)), method, path)
}

func requestAt(t *testing.T, at netip.AddrPort, method, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+at.String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "whatever.example"
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(body)
}

func get(t *testing.T, s *standalone, path string) string {
	t.Helper()
	status, body := request(t, s, "GET", path)
	if status != http.StatusOK {
		return fmt.Sprint("status ", status)
	}
	return body
}

// closed checks that nobody listens any more.
func closed(t *testing.T, p *port) {
	t.Helper()
	conn, err := net.Dial("tcp4", fmt.Sprint("127.0.0.1:", p.number))
	if err == nil {
		_ = conn.Close()
		t.Errorf("port %d for %s still accepts", p.number, p.challenge)
	} else if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial port %d: %v", p.number, err)
	}
}

// recorder is the host of a call; without an answer nobody can be asked.
type recorder struct {
	answer func(text string) (string, error)
	told   chan string // if set, every progress goes here too

	mu       sync.Mutex
	results  []sdk.Result
	progress []string
	asked    int
}

func (r *recorder) Progress(_, message string) {
	r.mu.Lock()
	r.progress = append(r.progress, message)
	r.mu.Unlock()
	if r.told != nil {
		r.told <- message
	}
}

func (r *recorder) Say(sdk.Stream, string) {}

func (r *recorder) Ask(ctx context.Context, text string) (string, error) {
	r.mu.Lock()
	r.asked++
	r.mu.Unlock()
	if r.answer == nil {
		return "", sdk.ErrNotInteractive
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return r.answer(text)
}

func (r *recorder) Result(result sdk.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

func (r *recorder) result(t *testing.T, id string) sdk.Result {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.results) - 1; i >= 0; i-- {
		if r.results[i].Subject == id {
			return r.results[i]
		}
	}
	t.Errorf("challenge %s has no result", id)
	return sdk.Result{}
}

// alpnChallenge has a certificate of its own; what is in it is the host's
// business.
func alpnChallenge(t *testing.T, kind, value, serverName string) sdk.Challenge {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return sdk.Challenge{
		ID: "alpn-" + value, Type: sdk.TLSALPN01, Identifier: sdk.Identifier{Type: kind, Value: value},
		Token: "token", KeyAuthorization: value + ".thumbprint",
		ALPN: &sdk.ALPNChallenge{
			ServerName: serverName,
			CertPEM:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			KeyPEM:     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		},
	}
}

// handshake is what a CA does (RFC 8737 section 3).
func handshake(t *testing.T, s *standalone, serverName string, protocols ...string) (tls.ConnectionState, error) {
	t.Helper()
	raw, err := net.Dial("tcp4", fmt.Sprint("127.0.0.1:", s.alpn.number))
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, &tls.Config{ServerName: serverName, NextProtos: protocols, InsecureSkipVerify: true})
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := conn.HandshakeContext(t.Context()); err != nil {
		return tls.ConnectionState{}, err
	}
	// A refusal may come after a TLS 1.3 client believes it is done; an accepted
	// connection is closed by the server in an orderly way.
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return tls.ConnectionState{}, fmt.Errorf("the server did not close the connection: %w", err)
	}
	return conn.ConnectionState(), nil
}
