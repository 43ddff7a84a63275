package order

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"

	"github.com/certwright/certwright/host/internal/model"
)

// ID is a short name of an order for files: its URL may be long and hold
// anything.
func ID(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:8])
}

// operationID is the same for the same work on the same order.
func operationID(order, instance, step string) string {
	sum := sha256.Sum256([]byte(order + "\x00" + instance + "\x00" + step))
	return hex.EncodeToString(sum[:16])
}

// csr makes the certificate request (RFC 8555 section 7.4): the identifiers as
// alternative names, no subject.
func csr(key crypto.Signer, ids []model.Identifier) ([]byte, error) {
	template := &x509.CertificateRequest{}
	for _, id := range ids {
		if id.Type == "ip" {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(id.Value))
			continue
		}
		template.DNSNames = append(template.DNSNames, id.String())
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate request: %w", err)
	}
	return der, nil
}

// split takes a chain apart into the leaf and the rest.
func split(fullchain []byte, key crypto.Signer) (model.Issued, error) {
	leaf, rest := pem.Decode(fullchain)
	if leaf == nil || leaf.Type != "CERTIFICATE" {
		return model.Issued{}, fmt.Errorf("the CA answered with something that is not a PEM certificate")
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return model.Issued{}, fmt.Errorf("encode the private key: %w", err)
	}
	leafPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Bytes})
	var chain []byte
	for block, more := pem.Decode(rest); block != nil; block, more = pem.Decode(more) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})...)
		}
	}
	return model.Issued{
		LeafPEM: leafPEM, ChainPEM: chain, FullchainPEM: append(append([]byte{}, leafPEM...), chain...),
		KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}, nil
}
