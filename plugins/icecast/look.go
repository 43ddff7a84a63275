package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// lookLimit bounds one handshake.
const lookLimit = 5 * time.Second

// errNotAllowed: the sandbox lets us connect to the ports of the settings only.
var errNotAllowed = errors.New("the port is not one of ssl_port and endpoints")

// leaf gives the certificate that Icecast is configured to show; nil: none.
func (i *icecast) leaf(d document) []byte {
	c := d.certificate()
	if c == nil || len(d.endpoints()) == 0 {
		return nil
	}
	data, err := os.ReadFile(d.outside(c.text))
	if err != nil {
		return nil
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return block.Bytes
		}
	}
	return nil
}

// shows is nil if every endpoint shows the leaf.
func (i *icecast) shows(ctx context.Context, d document, leaf []byte) error {
	for _, e := range i.endpoints(d) {
		if err := handshake(ctx, e.Address, leaf); err != nil {
			return fmt.Errorf("%s: %w", e.Address, err)
		}
	}
	return nil
}

func handshake(ctx context.Context, address string, leaf []byte) error {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{
		// Which certificate it is is compared below, whoever issued it. Icecast
		// has one only, whatever name is asked for.
		InsecureSkipVerify: true, //nolint:gosec // see above
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial" && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)):
		return errNotAllowed
	case err != nil:
		return err
	}
	defer func() { _ = conn.Close() }()
	secure, ok := conn.(*tls.Conn)
	if !ok || len(secure.ConnectionState().PeerCertificates) == 0 || !bytes.Equal(secure.ConnectionState().PeerCertificates[0].Raw, leaf) {
		return errors.New("it shows another certificate")
	}
	return nil
}
