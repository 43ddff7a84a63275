package httpapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// script is a server that gives one answer after the other and remembers what it
// was asked.
type script struct {
	mu       sync.Mutex
	answers  []func(http.ResponseWriter)
	requests []string
	nonces   []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.RequestURI+" "+string(body))
	s.nonces = append(s.nonces, r.Header.Get("Nonce"))
	next := func(w http.ResponseWriter) {}
	if len(s.answers) > 0 {
		next, s.answers = s.answers[0], s.answers[1:]
	}
	s.mu.Unlock()
	next(w)
}

func (s *script) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func status(code int, body string, headers ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// cut ends the connection without an answer.
func cut(http.ResponseWriter) { panic(http.ErrAbortHandler) }

func serve(t *testing.T, answers ...func(http.ResponseWriter)) (*script, Options) {
	t.Helper()
	s := &script{answers: answers}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, Options{Endpoint: server.URL + "/v5", Wait: time.Millisecond}
}

func client(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

func TestSentAgain(t *testing.T) {
	busy := status(http.StatusTooManyRequests, "", "Retry-After", "0")
	down := status(http.StatusBadGateway, "")
	full := status(http.StatusServiceUnavailable, "", "Retry-After", "0")
	tests := []struct {
		name    string
		request Request
		answers []func(http.ResponseWriter)
		sent    int
		code    sdk.Code
	}{
		{"429 then 200", Request{Method: "POST", Body: []byte("x")}, []func(http.ResponseWriter){busy, busy}, 3, ""},
		{"503 with a time, POST", Request{Method: "POST"}, []func(http.ResponseWriter){full}, 1, sdk.Unavailable},
		{"503 with a time, POST that may be repeated", Request{Method: "POST", Repeatable: true}, []func(http.ResponseWriter){full}, 2, ""},
		{"503 without, POST", Request{Method: "POST"}, []func(http.ResponseWriter){status(503, "")}, 1, sdk.Unavailable},
		{"502, GET", Request{}, []func(http.ResponseWriter){down}, 2, ""},
		{"502, POST", Request{Method: "POST"}, []func(http.ResponseWriter){down}, 1, sdk.Unavailable},
		{"502, POST that may be repeated", Request{Method: "POST", Repeatable: true}, []func(http.ResponseWriter){down}, 2, ""},
		{"cut, PUT", Request{Method: "PUT", Body: []byte("x")}, []func(http.ResponseWriter){cut}, 2, ""},
		{"cut, POST", Request{Method: "POST", Body: []byte("x")}, []func(http.ResponseWriter){cut}, 1, sdk.Unavailable},
		{"always 429", Request{}, []func(http.ResponseWriter){busy, busy, busy, busy, busy, busy}, attempts, sdk.RateLimited},
		{"501", Request{}, []func(http.ResponseWriter){status(501, "")}, 1, sdk.Unavailable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, o := serve(t, test.answers...)
			_, err := client(t, o).Do(t.Context(), test.request)
			var code sdk.Code
			if err != nil {
				code = sdk.ProblemOf(err).Code
			}
			if code != test.code {
				t.Errorf("error %v of code %q, want %q", err, code, test.code)
			}
			if got := s.seen(); len(got) != test.sent {
				t.Errorf("sent %q, want %d", got, test.sent)
			} else if got[len(got)-1] != got[0] {
				t.Errorf("the last attempt %q differs from the first %q", got[len(got)-1], got[0])
			}
		})
	}
}

// TestLongWait: what the provider wants to be left alone for goes to the host.
func TestLongWait(t *testing.T) {
	at := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for _, value := range []string{"3600", at} {
		s, o := serve(t, status(429, `{"message":"slow down"}`, "Retry-After", value))
		_, err := client(t, o).Do(t.Context(), Request{})
		p := sdk.ProblemOf(err)
		if p == nil || p.Retry != sdk.RetryLater || p.After < 30*time.Minute || p.After > time.Hour || len(s.seen()) != 1 {
			t.Errorf("%s: %+v after %q", value, p, s.seen())
		}
	}
}

func TestFailures(t *testing.T) {
	tests := []struct {
		status int
		code   sdk.Code
		retry  sdk.Retry
	}{
		{302, sdk.InvalidConfig, sdk.RetryNever},
		{400, sdk.InvalidConfig, sdk.RetryNever},
		{401, sdk.Credentials, sdk.RetryNever},
		{403, sdk.PermissionDenied, sdk.RetryNever},
		{404, sdk.NotFound, sdk.RetryNever},
		{408, sdk.Timeout, sdk.RetryLater},
		{409, sdk.Conflict, sdk.RetryLater},
		{412, sdk.Conflict, sdk.RetryLater},
		{422, sdk.InvalidConfig, sdk.RetryNever},
	}
	for _, test := range tests {
		t.Run(strconv.Itoa(test.status), func(t *testing.T) {
			s, o := serve(t, status(test.status, "the\nbody\x1b[2J of "+strings.Repeat("x", 1000), "Location", "https://else.example/?secret=1"))
			answer, err := client(t, o).Do(t.Context(), Request{Method: "PATCH", Path: "domains/a%2Fb", Query: map[string][]string{"key": {"hidden"}}})
			p := sdk.ProblemOf(err)
			if p == nil || p.Code != test.code || p.Retry != test.retry || Status(err) != test.status || answer == nil || answer.Status != test.status {
				t.Fatalf("%+v, answer %v", p, answer)
			}
			text := p.Error()
			if strings.Contains(text, "hidden") || strings.Contains(text, "secret=1") || strings.ContainsAny(text, "\n\x1b") || len(text) > 600 {
				t.Errorf("message %q", text)
			}
			if want := "PATCH " + o.Endpoint + "/domains/a%2Fb"; !strings.HasPrefix(text, want) {
				t.Errorf("message %q, want it to begin with %q", text, want)
			}
			if test.status != 302 && !strings.Contains(text, "the body [2J of xxx") {
				t.Errorf("message %q lacks the provider's words", text)
			}
			if got := s.seen(); len(got) != 1 || got[0] != "PATCH /v5/domains/a%2Fb?key=hidden " {
				t.Errorf("sent %q", got)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	_, o := serve(t, status(403, `{"cause":"no right"}`))
	o.Explain = func(r *Response) string { return "explained " + string(r.Body[2:7]) }
	_, err := client(t, o).Do(t.Context(), Request{})
	if err == nil || !strings.HasSuffix(err.Error(), "403 Forbidden: explained cause") {
		t.Errorf("error %v", err)
	}
}

// TestSign: each attempt has credentials of its own, and one that cannot be
// signed is not sent.
func TestSign(t *testing.T) {
	s, o := serve(t, status(429, "", "Retry-After", "0"))
	n := 0
	o.Sign = func(r *http.Request) error {
		n++
		r.Header.Set("Nonce", strconv.Itoa(n))
		return nil
	}
	if _, err := client(t, o).Do(t.Context(), Request{Method: "PUT", Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.nonces, []string{"1", "2"}) {
		t.Errorf("nonces %q", s.nonces)
	}
	failure := errors.New("no key")
	o.Sign = func(*http.Request) error { return failure }
	_, err := client(t, o).Do(t.Context(), Request{})
	if !errors.Is(err, failure) || sdk.ProblemOf(err).Code != sdk.Credentials || len(s.seen()) != 2 {
		t.Errorf("error %v, sent %q", err, s.seen())
	}
}

func TestJSON(t *testing.T) {
	s, o := serve(t, status(200, `{"id": "7", "more": [1]}`), status(200, "<html>"), status(204, ""))
	c := client(t, o)
	var out struct{ ID string }
	if err := c.JSON(t.Context(), "POST", "/apps", map[string]int{"a": 1}, &out); err != nil || out.ID != "7" {
		t.Fatalf("%v, %+v", err, out)
	}
	if got := s.seen()[0]; got != `POST /v5/apps {"a":1}` {
		t.Errorf("sent %q", got)
	}
	if err := c.JSON(t.Context(), "GET", "/apps", nil, &out); err == nil || !strings.Contains(err.Error(), "not the JSON") {
		t.Errorf("error %v", err)
	}
	if err := c.JSON(t.Context(), "DELETE", "/apps", nil, nil); err != nil {
		t.Error(err)
	}
}

func TestTooLong(t *testing.T) {
	_, o := serve(t, func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, maxBody+1)) })
	_, err := client(t, o).Do(t.Context(), Request{})
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("error %v", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	s, o := serve(t, func(w http.ResponseWriter) {
		cancel(reason)
		<-ctx.Done()
		cut(w)
	})
	_, err := client(t, o).Do(ctx, Request{})
	if !errors.Is(err, reason) || len(s.seen()) != 1 {
		t.Errorf("error %v, sent %q", err, s.seen())
	}
}

func TestNoAnswerInTime(t *testing.T) {
	release := make(chan struct{})
	_, o := serve(t, func(http.ResponseWriter) { <-release })
	defer close(release)
	o.Attempt = 50 * time.Millisecond
	_, err := client(t, o).Do(t.Context(), Request{Method: "POST"})
	p := sdk.ProblemOf(err)
	if p == nil || p.Code != sdk.Unavailable || p.Retry != sdk.RetryLater || !strings.Contains(p.Error(), "no answer in time") {
		t.Errorf("%+v", p)
	}
}

func TestTrust(t *testing.T) {
	server := httptest.NewUnstartedServer(&script{})
	var connections atomic.Int32
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	server.Config.ErrorLog = nil
	leaf := server.Certificate()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.Raw)
	pin := hex.EncodeToString(sum[:])
	tests := []struct {
		name, file, pin, want string
	}{
		{"the system's roots", "", "", "certificate"},
		{"CA file", ca, "", ""},
		{"pin", "", pin, ""},
		{"pin in openssl's form", "", strings.ToUpper(pin[:2]) + ":" + pin[2:], ""},
		{"another pin", "", strings.Repeat("0", 64), pin},
		{"another pin although the CA is known", ca, strings.Repeat("0", 64), pin},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := client(t, Options{Endpoint: server.URL, CAFile: test.file, Fingerprint: test.pin, Wait: time.Millisecond})
			before := connections.Load()
			_, err := c.Do(t.Context(), Request{})
			if n := connections.Load() - before; n != 1 {
				t.Errorf("%d connections for one request", n)
			}
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			p := sdk.ProblemOf(err)
			if p == nil || p.Retry != sdk.RetryNever || p.Hint == "" || !strings.Contains(p.Error(), test.want) {
				t.Errorf("%+v", p)
			}
		})
	}
}

// TestAlso: what the caller has put there is accepted beside what is trusted, and
// nothing else is.
func TestAlso(t *testing.T) {
	server := httptest.NewTLSServer(&script{})
	defer server.Close()
	leaf := server.Certificate()
	sum := sha256.Sum256(leaf.Raw)
	own := hex.EncodeToString(sum[:])
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, file, pin, also string
		trusted               bool
	}{
		{"ours", "", "", own, true},
		{"ours, another is pinned", "", strings.Repeat("0", 64), own, true},
		{"another is ours", "", "", strings.Repeat("0", 64), false},
		{"another is ours, another is pinned", "", strings.Repeat("1", 64), strings.Repeat("0", 64), false},
		{"the CA is known", ca, "", "", true},
		{"pinned", "", own, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := client(t, Options{
				Endpoint: server.URL, CAFile: test.file, Fingerprint: test.pin, Wait: time.Millisecond,
				Also: func(fingerprint string) bool { return fingerprint == test.also },
			})
			if _, err := c.Do(t.Context(), Request{}); (err == nil) != test.trusted {
				t.Errorf("%v", err)
			}
		})
	}
	// The name counts as ever.
	elsewhere := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	c := client(t, Options{Endpoint: elsewhere, CAFile: ca, Wait: time.Millisecond, Also: func(string) bool { return false }})
	if _, err := c.Do(t.Context(), Request{}); err == nil || !strings.Contains(err.Error(), "localhost") {
		t.Errorf("%v", err)
	}
}

// TestAlsoAtAnAddress: an endpoint without a name has no server name in its
// handshake, and its certificate must be for the address all the same.
func TestAlsoAtAnAddress(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"other.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &script{}
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake is broken off
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
	server.StartTLS()
	defer server.Close()
	for name, also := range map[string]func(string) bool{"without Also": nil, "with Also": func(string) bool { return false }} {
		c := client(t, Options{Endpoint: server.URL, CAFile: ca, Wait: time.Millisecond, Also: also})
		_, err := c.Do(t.Context(), Request{})
		if p := sdk.ProblemOf(err); p == nil || p.Retry != sdk.RetryNever || !strings.Contains(p.Error(), "127.0.0.1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := s.seen(); len(got) != 0 {
		t.Errorf("sent %q", got)
	}
}

func TestBadOptions(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"no http or https":  {Endpoint: "api.example"},
		"more than a host":  {Endpoint: "https://user:pass@api.example/"},
		"no SHA-256":        {Endpoint: "https://api.example", Fingerprint: "ab:cd"},
		"no certificate in": {Endpoint: "https://api.example", CAFile: empty},
		"read the CA file":  {Endpoint: "https://api.example", CAFile: empty + "x"},
	} {
		_, err := New(o)
		if p := sdk.ProblemOf(err); p == nil || p.Code != sdk.InvalidConfig || !strings.Contains(p.Error(), want) || strings.Contains(p.Error(), "pass") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
