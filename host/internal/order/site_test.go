package order_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// site is what the CA's validator asks, by http-01 and tls-alpn-01.
type site struct {
	httpPort, tlsPort int
	mu                sync.Mutex
	bodies            map[string]string
	certificates      map[string]*tls.Certificate
}

func serve(t *testing.T) *site {
	t.Helper()
	s := &site{bodies: map[string]string{}, certificates: map[string]*tls.Certificate{}}
	var served sync.WaitGroup
	listen := func() (net.Listener, int) {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			t.Fatalf("%v is no TCP address", l.Addr())
		}
		return l, addr.Port
	}
	plain, port := listen()
	s.httpPort = port
	server := &http.Server{Handler: http.HandlerFunc(s.answer), ReadHeaderTimeout: time.Minute}
	served.Go(func() { _ = server.Serve(plain) })
	secure, port := listen()
	s.tlsPort = port
	served.Go(func() { s.handshakes(secure) })
	t.Cleanup(func() { _, _ = server.Close(), secure.Close(); served.Wait() })
	return s
}

func (s *site) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	body, ok := s.bodies[r.URL.Path]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, body)
}

func (s *site) handshakes(l net.Listener) {
	cfg := &tls.Config{NextProtos: []string{"acme-tls/1"}, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c := s.certificates[hello.ServerName]; c != nil {
			return c, nil
		}
		return nil, fmt.Errorf("no challenge for %q", hello.ServerName)
	}}
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_ = tls.Server(conn, cfg).Handshake()
		_ = conn.Close()
	}
}

func (s *site) put(c sdk.Challenge, body string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.HTTP != nil:
		s.bodies[c.HTTP.Path] = body
	case c.ALPN != nil:
		pair, err := tls.X509KeyPair(c.ALPN.CertPEM, c.ALPN.KeyPEM)
		if err != nil {
			return err
		}
		s.certificates[c.ALPN.ServerName] = &pair
	default:
		return errors.New("a challenge without anything to serve")
	}
	return nil
}

func (s *site) remove(c sdk.Challenge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.HTTP != nil {
		delete(s.bodies, c.HTTP.Path)
	}
	if c.ALPN != nil {
		delete(s.certificates, c.ALPN.ServerName)
	}
}

func (s *site) empty(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bodies)+len(s.certificates) > 0 {
		t.Errorf("still served: %v %v", s.bodies, s.certificates)
	}
}
