package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// isDH says whether a block is of parameters that are kept: the operator has put
// them there by hand. OpenSSL also writes "X9.42 DH PARAMETERS".
func isDH(block *pem.Block) bool { return strings.HasSuffix(block.Type, "DH PARAMETERS") }

// bundle gives the one file that hitch wants: key, certificate, chain, and the
// parameters that the file before it has.
func bundle(d sdk.Deployment, was []byte) ([]byte, error) {
	if len(d.KeyPEM) == 0 {
		return nil, sdk.Problemf(sdk.Internal, "the host has handed over no key for %s", d.Lineage)
	}
	if _, err := tls.X509KeyPair(append(append(bytes.Clone(d.LeafPEM), '\n'), d.ChainPEM...), d.KeyPEM); err != nil {
		return nil, sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, "the key is not that of the certificate %s: %w", d.Lineage, err))
	}
	var out bytes.Buffer
	for _, part := range [][]byte{d.KeyPEM, d.LeafPEM, d.ChainPEM} {
		if part = bytes.TrimSpace(part); len(part) > 0 {
			out.Write(part)
			out.WriteByte('\n')
		}
	}
	for block, rest := pem.Decode(was); block != nil; block, rest = pem.Decode(rest) {
		if isDH(block) {
			out.Write(pem.EncodeToMemory(block))
		}
	}
	return out.Bytes(), nil
}

// leafOf gives the first certificate of a file; nil: there is none.
func leafOf(data []byte) *x509.Certificate {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		return cert
	}
	return nil
}
