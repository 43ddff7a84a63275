package deploy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

var serial atomic.Int64

// newPair is a certificate that nobody trusts, and its leaf as PEM.
func newPair(t *testing.T) (*tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0x1000 + serial.Add(1)), NotAfter: time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// endpoint is a server on a port of its own.
type endpoint struct {
	addr string
	// rude hangs up after the handshake.
	rude bool
	mu   sync.Mutex
	// names that were asked for, in order.
	names []string
}

// listen serves TLS after greet, which speaks a protocol up to STARTTLS; nil
// starts at once. choose gives the certificate of the nth connection, from 1.
func listen(t *testing.T, greet func(net.Conn) error, choose func(n int) *tls.Certificate) *endpoint {
	t.Helper()
	return serve(t, &endpoint{}, greet, choose)
}

func serve(t *testing.T, e *endpoint, greet func(net.Conn) error, choose func(n int) *tls.Certificate) *endpoint {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = l.Addr().String()
	cfg := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.names = append(e.names, hello.ServerName)
		return choose(len(e.names)), nil
	}}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				if greet != nil && greet(conn) != nil {
					return
				}
				server := tls.Server(conn, cfg)
				if server.HandshakeContext(t.Context()) != nil {
					return
				}
				// An SMTP client greets again; any other is gone.
				in := bufio.NewReader(server)
				if _, err := in.ReadString('\n'); err == nil && !e.rude {
					_, _ = fmt.Fprint(server, "250 x\r\n")
					_, _ = in.ReadString('\n')
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); served.Wait() })
	return e
}

// dialogue sends a greeting, then for each pair of lines wants one and answers
// with the other.
func dialogue(greeting string, turns ...string) func(net.Conn) error {
	return func(conn net.Conn) error {
		if _, err := fmt.Fprint(conn, greeting); err != nil {
			return err
		}
		in := bufio.NewReader(conn)
		for i := 0; i+1 < len(turns); i += 2 {
			line, err := in.ReadString('\n')
			if err != nil {
				return err
			}
			if !strings.HasPrefix(line, turns[i]) {
				return fmt.Errorf("got %q, want %q", line, turns[i])
			}
			if _, err := fmt.Fprint(conn, turns[i+1]); err != nil {
				return err
			}
		}
		return nil
	}
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestHandshake(t *testing.T) {
	right, leaf := newPair(t)
	smtp := dialogue("220 mail.test ESMTP\r\n", "EHLO", "250-mail.test\r\n250-SIZE 1\r\n250 STARTTLS\r\n", "STARTTLS", "220 go ahead\r\n")
	imap := dialogue("* OK [CAPABILITY IMAP4rev2 STARTTLS] ready\r\n", "a STARTTLS", "* note\r\na OK begin\r\n")
	pop3 := dialogue("+OK ready\r\n", "STLS", "+OK begin\r\n")
	for name, tt := range map[string]struct {
		kind  sdk.EndpointKind
		greet func(net.Conn) error
		rude  bool
	}{
		"tls": {sdk.TLS, nil, false}, "the zero value": {"", nil, true}, "smtp": {sdk.SMTP, smtp, false}, "smtp, then silence": {sdk.SMTP, smtp, true},
		"imap": {sdk.IMAP, imap, false}, "pop3": {sdk.POP3, pop3, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, &endpoint{rude: tt.rude}, tt.greet, func(int) *tls.Certificate { return right })
			if _, err := Handshake(bounded(t), model.Endpoint{Address: e.addr, ServerName: "a.test", Kind: tt.kind}, leaf); err != nil {
				t.Error(err)
			}
			if got := strings.Join(e.names, " "); got != "a.test" {
				t.Errorf("asked for %q", got)
			}
		})
	}
	e := listen(t, nil, func(int) *tls.Certificate { return right })
	if _, err := Handshake(bounded(t), model.Endpoint{Address: e.addr, ServerName: "127.0.0.1"}, leaf); err != nil {
		t.Error(err)
	}
	if len(e.names) != 1 || e.names[0] != "" {
		t.Errorf("asked for %q: an address cannot stand in SNI", e.names)
	}
}

// A reload takes a moment: the old certificate is no failure at once.
func TestHandshakeWaits(t *testing.T) {
	old, _ := newPair(t)
	right, leaf := newPair(t)
	e := listen(t, nil, func(n int) *tls.Certificate {
		if n < 4 {
			return old
		}
		return right
	})
	if _, err := Handshake(bounded(t), model.Endpoint{Address: e.addr, ServerName: "a.test"}, leaf); err != nil {
		t.Error(err)
	}
	if len(e.names) != 4 {
		t.Errorf("%d handshakes", len(e.names))
	}
}

// A server that is just being started refuses connections first.
func TestHandshakeWaitsForTheListener(t *testing.T) {
	right, leaf := newPair(t)
	var tries atomic.Int64
	e := listen(t, func(net.Conn) error {
		if tries.Add(1) < 3 {
			return fmt.Errorf("not yet")
		}
		return nil
	}, func(int) *tls.Certificate { return right })
	if _, err := Handshake(bounded(t), model.Endpoint{Address: e.addr}, leaf); err != nil {
		t.Error(err)
	}
}

// When the time is over, the reason of the last whole try is told.
func TestHandshakeGivesUp(t *testing.T) {
	wrong, _ := newPair(t)
	_, leaf := newPair(t)
	other, err := x509.ParseCertificate(wrong.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		kind  sdk.EndpointKind
		greet func(net.Conn) error
		want  string
	}{
		"another certificate": {"", nil, fmt.Sprintf("it serves another certificate: serial %x, valid until 2030-01-02 03:04 UTC", other.SerialNumber)},
		"another by smtp": {
			sdk.SMTP, dialogue("220 x\r\n", "EHLO", "250-x\r\n250 STARTTLS\r\n", "STARTTLS", "220 x\r\n"), "it serves another certificate",
		},
		"smtp without STARTTLS": {sdk.SMTP, dialogue("220 x\r\n", "EHLO", "250 x\r\n", "STARTTLS", "502 no\r\n"), `STARTTLS: 502 "no"`},
		"no smtp":               {sdk.SMTP, dialogue("554 go away\r\n"), `554 "go away"`},
		"imap refuses":          {sdk.IMAP, dialogue("* OK x\r\n", "a STARTTLS", "a BAD no TLS here\r\n"), "it refused STARTTLS: a BAD no TLS here"},
		"no imap":               {sdk.IMAP, dialogue("220 x\r\n"), `unexpected greeting "220 x": not the protocol that was expected`},
		"imap talks on":         {sdk.IMAP, dialogue("* OK x\r\n", "a STARTTLS", strings.Repeat("* x\r\n", 30)), "it does not answer STARTTLS"},
		"pop3 refuses":          {sdk.POP3, dialogue("+OK x\r\n", "STLS", "-ERR no\r\n"), "it refused STARTTLS: -ERR no"},
		"no TLS":                {"", dialogue("HTTP/1.0 400 Bad Request\r\n\r\n"), "first record does not look like a TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int64
			ctx, cancel := context.WithCancel(bounded(t))
			greet := func(conn net.Conn) error {
				// From the third on the time is over, in the middle of a try.
				if tries.Add(1) > 2 {
					cancel()
				}
				if tt.greet != nil {
					return tt.greet(conn)
				}
				return nil
			}
			e := listen(t, greet, func(int) *tls.Certificate { return wrong })
			_, err := Handshake(ctx, model.Endpoint{Address: e.addr, ServerName: "a.test", Kind: tt.kind}, leaf)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestHandshakeWithNobody(t *testing.T) {
	_, leaf := newPair(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := Handshake(ctx, model.Endpoint{Address: addr}, leaf); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
	if _, err := Handshake(t.Context(), model.Endpoint{Address: addr}, []byte("no PEM")); err == nil || err.Error() != "there is no certificate to compare with" {
		t.Error(err)
	}
}

// The whole way: a deployment is proven at a real listener, and rolled back if
// that never shows the new leaf.
func TestDeployAndProve(t *testing.T) {
	wrong, _ := newPair(t)
	right, leaf := newPair(t)
	for name, tt := range map[string]struct {
		serves *tls.Certificate
		ok     bool
	}{"right": {right, true}, "wrong": {wrong, false}} {
		ctx, cancel := context.WithCancel(bounded(t))
		e := listen(t, nil, func(n int) *tls.Certificate {
			if n > 2 {
				cancel()
			}
			return tt.serves
		})
		f := newTarget(t)
		f.pointer = 3
		f.endpoint("restart", e.addr)
		after, err := f.run(ctx, func(ctx context.Context, e model.Endpoint, _ []byte) ([]string, error) {
			return Handshake(ctx, e, leaf)
		}, model.Target{Deployed: 3})
		if (err == nil) != tt.ok || (after.Proven == 4) != tt.ok || (f.pointer == 4) != tt.ok {
			t.Errorf("%s: %+v, pointer %d, %v", name, after, f.pointer, err)
		}
		cancel()
	}
}

// at serves a certificate at a port of an address; port 0 is any.
func at(t *testing.T, address string, pair *tls.Certificate) (string, error) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*pair}}).HandshakeContext(t.Context())
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); served.Wait() })
	return l.Addr().String(), nil
}

// two serves two certificates at one port of two addresses.
func two(t *testing.T, first, second *tls.Certificate) (port string) {
	t.Helper()
	for range 50 { // somebody may have that port at the other address
		address, err := at(t, "127.0.7.1:0", first)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(address)
		if second == nil {
			return port
		}
		if _, err = at(t, "127.0.7.2:"+port, second); err == nil {
			return port
		}
	}
	t.Fatal("no port is free at both addresses")
	return ""
}

// An endpoint is its name: every address that it leads to has to show the leaf,
// as far as anybody is there.
func TestEveryAddress(t *testing.T) {
	right, leaf := newPair(t)
	wrong, _ := newPair(t)
	ask := func(t *testing.T, port string, limit time.Duration) ([]string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return patiently(ctx, model.Endpoint{Address: "site.test:" + port, ServerName: "a.test"}, leaf,
			func(context.Context, string) ([]string, error) {
				return []string{"127.0.7.1:" + port, "127.0.7.2:" + port}, nil
			})
	}
	if warnings, err := ask(t, two(t, right, right), time.Minute); err != nil || len(warnings) > 0 {
		t.Errorf("both right: %q, %v", warnings, err)
	}
	port := two(t, right, nil)
	warnings, err := ask(t, port, time.Minute)
	if err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "site.test:"+port+" is not proven at 127.0.7.2:"+port+": ") {
		t.Errorf("right at one, nobody at the other: %q, %v", warnings, err)
	}
	for name, tt := range map[string]struct {
		first, second *tls.Certificate
		want          []string
	}{
		"wrong at the second":                {right, wrong, []string{"at 127.0.7.2:PORT: it serves another certificate"}},
		"wrong at the first":                 {wrong, right, []string{"at 127.0.7.1:PORT: it serves another certificate"}},
		"wrong at both":                      {wrong, wrong, []string{"at 127.0.7.1:PORT: it serves another", "at 127.0.7.2:PORT: it serves another"}},
		"wrong at one, nobody at the second": {wrong, nil, []string{"at 127.0.7.1:PORT: it serves another", "127.0.7.2:PORT: connect: connection refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := two(t, tt.first, tt.second)
			_, err := ask(t, port, 5*time.Second)
			for _, want := range tt.want {
				if want = strings.ReplaceAll(want, "PORT", port); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v lacks %q", err, want)
				}
			}
		})
	}
}

func TestResolve(t *testing.T) {
	for address, want := range map[string][]string{
		"localhost:25": {"127.0.0.1:25", "[::1]:25"}, ":25": {"127.0.0.1:25", "[::1]:25"},
		"192.0.2.1:443": {"192.0.2.1:443"}, "[2001:db8::1]:443": {"[2001:db8::1]:443"},
	} {
		got, err := resolve(t.Context(), address)
		for _, w := range want {
			if err != nil || !slices.Contains(got, w) {
				t.Errorf("%s: %q, %v; want %q", address, got, err, want)
			}
		}
	}
	if _, err := resolve(t.Context(), "no-port"); err == nil {
		t.Error("no error without a port")
	}
}
