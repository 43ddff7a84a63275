package acmeclient_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
)

// fake is a CA that does what a test makes it do. The directory and nonces are
// in order unless a test replaces them.
type fake struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	paths  map[string]http.HandlerFunc
	asked  map[string]int
	nonces int
	bodies map[string][]string
	used   map[string]bool
	pauses []time.Duration
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, paths: map[string]http.HandlerFunc{}, asked: map[string]int{}, bodies: map[string][]string{}, used: map[string]bool{}}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.StartTLS()
	t.Cleanup(f.Close)
	f.on("/dir", f.says(http.StatusOK, `{"newNonce":"$/nonce","newAccount":"$/account","newOrder":"$/new-order"}`))
	f.on("/nonce", func(http.ResponseWriter, *http.Request) {})
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked[r.URL.Path]++
	f.nonces++
	w.Header().Set("Replay-Nonce", fmt.Sprintf("nonce-%d", f.nonces))
	if r.Method == http.MethodPost {
		f.bodies[r.URL.Path] = append(f.bodies[r.URL.Path], f.payload(r))
	}
	handler := f.paths[r.URL.Path]
	f.mu.Unlock()
	if handler == nil {
		http.NotFound(w, r)
		return
	}
	handler(w, r)
}

// payload is what was signed. A nonce may come once only.
func (f *fake) payload(r *http.Request) string {
	var jws struct{ Protected, Payload string }
	if err := json.NewDecoder(r.Body).Decode(&jws); err != nil {
		f.t.Errorf("%s: the body is no JWS: %v", r.URL.Path, err)
	}
	var protected struct{ Nonce string }
	header, err := base64.RawURLEncoding.DecodeString(jws.Protected)
	if err != nil || json.Unmarshal(header, &protected) != nil || f.used[protected.Nonce] {
		f.t.Errorf("%s: protected header %s, %v; nonce used before: %v", r.URL.Path, header, err, f.used[protected.Nonce])
	}
	f.used[protected.Nonce] = true
	payload, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil {
		f.t.Errorf("%s: the payload is not base64url: %v", r.URL.Path, err)
	}
	return string(payload)
}

func (f *fake) on(path string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paths[path] = h
}

func (f *fake) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[path]
}

func (f *fake) posted(path string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bodies[path]
}

func (f *fake) paused() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pauses
}

// says answers with a status, headers ("Name: value") and a body; $ in either is
// the CA's address.
func (f *fake) says(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Add(name, strings.ReplaceAll(value, "$", f.URL))
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.ReplaceAll(body, "$", f.URL))
	}
}

// refuses answers with a problem document.
func (f *fake) refuses(status int, kind string, headers ...string) http.HandlerFunc {
	return f.says(status, `{"type":"urn:ietf:params:acme:error:`+kind+`","detail":"no"}`, headers...)
}

// inTurn gives each request the next answer, and the last one from then on.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	next := 0
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := handlers[min(next, len(handlers)-1)]
		next++
		mu.Unlock()
		h(w, r)
	}
}

// hangUp closes the connection without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// client has an account and waits for nothing: pauses are written down.
func (f *fake) client(change ...func(*acmeclient.Options)) *acmeclient.Client {
	f.t.Helper()
	o := acmeclient.Options{
		Server: f.URL + "/dir",
		Roots:  f.roots(),
		Pause: func(ctx context.Context, d time.Duration) error {
			f.mu.Lock()
			f.pauses = append(f.pauses, d)
			f.mu.Unlock()
			return ctx.Err()
		},
	}
	for _, c := range change {
		c(&o)
	}
	client, err := acmeclient.New(o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(client.Close)
	client.SetAccount(p256(f.t), f.URL+"/account/1")
	return client
}

// order is one at the fake with a status.
func (f *fake) order(status string) model.Order {
	return model.Order{URL: f.URL + "/order", Status: status, Finalize: f.URL + "/finalize"}
}
