package plugintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/certwright/certwright/sdk"
)

// random gives n random bytes as base64url: what tokens and thumbprints look
// like (RFC 8555 section 8.1).
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// identifiers makes the names of one batch. For dns-01 the second is the
// wildcard of the first, so that two values share one record set.
func (b *bench) identifiers(challengeType, label string) []sdk.Identifier {
	first := sdk.Identifier{Type: "dns", Value: label + "." + b.Domain}
	if challengeType == sdk.DNS01 {
		return []sdk.Identifier{first, {Type: "dns", Value: first.Value, Wildcard: true}}
	}
	return []sdk.Identifier{first, {Type: "dns", Value: "www." + first.Value}}
}

// challenges makes one batch of one type, with all material that a host gives.
func (b *bench) challenges(challengeType, label string) ([]sdk.Challenge, error) {
	var out []sdk.Challenge
	for i, id := range b.identifiers(challengeType, label) {
		c, err := b.challenge(challengeType, id)
		if err != nil {
			return nil, err
		}
		c.ID = fmt.Sprintf("%s-%d", label, i+1)
		out = append(out, c)
	}
	return out, nil
}

func (b *bench) challenge(challengeType string, id sdk.Identifier) (sdk.Challenge, error) {
	token := random(32)
	c := sdk.Challenge{
		Type: challengeType, Identifier: id, Token: token, KeyAuthorization: token + "." + random(32),
	}
	digest := sha256.Sum256([]byte(c.KeyAuthorization))
	switch challengeType {
	case sdk.HTTP01:
		c.HTTP = &sdk.HTTPChallenge{
			Path: "/.well-known/acme-challenge/" + token, Body: []byte(c.KeyAuthorization),
		}
	case sdk.DNS01:
		c.DNS = &sdk.DNSChallenge{
			Name: "_acme-challenge." + id.Value, Zone: b.Domain, TTL: time.Minute,
			Value: base64.RawURLEncoding.EncodeToString(digest[:]),
		}
		if b.description.DNS == sdk.SelfDNS {
			c.DNS.Zone = ""
		}
	case sdk.TLSALPN01:
		certPEM, keyPEM, err := alpnCertificate(id.Value, digest)
		if err != nil {
			return c, err
		}
		c.ALPN = &sdk.ALPNChallenge{ServerName: id.Value, CertPEM: certPEM, KeyPEM: keyPEM}
	}
	raw, err := json.Marshal(map[string]string{
		"type": challengeType, "token": token, "status": "pending", "url": "https://ca.invalid/chall/" + token,
	})
	c.RawJSON = raw
	return c, err
}

// idPeAcmeIdentifier is the extension of RFC 8737 section 6.1.
var idPeAcmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// alpnCertificate makes the certificate of RFC 8737 section 3.
func alpnCertificate(name string, digest [sha256.Size]byte) (certPEM, keyPEM []byte, err error) {
	value, err := asn1.Marshal(digest[:])
	if err != nil {
		return nil, nil, err
	}
	template := template(name)
	template.ExtraExtensions = []pkix.Extension{{Id: idPeAcmeIdentifier, Critical: true, Value: value}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	return sign(template, template, key, key)
}

func template(names ...string) *x509.Certificate {
	serial := new(big.Int).SetBytes([]byte(random(12)))
	return &x509.Certificate{
		SerialNumber: serial, DNSNames: names, Subject: pkix.Name{CommonName: "plugincheck " + serial.String()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
}

func sign(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (certPEM, keyPEM []byte, err error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// lineage is a certificate on disk as the host's store keeps it.
type lineage struct {
	name                   string
	names                  []string
	leaf, chain, fullchain []byte
	key, csr               []byte
	paths, configPaths     sdk.Paths
}

// lineage issues a certificate of a throw-away CA and writes live/ and
// deployed/ links to it.
func (b *bench) lineage() (*lineage, error) {
	b.count++
	l := &lineage{name: "a." + b.Domain, names: []string{"a." + b.Domain, "www.a." + b.Domain}}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := template()
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
	if l.chain, _, err = sign(ca, ca, caKey, caKey); err != nil {
		return nil, err
	}
	if l.leaf, l.key, err = sign(template(l.names...), ca, key, caKey); err != nil {
		return nil, err
	}
	if l.csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: l.names}, key); err != nil {
		return nil, err
	}
	l.fullchain = append(append([]byte{}, l.leaf...), l.chain...)
	root := filepath.Join(b.dir, fmt.Sprintf("lineage-%d", b.count))
	return l, l.write(root)
}

func (l *lineage) write(root string) error {
	version := filepath.Join(root, "archive", l.name, "0001")
	for _, dir := range []string{version, filepath.Join(root, "live"), filepath.Join(root, "deployed")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make a lineage: %w", err)
		}
	}
	for name, content := range map[string][]byte{
		"cert.pem": l.leaf, "chain.pem": l.chain, "fullchain.pem": l.fullchain, "privkey.pem": l.key,
	} {
		if err := os.WriteFile(filepath.Join(version, name), content, 0o600); err != nil {
			return fmt.Errorf("write a lineage: %w", err)
		}
	}
	for _, pointer := range []string{"live", "deployed"} {
		if err := os.Symlink(version, filepath.Join(root, pointer, l.name)); err != nil {
			return fmt.Errorf("link a lineage: %w", err)
		}
	}
	l.paths = pathsIn(filepath.Join(root, "live", l.name))
	l.configPaths = pathsIn(filepath.Join(root, "deployed", l.name))
	return nil
}

func pathsIn(dir string) sdk.Paths {
	return sdk.Paths{
		Cert: filepath.Join(dir, "cert.pem"), Chain: filepath.Join(dir, "chain.pem"),
		Fullchain: filepath.Join(dir, "fullchain.pem"), Privkey: filepath.Join(dir, "privkey.pem"),
	}
}

// deployment is what a host gives to Deploy for one name of the certificate.
func (l *lineage) deployment(name string, access sdk.KeyAccess, dryRun bool) sdk.Deployment {
	d := sdk.Deployment{
		Lineage: l.name, Name: name, Names: l.names, LeafPEM: l.leaf, ChainPEM: l.chain,
		FullchainPEM: l.fullchain, Paths: l.paths, ConfigPaths: l.configPaths, DryRun: dryRun,
	}
	if access == sdk.KeyBytes {
		d.KeyPEM = l.key
	}
	return d
}
