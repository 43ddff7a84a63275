package testca

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"reflect"
	"sync"
	"time"
	"unsafe"

	pebbleca "github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// CA is a running CA. Its methods are safe for concurrent use.
type CA struct {
	url      string
	tlsRoots []byte
	roots    []byte
	dns      *DNS
	server   *http.Server
	served   chan error
	log      *gate
	close    func() error

	// requests is held while Pebble answers one; see the package comment.
	requests sync.Mutex
	store    *db.MemoryStore
}

// Start starts a CA and its DNS server. The context bounds the start only; the
// caller MUST call Close.
func Start(ctx context.Context, o Options) (*CA, error) {
	o = o.withDefaults()
	if o.KeyAlgorithm != "ecdsa" && o.KeyAlgorithm != "rsa" {
		return nil, fmt.Errorf("starting the test CA: unknown key algorithm %q: give ecdsa or rsa", o.KeyAlgorithm)
	}
	certificate, certificatePEM, err := serverCertificate()
	if err != nil {
		return nil, fmt.Errorf("starting the test CA: making its HTTPS certificate: %w", err)
	}
	dns, err := startDNS(ctx, o.Zones)
	if err != nil {
		return nil, fmt.Errorf("starting the test CA: %w", err)
	}
	c := &CA{tlsRoots: certificatePEM, dns: dns, log: &gate{w: o.Log}, served: make(chan error, 1)}
	c.close = sync.OnceValue(c.stop)
	handler, err := c.pebble(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the test CA: %w", err), dns.close())
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the test CA: listening on %s: %w", o.Listen, err), dns.close())
	}
	c.url = "https://" + listener.Addr().String() + wfe.DirectoryPath
	c.server = &http.Server{
		Handler:           c.oneAtATime(handler, o.OnRequest),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ErrorLog:          log.New(c.log, "", 0),
		ReadHeaderTimeout: time.Minute,
	}
	go func() { c.served <- c.server.ServeTLS(listener, "", "") }()
	return c, nil
}

// pebble builds the parts of Pebble as its own main function does.
func (c *CA) pebble(o Options) (http.Handler, error) {
	store := db.NewMemoryStore()
	c.store = store
	for id, key := range o.EABKeys {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			return nil, fmt.Errorf("adding the account binding key %s: %w", id, err)
		}
	}
	for _, name := range o.Blocked {
		if err := store.AddBlockedDomain(name); err != nil {
			return nil, fmt.Errorf("blocking %s: %w", name, err)
		}
	}
	logger := log.New(c.log, "pebble ", log.LstdFlags)
	authority := pebbleca.New(logger, store, "", o.KeyAlgorithm, o.AlternateRoots, o.ChainLength, o.profiles())
	var roots bytes.Buffer
	for i := range authority.GetNumberOfRootCerts() {
		roots.Write(authority.GetRootCert(i).PEM())
	}
	c.roots = roots.Bytes()

	var handler http.Handler
	var err error
	if failed := withEnvironment(o.environment(), func() {
		validator := va.New(logger, o.HTTPPort, o.TLSPort, true, c.dns.Addr(), store)
		front := wfe.New(logger, store, validator, authority, []string{"pebble.letsencrypt.org"},
			true, o.EABRequired, o.RetryAfter.Authz, o.RetryAfter.Order)
		err = reuse(&front, o.AuthzReuse)
		handler = front.Handler()
	}); failed != nil {
		return nil, failed
	}
	return handler, err
}

// reuse makes it exactly that percentage of the valid authorizations that a
// later order gets again. Pebble's own knob is off by one: it reuses one in a
// hundred at zero, and so a test whose second order has to fail would pass by
// chance. What it compares with is out of reach but by its name.
func reuse(front *wfe.WebFrontEndImpl, percent int) error {
	const name = "authzReusePercent"
	field := reflect.ValueOf(front).Elem().FieldByName(name)
	if !field.IsValid() || field.Type() != reflect.TypeFor[int]() {
		return fmt.Errorf("pebble has no number %s any more: see whether it still reuses authorizations at zero percent", name)
	}
	*(*int)(unsafe.Pointer(field.UnsafeAddr())) = percent - 1
	return nil
}

// DirectoryURL is where an ACME client starts.
func (c *CA) DirectoryURL() string { return c.url }

// TLSRoots is the PEM that makes the directory's own HTTPS certificate trusted.
func (c *CA) TLSRoots() []byte { return bytes.Clone(c.tlsRoots) }

// IssuerRoots is the PEM of the roots of the certificates that are issued.
func (c *CA) IssuerRoots() []byte { return bytes.Clone(c.roots) }

// DNS is the resolver that the validator asks.
func (c *CA) DNS() *DNS { return c.dns }

// Close stops the CA and its DNS server and waits for both. Nothing is written
// to Options.Log afterwards. It may be called more than once.
func (c *CA) Close() error { return c.close() }

func (c *CA) stop() error {
	// A request takes milliseconds; a client that holds one open is cut off.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := c.server.Shutdown(ctx)
	if err != nil {
		err = c.server.Close()
	}
	if served := <-c.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	err = errors.Join(err, c.dns.close())
	c.log.shut()
	if err != nil {
		return fmt.Errorf("stopping the test CA: %w", err)
	}
	return nil
}

// oneAtATime keeps Pebble from deadlocking; see the package comment. The body is
// read outside, so that a slow client holds nobody up.
func (c *CA) oneAtATime(next http.Handler, told func(method, path string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told(r.Method, r.URL.Path)
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "reading the request: "+err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		c.requests.Lock()
		defer c.requests.Unlock()
		next.ServeHTTP(w, r)
	})
}

// environment is one for the whole process, and so is its lock.
var environment sync.Mutex

// withEnvironment runs f while the variables are set, and restores them.
func withEnvironment(vars map[string]string, f func()) (err error) {
	environment.Lock()
	defer environment.Unlock()
	for name, value := range vars {
		old, was := os.LookupEnv(name)
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
		defer func() {
			if was {
				err = errors.Join(err, os.Setenv(name, old))
			} else {
				err = errors.Join(err, os.Unsetenv(name))
			}
		}()
	}
	f()
	return nil
}

// gate passes writes on until it is shut: Pebble's goroutines outlive Close, and
// what they write to may not.
type gate struct {
	mu sync.Mutex
	w  io.Writer
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.w.Write(p)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.w = io.Discard
}
