package acmeclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/host/testca"
)

// proxy stands before a CA and does to its traffic what a test wants. Pebble makes
// its URLs from the Host header, which the proxy passes on: so every request comes
// this way.
type proxy struct {
	*httptest.Server
	t       *testing.T
	forward *httputil.ReverseProxy
	step    string
	fault   fault

	mu sync.Mutex
	// arrived are the requests of each step as the client sent them, accepted
	// those that the CA itself took.
	arrived, accepted map[string]int
	// told are the things that were asked of the CA so far.
	told map[string]bool
}

// fault is what happens to the requests of a step.
type fault struct {
	// times is how often; 0 is always.
	times int
	// before answers in place of the CA; false: it has let the request pass.
	before func(p *proxy, w http.ResponseWriter, r *http.Request) bool
	// after changes what the CA answered.
	after func(p *proxy, a *http.Response, body []byte) []byte
}

type connection struct{}

func newProxy(t *testing.T, ca *testca.CA, h2 bool, step string, f fault) *proxy {
	t.Helper()
	behind, err := url.Parse(ca.DirectoryURL())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.TLSRoots())
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	p := &proxy{t: t, step: step, fault: f, arrived: map[string]int{}, accepted: map[string]int{}, told: map[string]bool{}}
	p.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: behind.Scheme, Host: behind.Host})
			r.Out.Host = r.In.Host
		},
		Transport:      way,
		ModifyResponse: p.modify,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	p.Server = httptest.NewUnstartedServer(p)
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connection{}, c)
	}
	p.EnableHTTP2 = h2
	p.StartTLS()
	t.Cleanup(func() { p.Close(); way.CloseIdleConnections() })
	return p
}

// steps by the paths of Pebble. An order and an authorization are read for
// different reasons before and after something was asked of the CA.
func (p *proxy) stepOf(r *http.Request) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	p.mu.Lock()
	defer p.mu.Unlock()
	switch first {
	case "dir":
		return "directory"
	case "nonce-plz":
		return "newNonce"
	case "sign-me-up":
		return "newAccount"
	case "order-plz":
		return "newOrder"
	case "chalZ":
		p.told["challenge"] = true
		return "accept"
	case "authZ":
		if p.told["challenge"] {
			return "authorization poll"
		}
		return "authorization"
	case "finalize-order":
		p.told["finalize"] = true
		return "finalize"
	case "my-order":
		if p.told["finalize"] {
			return "certificate poll"
		}
		return "order poll"
	case "certZ":
		return "certificate"
	}
	p.t.Errorf("a request to %s", r.URL.Path)
	return ""
}

type stepKey struct{}

type faultKey struct{}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	step := p.stepOf(r)
	p.mu.Lock()
	p.arrived[step]++
	faulty := step == p.step && (p.fault.times == 0 || p.arrived[step] <= p.fault.times)
	p.mu.Unlock()
	ctx := context.WithValue(r.Context(), stepKey{}, step)
	r = r.WithContext(context.WithValue(ctx, faultKey{}, faulty))
	if faulty && p.fault.before != nil && p.fault.before(p, w, r) {
		return
	}
	p.forward.ServeHTTP(w, r)
}

func (p *proxy) modify(a *http.Response) error {
	step, _ := a.Request.Context().Value(stepKey{}).(string)
	if a.StatusCode < 300 {
		p.mu.Lock()
		p.accepted[step]++
		if step == "newAccount" && a.StatusCode == http.StatusCreated {
			p.accepted["created"]++
		}
		p.mu.Unlock()
	}
	if faulty, _ := a.Request.Context().Value(faultKey{}).(bool); !faulty || p.fault.after == nil {
		return nil
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return err
	}
	a.Body.Close()
	body = p.fault.after(p, a, body)
	a.Body = io.NopCloser(bytes.NewReader(body))
	a.ContentLength = int64(len(body))
	a.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

func (p *proxy) counts(step string) (arrived, accepted int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.arrived[step], p.accepted[step]
}

// cut ends the connection as a dead machine on the way would: with a reset.
func (p *proxy) cut(r *http.Request) {
	conn, _ := r.Context().Value(connection{}).(*tls.Conn)
	if tcp, ok := conn.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
	panic(http.ErrAbortHandler)
}

// heard is what the CA answered, before anybody else has heard it.
type heard struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *heard) Header() http.Header         { return h.header }
func (h *heard) WriteHeader(status int)      { h.status = status }
func (h *heard) Write(b []byte) (int, error) { return h.body.Write(b) }

// heard lets the CA answer.
func (p *proxy) heard(r *http.Request) *heard {
	h := &heard{header: http.Header{}, status: http.StatusOK}
	p.forward.ServeHTTP(h, r)
	return h
}

// send passes the answer on; body writes what is to arrive of it.
func (h *heard) send(w http.ResponseWriter, body func([]byte)) {
	for name, values := range h.header {
		w.Header()[name] = values
	}
	w.WriteHeader(h.status)
	body(h.body.Bytes())
}

// refuse answers as a CA would that has not looked at the request.
func (p *proxy) refuse(w http.ResponseWriter, status int, kind, retryAfter string) bool {
	w.Header().Set("Content-Type", "application/problem+json")
	// A nonce of its own, which Pebble will not take: the client finds out.
	w.Header().Set("Replay-Nonce", "bm9uc2Vuc2U")
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":"trouble"}`, kind)
	return true
}
