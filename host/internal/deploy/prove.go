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
	"net/smtp"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// patience is how long an endpoint may go on serving something else: a reload
// takes effect a moment after the server says that it is done.
const patience = 20 * time.Second

// Handshake asks an endpoint until it shows the leaf, and gives the last reason
// if it does not in time. Trust is not the question here, identity is: the leaf
// must be the very one that was deployed.
func Handshake(ctx context.Context, e model.Endpoint, leafPEM []byte) error {
	block, _ := pem.Decode(leafPEM)
	if block == nil {
		return errors.New("there is no certificate to compare with")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pause := 20 * time.Millisecond
	var last error
	for {
		err := handshake(ctx, e, block.Bytes)
		if err == nil {
			return nil
		}
		if last != nil && ctx.Err() != nil {
			return last // this try was cut off, which says nothing
		}
		last = err
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause = min(pause*2, time.Second)
	}
}

func handshake(ctx context.Context, e model.Endpoint, leaf []byte) error {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", e.Address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
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
		return err
	}
	if len(state.PeerCertificates) == 0 {
		return errors.New("it shows no certificate")
	}
	if got := state.PeerCertificates[0]; !bytes.Equal(got.Raw, leaf) {
		return fmt.Errorf("it serves another certificate: %s", describe(got))
	}
	return nil
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
