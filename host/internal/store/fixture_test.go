package store

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

const testName = "example.com"

var notBefore = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testLineage() model.Lineage {
	return model.Lineage{
		Name: testName,
		Request: model.Request{
			Name: testName, KeyType: model.P256, Server: "https://ca.test/dir", Account: "main",
			Identifiers: []model.Identifier{
				{Type: "dns", Value: "example.com"},
				{Type: "dns", Value: "example.com", Wildcard: true},
				{Type: "ip", Value: "2001:db8::1"},
			},
		},
		Created:  notBefore,
		Failures: &model.Failures{Error: strings.Repeat("long ", 1000)}, // larger than the PEM files
	}
}

// issue makes a certificate of a throw-away CA.
func issue(t *testing.T, key crypto.PublicKey, serial int64, names ...string) model.Issued {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"},
		NotBefore: notBefore, NotAfter: notBefore.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true,
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: notBefore, NotAfter: notBefore.AddDate(0, 3, 0)}
	if len(names) == 0 {
		names = []string{"Example.com", "*.example.com", "2001:db8:0::1"}
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, n)
		}
	}
	sign := func(c *x509.Certificate, pub crypto.PublicKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, ca, pub, caKey)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	i := model.Issued{LeafPEM: sign(leaf, key), ChainPEM: sign(ca, caKey.Public())}
	i.FullchainPEM = append(bytes.Clone(i.LeafPEM), i.ChainPEM...)
	return i
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newKey(t *testing.T, s *Store, order string) crypto.Signer {
	t.Helper()
	key, err := s.NewKey(testName, order, model.P256)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// commit issues and commits one version.
func commit(t *testing.T, s *Store, l model.Lineage, order string, serial int64) model.Lineage {
	t.Helper()
	l, err := s.Commit(l, order, issue(t, newKey(t, s, order).Public(), serial))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// prepareCommit leaves a store where order o2 only wants its Commit, by
// commitPrepared in this or another process. It gives the order's public key.
func prepareCommit(t *testing.T, dir string, before bool) crypto.PublicKey {
	t.Helper()
	s := open(t, dir)
	if before {
		l := commit(t, s, testLineage(), "o1", 1)
		if err := s.SetPointer("nginx", testName, l.Version.Number); err != nil {
			t.Fatal(err)
		}
	}
	key := newKey(t, s, "o2")
	i := issue(t, key.Public(), 2)
	for name, data := range map[string][]byte{"leaf": i.LeafPEM, "chain": i.ChainPEM} {
		if err := os.WriteFile(dir+"."+name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key.Public()
}

func commitPrepared(s *Store) error {
	l, err := s.Lineage(testName)
	if errors.Is(err, fs.ErrNotExist) {
		l, err = testLineage(), nil
	}
	if err != nil {
		return err
	}
	leaf, err := os.ReadFile(s.dir + ".leaf")
	if err != nil {
		return err
	}
	chain, err := os.ReadFile(s.dir + ".chain")
	if err != nil {
		return err
	}
	_, err = s.Commit(l, "o2", model.Issued{LeafPEM: leaf, ChainPEM: chain})
	return err
}

// sound checks what must hold of a lineage in every state between two runs, and
// gives the live version, 0 for none.
func sound(t *testing.T, s *Store) int {
	t.Helper()
	noTemp(t, s.dir)
	l, err := s.Lineage(testName)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := s.Live(testName); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no lineage, but live/ gives %v", err)
		}
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	live, err := s.Live(testName)
	if err != nil || l.Version == nil || l.Version.Number != live {
		t.Fatalf("live is %d (%v), the lineage says %+v", live, err, l.Version)
	}
	i, err := s.Read(testName, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(i.FullchainPEM, i.KeyPEM); err != nil {
		t.Errorf("live pair of version %d: %v", live, err)
	}
	p := s.LivePaths(testName)
	for path, want := range map[string]fs.FileMode{p.Cert: 0o644, p.Chain: 0o644, p.Fullchain: 0o644, p.Privkey: 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s has mode %v, not %v", path, info.Mode(), want)
		}
	}
	return live
}

func noTemp(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (strings.Contains(d.Name(), ".tmp-") || d.Name() == staged || strings.HasSuffix(d.Name(), deletedSuffix)) {
			t.Errorf("left over: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
