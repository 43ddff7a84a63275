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
// account's URL as key id. A nil payload is that of POST-as-GET.
func (a *account) sign(url, nonce string, payload []byte) ([]byte, error) {
	algorithm, err := algorithm(a.key.Public())
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{
			Algorithm: algorithm,
			Key:       jose.JSONWebKey{Key: cryptosigner.Opaque(a.key), KeyID: a.url},
		},
		(&jose.SignerOptions{}).WithHeader("url", url).WithHeader("nonce", nonce),
	)
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
	return "", fmt.Errorf("an account key of type %T is not supported: use ECDSA or RSA", public)
}
