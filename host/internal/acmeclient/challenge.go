package acmeclient

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/acme"

	"github.com/certwright/certwright/host/internal/model"
)

// maxToken is what a file name can take; tokens are some 43 characters.
const maxToken = 255

// challenges is the account's x/crypto client, once the token may be used. RFC
// 8555 section 8.1 allows base64url characters only: a token becomes a path and a
// file name, and "../" must not.
func (c *Client) challenges(token string) (*acme.Client, error) {
	if token == "" || len(token) > maxToken {
		return nil, fmt.Errorf("the CA sent a token of %d characters, which cannot be used", len(token))
	}
	for _, r := range token {
		if (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return nil, fmt.Errorf("the CA sent the token %q, which is not base64url (RFC 8555 section 8.1)", token)
		}
	}
	signer, err := c.signer()
	if err != nil {
		return nil, err
	}
	return signer.acme, nil
}

// KeyAuthorization is RFC 8555 section 8.1.
func (c *Client) KeyAuthorization(token string) (string, error) {
	client, err := c.challenges(token)
	if err != nil {
		return "", err
	}
	return client.HTTP01ChallengeResponse(token)
}

// Thumbprint is that of the account's key, which every key authorization ends with
// (RFC 8555 section 8.1).
func (c *Client) Thumbprint() (string, error) {
	signer, err := c.signer()
	if err != nil {
		return "", err
	}
	return acme.JWKThumbprint(signer.key.Public())
}

// DNS01Value is the TXT value of dns-01 (RFC 8555 section 8.4).
func (c *Client) DNS01Value(token string) (string, error) {
	client, err := c.challenges(token)
	if err != nil {
		return "", err
	}
	return client.DNS01ChallengeRecord(token)
}

// DNSAccount01Name is where dns-account-01 wants the TXT record for a domain
// (draft-ietf-acme-dns-account-label section 3.2): the label is the account's own,
// so that several accounts can prove one name side by side. The value is that of
// dns-01.
func (c *Client) DNSAccount01Name(domain string) (string, error) {
	signer, err := c.signer()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(signer.url))
	label := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
	return "_" + label + "._acme-challenge." + strings.TrimPrefix(domain, "*."), nil
}

// HTTP01Path is the path of http-01 (RFC 8555 section 8.3).
func (c *Client) HTTP01Path(token string) (string, error) {
	client, err := c.challenges(token)
	if err != nil {
		return "", err
	}
	return client.HTTP01ChallengePath(token), nil
}

// TLSALPN01Certificate is the certificate of tls-alpn-01 with its own key (RFC
// 8737 section 3, RFC 8738 section 4 for addresses).
func (c *Client) TLSALPN01Certificate(token string, id model.Identifier) (certPEM, keyPEM []byte, err error) {
	client, err := c.challenges(token)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := client.TLSALPN01ChallengeCert(token, id.Value)
	if err != nil {
		return nil, nil, fmt.Errorf("making the tls-alpn-01 certificate for %s: %w", id, err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("making the tls-alpn-01 certificate for %s: %w", id, err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return certPEM, keyPEM, nil
}
