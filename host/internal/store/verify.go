package store

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/internal/model"
)

// verify refuses what would not work in a server: a leaf of another key, or
// without one of the names, or a chain that is none. It gives the leaf, and
// what was issued with fullchain filled in. Names that the CA added are no
// reason to refuse; whether the chain leads to a trusted root is the client's
// to know.
func verify(i model.Issued, key crypto.PublicKey, want []model.Identifier) (*x509.Certificate, model.Issued, error) {
	leaves, err := parseCerts("cert", i.LeafPEM)
	if err != nil {
		return nil, i, err
	}
	if len(leaves) != 1 {
		return nil, i, fmt.Errorf("cert holds %d certificates instead of one", len(leaves))
	}
	chain, err := parseCerts("chain", i.ChainPEM)
	if err != nil {
		return nil, i, err
	}
	if len(i.FullchainPEM) == 0 {
		i.FullchainPEM = slices.Concat(withNewline(i.LeafPEM), i.ChainPEM)
	}
	full, err := parseCerts("fullchain", i.FullchainPEM)
	if err != nil {
		return nil, i, err
	}
	if !slices.EqualFunc(full, slices.Concat(leaves, chain), (*x509.Certificate).Equal) {
		return nil, i, errors.New("fullchain is not cert followed by chain")
	}
	leaf := leaves[0]
	if !samePublic(leaf.PublicKey, key) {
		return nil, i, errors.New("the certificate is of another key than the order's")
	}
	if missing := missingNames(leaf, want); len(missing) > 0 {
		return nil, i, fmt.Errorf("the certificate (%s) lacks %s", strings.Join(namesOf(leaf), ", "), strings.Join(missing, ", "))
	}
	return leaf, i, nil
}

// withNewline keeps two PEM blocks from meeting on one line.
func withNewline(data []byte) []byte {
	if len(data) == 0 || bytes.HasSuffix(data, []byte("\n")) {
		return data
	}
	return append(slices.Clone(data), '\n')
}

func parseCerts(what string, data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	rest := data
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s holds a %s", what, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s holds a broken certificate: %w", what, err)
		}
		certs = append(certs, cert)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%s holds something that is not PEM", what)
	}
	return certs, nil
}

func missingNames(leaf *x509.Certificate, want []model.Identifier) []string {
	has := namesOf(leaf)
	var missing []string
	for _, id := range want {
		name := strings.ToLower(id.String())
		if ip, err := netip.ParseAddr(name); err == nil {
			name = ip.Unmap().String() // as namesOf writes it
		}
		if !slices.Contains(has, name) {
			missing = append(missing, id.String())
		}
	}
	return missing
}

// namesOf lists the subject alternative names in lower case, sorted.
func namesOf(leaf *x509.Certificate) []string {
	var names []string
	for _, name := range leaf.DNSNames {
		names = append(names, strings.ToLower(name))
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	return names
}

func versionOf(leaf *x509.Certificate, number int) *model.Version {
	sum := sha256.Sum256(leaf.Raw)
	issuer := leaf.Issuer.CommonName
	if issuer == "" {
		issuer = leaf.Issuer.String()
	}
	return &model.Version{
		Number:      number,
		Serial:      fmt.Sprintf("%x", leaf.SerialNumber),
		Fingerprint: hex.EncodeToString(sum[:]),
		NotBefore:   leaf.NotBefore,
		NotAfter:    leaf.NotAfter,
		Issuer:      issuer,
		KeyType:     keyTypeOf(leaf),
		Names:       namesOf(leaf),
	}
}
