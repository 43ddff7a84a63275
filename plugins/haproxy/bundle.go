package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// bundle gives the one file that haproxy wants: certificate, chain, key. It has
// no empty line, so that the runtime API takes it as it is.
func bundle(d sdk.Deployment) ([]byte, error) {
	if len(d.KeyPEM) == 0 {
		return nil, sdk.Problemf(sdk.Internal, "the host has handed over no key for %s", d.Lineage)
	}
	fullchain := append(append(bytes.Clone(d.LeafPEM), '\n'), d.ChainPEM...)
	if _, err := tls.X509KeyPair(fullchain, d.KeyPEM); err != nil {
		return nil, sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, "the key is not that of the certificate %s: %w", d.Lineage, err))
	}
	return payload(append(append(fullchain, '\n'), d.KeyPEM...)), nil
}

// payload makes a file fit for the socket: an empty line would end it there.
func payload(data []byte) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			out.Write(line)
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

// serialOf gives the serial number of the first certificate; nil: there is none.
func serialOf(data []byte) *big.Int {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			return cert.SerialNumber
		}
		return nil
	}
	return nil
}

// describeChange is the diff of a bundle: of certificates only, whatever else
// is in the file may be a private key.
func describeChange(path string, was, is []byte) string {
	before, after := inspect(was), inspect(is)
	var b strings.Builder
	change := checkpoint.Diff(path, before.certificates, after.certificates)
	if change == "" {
		fmt.Fprintf(&b, "--- %s\n+++ %s\n", path, path)
	}
	b.WriteString(change)
	switch {
	case bytes.Equal(before.rest, after.rest):
		if change == "" {
			b.WriteString("content: changed outside of certificates and keys\n")
		}
	case len(before.rest) == 0:
		b.WriteString("private key: added\n")
	default:
		b.WriteString("private key: changed\n")
	}
	return b.String()
}

// insight is what may be said of a file's content.
type insight struct {
	// certificates in it; nil: none, as in a new file.
	certificates []byte
	// rest are all other blocks; they are compared and never shown.
	rest []byte
}

func inspect(data []byte) insight {
	var out insight
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			out.rest = append(out.rest, block.Bytes...)
			continue
		}
		out.certificates = append(out.certificates, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
	}
	return out
}
