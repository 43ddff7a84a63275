package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/sdk"
)

// pairs looks whether the keys of virtual hosts belong to their certificates.
// "httpd -t" does not, and httpd ends when it finds out by a reload.
func (c *config) pairs() error {
	for _, v := range c.vhosts {
		if v.engine != "on" {
			continue
		}
		var certs, keys []string
		c.inside(v, func(p place) {
			args := words(p.node.args)
			switch {
			case len(args) == 0:
			case p.node.is(certDirective):
				certs = append(certs, c.absolute(c.resolve(args[0])))
			case p.node.is(keyDirective):
				keys = append(keys, c.absolute(c.resolve(args[0])))
			}
		})
		if len(keys) == 0 {
			keys = certs
		}
		for i := range min(len(certs), len(keys)) {
			if err := pair(certs[i], keys[i]); err != nil {
				p := sdk.Problemf(sdk.ConfigTestFailed, "the virtual host at %s cannot start TLS", v.where())
				p.Detail = err.Error()
				p.Hint = "put matching files there, or let certwright deploy again"
				return p
			}
		}
	}
	return nil
}

// pair is an error if it is certain that two files do not go together. What
// cannot be read here, or is of a kind that is not known here, httpd may know.
func pair(certFile, keyFile string) error {
	certPEM, err := os.ReadFile(filepath.Clean(certFile))
	if err != nil {
		return nil //nolint:nilerr // httpd has said already that it is there
	}
	keyPEM, err := os.ReadFile(filepath.Clean(keyFile))
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	cert := block(certPEM, "CERTIFICATE")
	if cert == nil {
		return fmt.Errorf("%s holds no certificate", certFile)
	}
	leaf, err := x509.ParseCertificate(cert.Bytes)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	key := private(keyPEM)
	if key == nil || !ok {
		return nil
	}
	if !public.Equal(key.Public()) {
		return fmt.Errorf("the key in %s does not belong to the certificate in %s", keyFile, certFile)
	}
	return nil
}

func block(data []byte, kind string) *pem.Block {
	for b, rest := pem.Decode(data); b != nil; b, rest = pem.Decode(rest) {
		if b.Type == kind {
			return b
		}
	}
	return nil
}

// private is a key that is not encrypted; nil: none that is known.
func private(data []byte) crypto.Signer {
	for b, rest := pem.Decode(data); b != nil; b, rest = pem.Decode(rest) {
		if !bytes.HasSuffix([]byte(b.Type), []byte("PRIVATE KEY")) {
			continue
		}
		var key any
		var err error
		switch b.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(b.Bytes)
		}
		if signer, ok := key.(crypto.Signer); ok && err == nil {
			return signer
		}
	}
	return nil
}
