package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"

	"github.com/certwright/certwright/sdk"
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
