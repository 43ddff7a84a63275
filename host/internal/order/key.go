package order

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
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
func csr(key crypto.Signer, ids []model.Identifier, mustStaple bool) ([]byte, error) {
	template := &x509.CertificateRequest{}
	if mustStaple {
		// The TLS feature status_request (RFC 7633 section 6).
		template.ExtraExtensions = []pkix.Extension{{
			Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 0x03, 0x02, 0x01, 0x05},
		}}
	}
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
	leafPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Bytes})
	var chain []byte
	for block, more := pem.Decode(rest); block != nil; block, more = pem.Decode(more) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})...)
		}
	}
	issued := model.Issued{LeafPEM: leafPEM, ChainPEM: chain, FullchainPEM: append(append([]byte{}, leafPEM...), chain...)}
	if key == nil { // of a request made elsewhere
		return issued, nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return model.Issued{}, fmt.Errorf("encode the private key: %w", err)
	}
	issued.KeyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return issued, nil
}

// issuedBy says whether a certificate of the chain has an issuer of this common
// name: the last one names the root, which is not in the chain itself.
func issuedBy(chain []byte, name string) bool {
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.Issuer.CommonName == name {
			return true
		}
	}
	return false
}
