package store

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/host/internal/disk"
)

// requestFile stands in the place of the key where the certificate request was
// made elsewhere.
const requestFile = "csr.pem"

// KeepRequest keeps the certificate request of an order whose key is not here,
// durably, as NewKey does with a key.
func (s *Store) KeepRequest(lineage, orderID string, csr []byte) error {
	return s.beginOrder(lineage, orderID, file{
		requestFile, 0o644, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}),
	})
}

// HasOrder says whether there is anything of an order: a key or a request.
func (s *Store) HasOrder(lineage, orderID string) bool {
	if checkOrder(lineage, orderID) != nil {
		return false
	}
	_, err := publicKey(s.orderDir(lineage, orderID))
	return err == nil
}

// ofRequest says whether a directory belongs to a request made elsewhere.
func ofRequest(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, requestFile))
	return err == nil
}

// publicKey is what the certificate of a directory has to be for: of the key
// that is there, or of the request.
func publicKey(dir string) (crypto.PublicKey, error) {
	path := pathsIn(dir).Privkey
	key, err := loadKey(path)
	if err == nil {
		return key.Public(), nil
	}
	if !errors.Is(err, fs.ErrNotExist) || !ofRequest(dir) {
		return nil, err
	}
	path = filepath.Join(dir, requestFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, disk.Error("read", path, err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, brokenFile(path, errors.New("it is not PEM"))
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, brokenFile(path, fmt.Errorf("it is no certificate request: %w", err))
	}
	return request.PublicKey, nil
}
