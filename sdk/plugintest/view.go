package plugintest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk"
)

// view looks whether a challenge's response is to be seen, as a CA would.
type view interface {
	// count tells how many times the response is there, and what was seen.
	count(context.Context, sdk.Challenge) (n int, seen string)
	// settles tells whether a change may take a while to show.
	settles() bool
}

// lookLimit bounds one look.
const lookLimit = 10 * time.Second

// makeViews opens a view for each challenge type that the suite can look at.
func (b *bench) makeViews() error {
	if b.HTTPAddress == "" && b.WebrootPath != "" {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("serve the webroot %s: %w", b.WebrootPath, err)
		}
		server := &http.Server{Handler: http.FileServer(http.Dir(b.WebrootPath)), ReadHeaderTimeout: lookLimit}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = server.Serve(listener)
		}()
		b.closers = append(b.closers, func() {
			_ = server.Close()
			<-ended
		})
		b.HTTPAddress = listener.Addr().String()
	}
	if b.HTTPAddress != "" {
		b.views[sdk.HTTP01] = httpView(b.HTTPAddress)
	}
	if b.TLSAddress != "" {
		b.views[sdk.TLSALPN01] = tlsView(b.TLSAddress)
	}
	if b.DNSAddress != "" {
		b.views[sdk.DNS01] = dnsView(b.DNSAddress)
	}
	for t, look := range b.Look {
		b.views[t] = lookView(look)
	}
	return nil
}

// lookView is the author's.
type lookView func(context.Context, sdk.Challenge) (int, error)

func (v lookView) settles() bool { return false }

func (v lookView) count(ctx context.Context, c sdk.Challenge) (int, string) {
	n, err := v(ctx, c)
	if err != nil {
		return -1, "Look failed: " + err.Error()
	}
	return n, "Look says so"
}

// httpView asks as RFC 8555 section 8.3 says.
type httpView string

func (v httpView) settles() bool { return false }

func (v httpView) count(ctx context.Context, c sdk.Challenge) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+string(v)+c.HTTP.Path, nil)
	if err != nil {
		return 0, err.Error()
	}
	req.Host = c.Identifier.Value
	req.Close = true
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return 0, err.Error()
	}
	seen := fmt.Sprintf("GET %s with Host %s gave status %d and %q", req.URL, req.Host, resp.StatusCode, abridged(body))
	if resp.StatusCode != http.StatusOK || !bytes.Equal(bytes.TrimRight(body, " \t\r\n"), c.HTTP.Body) {
		return 0, seen
	}
	return 1, seen
}

func abridged(b []byte) string {
	const most = 200
	if len(b) > most {
		return string(b[:most]) + "..."
	}
	return string(b)
}

// tlsView does the handshake of RFC 8737 section 3.
type tlsView string

func (v tlsView) settles() bool { return false }

func (v tlsView) count(ctx context.Context, c sdk.Challenge) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	const protocol = "acme-tls/1"
	var presented []*x509.Certificate
	d := &tls.Dialer{Config: &tls.Config{
		ServerName: c.ALPN.ServerName, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, // the certificate is compared as a whole
		VerifyConnection: func(s tls.ConnectionState) error {
			presented = s.PeerCertificates
			if s.NegotiatedProtocol != protocol {
				return fmt.Errorf("the server chose the protocol %q, not %q", s.NegotiatedProtocol, protocol)
			}
			return nil
		},
	}}
	what := fmt.Sprintf("a TLS handshake with %s for %s", string(v), c.ALPN.ServerName)
	conn, err := d.DialContext(ctx, "tcp", string(v))
	if err != nil {
		return 0, what + " failed: " + err.Error()
	}
	_ = conn.Close()
	block, _ := pem.Decode(c.ALPN.CertPEM)
	if len(presented) == 0 || block == nil || !bytes.Equal(presented[0].Raw, block.Bytes) {
		return 0, what + " shows another certificate"
	}
	return 1, what + " shows the challenge's certificate"
}

// dnsView asks one server for the TXT records.
type dnsView string

func (v dnsView) settles() bool { return true }

func (v dnsView) count(ctx context.Context, c sdk.Challenge) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(c.DNS.Name), dns.TypeTXT)
	what := fmt.Sprintf("TXT %s at %s", c.DNS.Name, string(v))
	answer, _, err := (&dns.Client{Net: "tcp"}).ExchangeContext(ctx, query, string(v))
	if err != nil {
		return 0, what + ": " + err.Error()
	}
	n := 0
	var values []string
	for _, rr := range answer.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			value := strings.Join(txt.Txt, "")
			values = append(values, value)
			if value == c.DNS.Value {
				n++
			}
		}
	}
	return n, fmt.Sprintf("%s gave %s %q", what, dns.RcodeToString[answer.Rcode], values)
}

// expect looks until every challenge is to be seen so many times. Without a
// view it is content: the check <type>/seen says that nobody looked.
func (b *bench) expect(ctx context.Context, challenges []sdk.Challenge, want int, advice string) error {
	for _, c := range challenges {
		v := b.views[c.Type]
		if v == nil {
			continue
		}
		if err := b.expectOne(ctx, v, c, want); err != nil {
			return fmt.Errorf("%w\n%s", err, advice)
		}
	}
	return nil
}

func (b *bench) expectOne(ctx context.Context, v view, c sdk.Challenge, want int) error {
	deadline := time.NewTimer(b.patience)
	defer deadline.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		n, seen := v.count(ctx, c)
		if n == want {
			return nil
		}
		failure := fmt.Errorf("the response to %s for %s should be there %s, but is %s: %s",
			c.Type, c.Identifier, times(want), times(n), seen)
		if !v.settles() {
			return failure
		}
		select {
		case <-deadline.C:
			return failure
		case <-ctx.Done():
			return failure
		case <-again.C:
		}
	}
}

func times(n int) string {
	switch n {
	case 0:
		return "not at all"
	case 1:
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
