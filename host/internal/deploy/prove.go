package deploy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/smtp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// patience is how long an endpoint may go on serving something else: a reload
// takes effect a moment after the server says that it is done.
const patience = 20 * time.Second

// settled is after what time an address that refuses is taken at its word, if
// another one answers: a server may open one after the other.
const settled = 500 * time.Millisecond

// Handshake asks an endpoint until it shows the leaf, and gives the last reason
// if it does not in time. Trust is not the question here, identity is: the leaf
// must be the very one that was deployed. A host that has several addresses is
// asked at each, because clients come by any: one that shows something else
// spoils the proof. One that cannot be reached while another shows the leaf is
// only worth a warning: servers often listen on one kind of address alone.
func Handshake(ctx context.Context, e model.Endpoint, leafPEM []byte) (warnings []string, err error) {
	return patiently(ctx, e, leafPEM, resolve)
}

// resolver gives the addresses that clients of an endpoint may come to.
type resolver func(ctx context.Context, address string) ([]string, error)

func patiently(ctx context.Context, e model.Endpoint, leafPEM []byte, addresses resolver) (warnings []string, err error) {
	block, _ := pem.Decode(leafPEM)
	if block == nil {
		return nil, errors.New("there is no certificate to compare with")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begun, pause := time.Now(), 20*time.Millisecond
	var last error
	for {
		unreached, err := everywhere(ctx, e, block.Bytes, addresses)
		if err == nil && (len(unreached) == 0 || time.Since(begun) >= settled) {
			return unreached, nil
		}
		if absent(err) {
			return nil, err // no server changes that by being waited for
		}
		switch {
		case err == nil:
		case last != nil && ctx.Err() != nil:
			return nil, last // this try was cut off, which says nothing
		default:
			last = err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return unreached, err
		case <-timer.C:
		}
		pause = min(pause*2, time.Second)
	}
}

// everywhere asks every address of an endpoint once.
func everywhere(ctx context.Context, e model.Endpoint, leaf []byte, find resolver) (unreached []string, err error) {
	addresses, err := find(ctx, e.Address)
	if err != nil {
		return nil, err
	}
	if len(addresses) == 1 {
		_, err := handshake(ctx, addresses[0], e, leaf)
		return nil, err
	}
	errs, reached := make([]error, len(addresses)), make([]bool, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() { reached[i], errs[i] = handshake(ctx, address, e, leaf) })
	}
	all.Wait()
	var failures, refusals []error
	for i, err := range errs {
		switch {
		case err == nil:
		case reached[i]:
			failures = append(failures, fmt.Errorf("at %s: %w", addresses[i], err))
		default:
			refusals = append(refusals, err)
			unreached = append(unreached, fmt.Sprintf("%s is not proven at %s: %v", e.Address, addresses[i], err))
		}
	}
	if len(failures) == 0 && len(refusals) < len(addresses) {
		return unreached, nil
	}
	return nil, errors.Join(append(failures, refusals...)...)
}

// absent says that this machine has no IPv6, or not at this address, whatever a
// server listens at: to listen at [::] works all the same.
func absent(err error) bool {
	var several interface{ Unwrap() []error }
	var dial *net.OpError
	if errors.As(err, &several) || !errors.As(err, &dial) {
		return false
	}
	at, ok := dial.Addr.(*net.TCPAddr)
	if !ok || at.IP.To4() != nil {
		return false // there it is a lack of free ports
	}
	is := func(numbers ...error) bool {
		return slices.ContainsFunc(numbers, func(number error) bool { return errors.Is(err, number) })
	}
	return is(syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT) || at.IP.IsLoopback() && is(syscall.ENETUNREACH, syscall.EHOSTUNREACH)
}

// resolve asks the system.
func resolve(ctx context.Context, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host == "" {
		host = "localhost"
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{address}, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if host == "localhost" {
		// Not every hosts file has both.
		found = append(found, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"))
	}
	var out []string
	for _, a := range found {
		out = append(out, net.JoinHostPort(a.Unmap().String(), port))
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// handshake asks one address, and says whether anybody was there.
func handshake(ctx context.Context, address string, e model.Endpoint, leaf []byte) (reached bool, err error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return true, err
	}
	cfg := &tls.Config{
		ServerName: e.ServerName,
		// The certificate is compared below, whoever issued it.
		InsecureSkipVerify: true, //nolint:gosec // see above
	}
	if net.ParseIP(e.ServerName) != nil {
		cfg.ServerName = ""
	}
	state, err := startTLS(ctx, conn, e.Kind, cfg)
	if err != nil {
		return true, err
	}
	if len(state.PeerCertificates) == 0 {
		return true, errors.New("it shows no certificate")
	}
	if got := state.PeerCertificates[0]; !bytes.Equal(got.Raw, leaf) {
		return true, fmt.Errorf("it serves another certificate: %s", describe(got))
	}
	return true, nil
}

func startTLS(ctx context.Context, conn net.Conn, kind sdk.EndpointKind, cfg *tls.Config) (tls.ConnectionState, error) {
	switch kind {
	case sdk.SMTP:
		client, err := smtp.NewClient(conn, cfg.ServerName)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		err = client.StartTLS(cfg)
		// It greets once more over TLS; the handshake is over by then, and that
		// is all we want to know.
		if state, ok := client.TLSConnectionState(); ok && len(state.PeerCertificates) > 0 {
			return state, nil
		}
		if err != nil {
			err = fmt.Errorf("STARTTLS: %w", err)
		}
		return tls.ConnectionState{}, err
	case sdk.IMAP:
		if err := command(conn, "a STARTTLS\r\n", "* OK", "a OK"); err != nil {
			return tls.ConnectionState{}, err
		}
	case sdk.POP3:
		if err := command(conn, "STLS\r\n", "+OK", "+OK"); err != nil {
			return tls.ConnectionState{}, err
		}
	}
	client := tls.Client(conn, cfg)
	if err := client.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	return client.ConnectionState(), nil
}

// command reads the greeting, sends one command and reads up to its answer
// (RFC 9051 section 6.2.1, RFC 2595 section 4).
func command(conn net.Conn, send, greeting, answer string) error {
	r := bufio.NewReaderSize(conn, 4096)
	line, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, greeting) {
		return fmt.Errorf("unexpected greeting %q: %w", strings.TrimSpace(line), orUnexpected(err))
	}
	if _, err := conn.Write([]byte(send)); err != nil {
		return err
	}
	for range 20 {
		line, err := r.ReadString('\n')
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, answer):
			return nil
		case !strings.HasPrefix(line, "* "):
			return fmt.Errorf("it refused STARTTLS: %s", strings.TrimSpace(line))
		}
	}
	return errors.New("it does not answer STARTTLS")
}

func orUnexpected(err error) error {
	if err == nil {
		return errors.New("not the protocol that was expected")
	}
	return err
}

func describe(c *x509.Certificate) string {
	return fmt.Sprintf("serial %x, valid until %s", c.SerialNumber, c.NotAfter.UTC().Format("2006-01-02 15:04 UTC"))
}
