package host

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/run"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// RevokeRequest says what is to be revoked, by whom, and why.
type RevokeRequest struct {
	// CertName is a lineage, CertPath a PEM file; one of them is given.
	CertName string
	CertPath string
	// KeyPath is the certificate's key; empty: an account revokes.
	KeyPath string
	// Account is the one that revokes; empty: the lineage's.
	Account AccountRequest
	// Reason by its name or number in RFC 5280; empty: unspecified.
	Reason string
	// Delete deletes the lineage afterwards; nil: the user is asked, and with
	// -n it is kept.
	Delete *bool
}

// reasons of RFC 5280 section 5.3.1, by number. There is no 7.
var reasons = []string{
	"unspecified", "keycompromise", "cacompromise", "affiliationchanged", "superseded", "cessationofoperation",
	"certificatehold", "", "removefromcrl", "privilegewithdrawn", "aacompromise",
}

func parseReason(text string) (int, error) {
	number := slices.Index(reasons, strings.ToLower(text))
	if n, err := strconv.Atoi(text); err == nil {
		number = n
	}
	switch {
	case text == "":
		return 0, nil
	case number < 0 || number >= len(reasons) || reasons[number] == "":
		return 0, fmt.Errorf("--reason %q is not one of unspecified, keycompromise, affiliationchanged, superseded, cessationofoperation", text)
	}
	return number, nil
}

// condemned is the certificate that is to be revoked.
type condemned struct {
	leaf *x509.Certificate
	// lineage that it is of; nil: none that is known here.
	lineage *model.Lineage
	version int
}

// Revoke revokes a certificate, and then deletes its lineage if that is wanted.
func Revoke(ctx context.Context, b Base, r RevokeRequest) (err error) {
	reason, err := parseReason(r.Reason)
	if err != nil {
		return UsageError(err)
	}
	e, closeEngine, err := b.engine(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeEngine(ctx)) }()
	c, err := find(e.Store, r)
	if err != nil {
		return err
	}
	revocation := run.Revocation{Leaf: c.leaf.Raw, Reason: reason}
	if revocation.Key, err = keyOf(c.leaf, r.KeyPath); err != nil {
		return err
	}
	if revocation.Request, err = b.authority(e.Store, r, c); err != nil {
		return err
	}
	if err := e.Revoke(ctx, revocation); err != nil {
		return err
	}
	b.Terminal.Revoked(revoked(c, revocation.Request.Server, reason))
	if c.lineage == nil {
		return nil
	}
	if err := e.NoteRevoked(ctx, c.lineage.Name, c.version, reasons[reason]); err != nil {
		return fmt.Errorf("note that %s is revoked: %w", c.lineage.Name, err)
	}
	return b.afterRevoke(ctx, e, c, r.Delete)
}

func revoked(c condemned, server string, reason int) report.Revoked {
	out := report.Revoked{
		Version: c.version, Serial: hex.EncodeToString(c.leaf.SerialNumber.Bytes()), Server: server, Reason: reasons[reason],
		Names: slices.Clone(c.leaf.DNSNames),
	}
	for _, ip := range c.leaf.IPAddresses {
		out.Names = append(out.Names, ip.String())
	}
	if c.lineage != nil {
		out.Lineage = c.lineage.Name
	}
	return out
}

// find reads the certificate, and finds the lineage that it is of.
func find(s *store.Store, r RevokeRequest) (condemned, error) {
	switch {
	case r.CertName == "" && r.CertPath == "":
		return condemned{}, UsageError(sdk.Hint(errors.New("no certificate is named"), "name one with --cert-name, see certwright certificates, or a file with --cert-path"))
	case r.CertName != "" && r.CertPath != "":
		return condemned{}, UsageError(errors.New("--cert-name and --cert-path are two ways to name a certificate: give one of them"))
	case r.CertName != "":
		return findLineage(s, r.CertName)
	}
	data, err := os.ReadFile(r.CertPath)
	if err != nil {
		return condemned{}, UsageError(fmt.Errorf("--cert-path: %w", err))
	}
	leaf, err := leafOf(data)
	if err != nil {
		return condemned{}, UsageError(fmt.Errorf("--cert-path %s: %w", r.CertPath, err))
	}
	return lineageOf(s, leaf)
}

func findLineage(s *store.Store, name string) (condemned, error) {
	l, err := s.Lineage(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && l.Version == nil {
		_, err := mustHave(nil, name)
		return condemned{}, err
	}
	if err != nil {
		return condemned{}, err
	}
	issued, err := s.Read(name, l.Version.Number)
	if err != nil {
		return condemned{}, err
	}
	leaf, err := leafOf(issued.LeafPEM)
	if err != nil {
		return condemned{}, fmt.Errorf("version %d of %s: %w", l.Version.Number, name, err)
	}
	return condemned{leaf, &l, l.Version.Number}, nil
}

func leafOf(data []byte) (*x509.Certificate, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("it holds no PEM certificate")
}

// keyOf reads the certificate's key; an empty path gives none.
func keyOf(leaf *x509.Certificate, path string) (crypto.Signer, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no key: an account revokes
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, UsageError(fmt.Errorf("--key-path: %w", err))
	}
	key, err := store.ParseKey(data)
	if err != nil {
		return nil, UsageError(fmt.Errorf("--key-path %s: %w", path, err))
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return nil, UsageError(fmt.Errorf("--key-path %s: it is not the key of the certificate", path))
	}
	return key, nil
}

// lineageOf finds the lineage of a certificate: most often it is the newest
// version of one, which the lineage's own file tells.
func lineageOf(s *store.Store, leaf *x509.Certificate) (condemned, error) {
	lineages, err := s.Lineages()
	if err != nil {
		return condemned{}, err
	}
	sum := sha256.Sum256(leaf.Raw)
	for _, l := range lineages {
		if l.Version != nil && l.Version.Fingerprint == hex.EncodeToString(sum[:]) {
			return condemned{leaf, &l, l.Version.Number}, nil
		}
	}
	for _, l := range lineages {
		versions, err := s.Versions(l.Name)
		if err != nil {
			return condemned{}, err
		}
		for _, n := range versions {
			issued, err := s.Read(l.Name, n)
			if err != nil {
				return condemned{}, err
			}
			if other, err := leafOf(issued.LeafPEM); err == nil && bytes.Equal(other.Raw, leaf.Raw) {
				return condemned{leaf, &l, n}, nil
			}
		}
	}
	return condemned{leaf: leaf}, nil
}

// authority finds the CA, and the account that revokes unless the certificate's
// own key does.
func (b Base) authority(s *store.Store, r RevokeRequest, c condemned) (model.Request, error) {
	if c.lineage != nil && r.Account.Server != "" && r.Account.Server != c.lineage.Request.Server {
		return model.Request{}, UsageError(fmt.Errorf("%s was obtained from %s, not from %s", c.lineage.Name, c.lineage.Request.Server, r.Account.Server))
	}
	if c.lineage != nil && r.Account.Name == "" {
		return c.lineage.Request, nil
	}
	if r.KeyPath != "" {
		server := r.Account.Server
		if server == "" {
			server = b.Config.Server
		}
		return model.Request{Server: server}, nil
	}
	a, err := b.pick(s, r.Account)
	if err == nil && c.lineage != nil && a.Server != c.lineage.Request.Server {
		err = UsageError(fmt.Errorf("%s was obtained from %s, and the account %s is one of %s", c.lineage.Name, c.lineage.Request.Server, a.Name, a.Server))
	}
	return model.Request{Server: a.Server, Account: a.Name, CABundle: a.CABundle}, err
}

// afterRevoke deletes the lineage, if that is wanted. An older version that is
// revoked is no reason to ask.
func (b Base) afterRevoke(ctx context.Context, e *run.Engine, c condemned, wanted *bool) error {
	l := *c.lineage
	newest := l.Version != nil && l.Version.Number == c.version
	yes := wanted != nil && *wanted
	if wanted == nil && newest && b.Terminal.Interactive && b.Terminal.TTY {
		b.warnOfUse(e.Store, l)
		var err error
		if yes, err = b.Terminal.Confirm(ctx, deleteQuestion(l.Name)); err != nil {
			return err
		}
	} else if yes {
		b.warnOfUse(e.Store, l)
	}
	if yes {
		return b.delete(ctx, e, l.Name)
	}
	if newest {
		b.Terminal.Tell(l.Name, "it is kept, revoked: the next renew replaces it (certwright renew --cert-name %s), or delete it with certwright delete --cert-name %s", l.Name, l.Name)
	}
	return nil
}
