package store

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/host/internal/model"
)

func generateKey(kt model.KeyType) (crypto.Signer, error) {
	switch kt {
	case "", model.P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case model.P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case model.RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case model.RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case model.RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, fmt.Errorf("key type %q is not one of %v", kt, model.KeyTypes())
}

// keyTypeOf names the type of a public key; one that we do not make is named
// by its algorithm.
func keyTypeOf(cert *x509.Certificate) model.KeyType {
	switch pub := cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return model.KeyType(fmt.Sprintf("p%d", pub.Curve.Params().BitSize))
	case *rsa.PublicKey:
		return model.KeyType(fmt.Sprintf("rsa%d", pub.N.BitLen()))
	}
	return model.KeyType(cert.PublicKeyAlgorithm.String())
}

// encodeKey gives PKCS #8, which holds every type and which every server reads.
func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads a private key from the PEM form that a user has it in.
func ParseKey(data []byte) (crypto.Signer, error) { return parseKey(data) }

// parseKey reads PKCS #8 and the two older forms, which other clients write.
func parseKey(data []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default: // "EC PARAMETERS" stands before keys that openssl wrote
			continue
		}
		if err != nil {
			return nil, err
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("a %T cannot sign", key)
		}
		return signer, nil
	}
	return nil, errors.New("it holds no unencrypted private key in PEM form")
}

func loadKey(path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, disk.Error("read", path, err)
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, brokenFile(path, err)
	}
	return key, nil
}

// GenerateKey makes a key that is kept nowhere.
func GenerateKey(kt model.KeyType) (crypto.Signer, error) { return generateKey(kt) }

// createKey generates a key and makes it durable.
func (s *Store) createKey(path string, kt model.KeyType) (crypto.Signer, error) {
	key, data, err := makeKey(kt)
	if err != nil {
		return nil, err
	}
	return key, s.write(path, data)
}

// makeKey generates a key and gives it with the file that keeps it.
func makeKey(kt model.KeyType) (crypto.Signer, []byte, error) {
	key, err := generateKey(kt)
	if err != nil {
		return nil, nil, fmt.Errorf("generate a key: %w", err)
	}
	data, err := encodeKey(key)
	return key, data, err
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
