package acmeclient

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
)

// Certificate downloads a chain (RFC 8555 section 7.4.2), leaf first, and gives
// it as plain PEM: certificates and nothing else, whatever stood around them.
func (c *Client) Certificate(ctx context.Context, url string) ([]byte, error) {
	chain, _, err := c.certificate(ctx, url)
	return chain, err
}

// certificate downloads one chain.
func (c *Client) certificate(ctx context.Context, url string) ([]byte, http.Header, error) {
	a, err := c.read(ctx, url)
	if err != nil {
		return nil, nil, fmt.Errorf("downloading the certificate %s: %w", url, err)
	}
	chain, err := readChain(a.body)
	if err != nil {
		return nil, nil, fmt.Errorf("downloading the certificate %s: %w", url, err)
	}
	return chain, a.header, nil
}

func readChain(body []byte) ([]byte, error) {
	var out bytes.Buffer
	for rest := body; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		// RFC 8555 section 9.1 allows certificates only. A key would be
		// written where anybody may read it.
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("the CA sent a %q among the certificates", block.Type)
		}
		if out.Len() == 0 {
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return nil, fmt.Errorf("the CA sent a certificate that cannot be read: %w", err)
			}
		}
		if err := pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
			return nil, err
		}
	}
	if out.Len() == 0 {
		return nil, errors.New("the CA sent no certificate in PEM")
	}
	return out.Bytes(), nil
}
