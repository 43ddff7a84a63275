package acmeclient

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
)

// sign makes the JWS of a request (RFC 8555 section 6.2): flattened, with the
// account's URL as key id; without one the key itself is in it. A nil payload is
// that of POST-as-GET. What stands inside another request has no nonce.
func (a *account) sign(url, nonce string, payload []byte) ([]byte, error) {
	algorithm, err := algorithm(a.key.Public())
	if err != nil {
		return nil, err
	}
	options := (&jose.SignerOptions{EmbedJWK: a.url == ""}).WithHeader("url", url)
	if nonce != "" {
		options.WithHeader("nonce", nonce)
	}
	signing := jose.SigningKey{Algorithm: algorithm, Key: cryptosigner.Opaque(a.key)}
	if a.url != "" {
		signing.Key = jose.JSONWebKey{Key: signing.Key, KeyID: a.url}
	}
	signer, err := jose.NewSigner(signing, options)
	if err != nil {
		return nil, err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return nil, err
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		return nil, err
	}
	// go-jose's own JSON leaves an empty payload out, and CAs refuse that.
	parts := strings.Split(compact, ".")
	return json.Marshal(map[string]string{"protected": parts[0], "payload": parts[1], "signature": parts[2]})
}

// algorithm is the one that x/crypto picks as well, so that an account is not
// signed for in two ways.
func algorithm(public crypto.PublicKey) (jose.SignatureAlgorithm, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return jose.RS256, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		case elliptic.P521():
			return jose.ES512, nil
		}
	}
	return "", fmt.Errorf("a key of type %T cannot sign requests to a CA: use ECDSA or RSA", public)
}
