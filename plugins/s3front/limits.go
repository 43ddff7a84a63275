package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// material is a certificate with its chain and key, as it is uploaded: PEM.
type material struct {
	Leaf  string `json:"leaf"`
	Chain string `json:"chain,omitempty"`
	Key   string `json:"key"`
}

// Limits of ACM, IAM and CloudFront.
const (
	mostKey   = 5120 // bytes of PEM, ACM
	mostChain = 2 << 20
	leastRSA  = 1024
	mostRSA   = 4096
)

// checkMaterial says what AWS would refuse, before anything is sent to it.
func checkMaterial(m material, now time.Time) error {
	pair, err := tls.X509KeyPair([]byte(m.Leaf), []byte(m.Key))
	if err != nil {
		return sdk.Permanent(sdk.Problemf(sdk.Internal, "the certificate and its key do not belong together: %w", err))
	}
	unfit := func(hint, format string, args ...any) error {
		return sdk.Hint(sdk.Permanent(sdk.Problemf(sdk.Unsupported, format, args...)), "%s", hint)
	}
	switch key := pair.Leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < leastRSA || bits > mostRSA {
			return unfit("set key_type of the certificate to p256 or rsa2048",
				"CloudFront takes RSA keys of %d to %d bits, and this one has %d", leastRSA, mostRSA, bits)
		}
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return unfit("set key_type of the certificate to p256", "CloudFront takes no other curve than P-256, and this key is on %s", key.Curve.Params().Name)
		}
	default:
		return unfit("set key_type of the certificate to p256", "CloudFront takes no keys of the kind %T", key)
	}
	switch {
	case len(m.Key) > mostKey:
		return unfit("set key_type of the certificate to p256", "the key has %d bytes, and ACM takes %d", len(m.Key), mostKey)
	case len(m.Chain) > mostChain:
		return unfit("choose another chain of the CA", "the chain has %d bytes, and ACM takes %d", len(m.Chain), mostChain)
	case now.Before(pair.Leaf.NotBefore) || now.After(pair.Leaf.NotAfter):
		return unfit("set the clock of this machine, or renew the certificate", "the certificate is valid from %s to %s, and AWS takes none that is not valid now",
			pair.Leaf.NotBefore.Format(time.RFC3339), pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	return checkIssuer(m, pair.Leaf)
}

// checkIssuer wants the issuer in the chain, as ACM does of a certificate that
// has not signed itself.
func checkIssuer(m material, leaf *x509.Certificate) error {
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) && len(leaf.RawSubject) > 0 {
		return nil
	}
	for block, rest := pem.Decode([]byte(m.Chain)); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && bytes.Equal(c.RawSubject, leaf.RawIssuer) {
			return nil
		}
	}
	err := sdk.Problemf(sdk.Unsupported, "the issuer of the certificate, %s, is not in its chain, and AWS wants it there", leaf.Issuer)
	return sdk.Hint(sdk.Permanent(err), "use a CA that sends the chain")
}

// covers says whether the certificate is for a distribution: it names one of its
// aliases. Then it must name all of them, because CloudFront takes no other. One
// without aliases serves no name of ours.
func covers(leaf *x509.Certificate, id string, aliases []string) (bool, error) {
	if len(aliases) == 0 {
		return false, nil
	}
	var missing []string
	for _, alias := range aliases {
		if !names(leaf, alias) {
			missing = append(missing, alias)
		}
	}
	if len(missing) == 0 {
		return true, nil
	}
	err := sdk.Problemf(sdk.Conflict, "the distribution %s serves %s, which the certificate does not name", id, strings.Join(missing, ", "))
	return len(missing) < len(aliases), sdk.Hint(sdk.Permanent(err), "add the names to the certificate, or take them out of the distribution")
}

// names says whether a certificate names an alias. That may be a wildcard, which
// only the same wildcard covers.
func names(leaf *x509.Certificate, alias string) bool {
	if slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return strings.EqualFold(name, alias) }) {
		return true
	}
	return !strings.HasPrefix(alias, "*") && leaf.VerifyHostname(alias) == nil
}

// kind is the key's type and size, which a certificate in ACM keeps for ever.
func (m material) kind() (string, error) {
	leaf, err := m.certificate()
	if err != nil {
		return "", err
	}
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa%d", key.N.BitLen()), nil
	case *ecdsa.PublicKey:
		return "ec-" + key.Curve.Params().Name, nil
	}
	return fmt.Sprintf("%T", leaf.PublicKey), nil
}

func (m material) certificate() (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(m.Leaf))
	if block == nil {
		return nil, errors.New("there is no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// print tells the leaf from every other.
func (m material) print() string {
	block, _ := pem.Decode([]byte(m.Leaf))
	if block == nil {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}
