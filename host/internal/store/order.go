package store

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

const orderPrefix = ".order-"

var orderRE = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// isOrderID bounds the length itself: an expression that counts to a hundred is
// long to compile, and every process would.
func isOrderID(text string) bool { return len(text) <= 100 && orderRE.MatchString(text) }

// NewKey gives the key of an order. It is durable before the CA sees its
// certificate request, so that no certificate can be issued for a key that a
// crash has lost. The key of an order that has one is loaded, whatever its
// type: the request may have been sent already. orderID is made of letters,
// digits, '_' and '-'.
func (s *Store) NewKey(lineage, orderID string, kt model.KeyType) (crypto.Signer, error) {
	key, err := s.OrderKey(lineage, orderID)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key, data, err := makeKey(kt)
	if err != nil {
		return nil, err
	}
	return key, s.beginOrder(lineage, orderID, file{privkeyFile, 0o600, data})
}

// ReuseKey gives an order the key of the live version, durably, as NewKey does
// with a new one. Without a live version it makes a new one.
func (s *Store) ReuseKey(lineage, orderID string, kt model.KeyType) (crypto.Signer, error) {
	key, err := s.OrderKey(lineage, orderID)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if number, err := s.Live(lineage); err != nil || number == 0 {
		return s.NewKey(lineage, orderID, kt)
	}
	live, err := os.ReadFile(s.LivePaths(lineage).Privkey)
	if err != nil {
		return nil, sdk.Hint(disk.Error("read the key to be used again", s.LivePaths(lineage).Privkey, err),
			"restore it from a backup, or have another one made with --new-key")
	}
	if err := s.beginOrder(lineage, orderID, file{privkeyFile, 0o600, live}); err != nil {
		return nil, err
	}
	return s.OrderKey(lineage, orderID)
}

// beginOrder makes the directory of an order with its first file, durably.
func (s *Store) beginOrder(lineage, orderID string, first file) (err error) {
	if err := checkOrder(lineage, orderID); err != nil {
		return err
	}
	if err := s.change(lineage); err != nil {
		return err
	}
	dir, parent := s.orderDir(lineage, orderID), s.path("archive", lineage)
	defer func() {
		if err != nil {
			// Nothing half-made stays; these succeed only on what is empty.
			_ = os.Remove(dir)
			_ = os.Remove(parent)
		}
	}()
	if _, err := mkdir(parent, 0o755); err != nil {
		return err
	}
	if _, err := mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := s.put(filepath.Join(dir, first.name), first.perm, first.data); err != nil {
		return err
	}
	return disk.Sync(dir, parent, s.path("archive"))
}

// OrderKey gives the key of an order that was begun; the error wraps
// fs.ErrNotExist if there is none, because it never was begun, was dropped, or
// was committed.
func (s *Store) OrderKey(lineage, orderID string) (crypto.Signer, error) {
	if err := checkOrder(lineage, orderID); err != nil {
		return nil, err
	}
	key, err := loadKey(pathsIn(s.orderDir(lineage, orderID)).Privkey)
	if err != nil {
		return nil, fmt.Errorf("order %s of certificate %s: %w", orderID, lineage, err)
	}
	return key, nil
}

// DropOrder takes away the key of an order that will never be finished. One
// that is gone is dropped.
func (s *Store) DropOrder(lineage, orderID string) error {
	if err := checkOrder(lineage, orderID); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	dir := s.orderDir(lineage, orderID)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// One rename first: an order is there with all it has, or not at all.
	tmp := s.path("archive", lineage, tempPrefix(orderPrefix+orderID)+"0")
	if err := os.RemoveAll(tmp); err != nil {
		return disk.Error("remove", tmp, err)
	}
	if err := s.rename(dir, tmp); err != nil {
		return err
	}
	if err := os.RemoveAll(tmp); err != nil {
		return disk.Error("remove", tmp, err)
	}
	_ = os.Remove(s.path("archive", lineage)) // if this was all of the lineage
	return nil
}

// orders lists the IDs of the orders of a lineage that are under way.
func (s *Store) orders(lineage string) ([]string, error) {
	entries, err := readDir(s.path("archive", lineage))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Name(), orderPrefix); ok && isOrderID(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func (s *Store) orderDir(lineage, orderID string) string {
	return s.path("archive", lineage, orderPrefix+orderID)
}

func checkOrder(lineage, orderID string) error {
	if err := checkName("certificate", lineage); err != nil {
		return err
	}
	if !isOrderID(orderID) {
		return fmt.Errorf("the order ID %q is not made of up to 100 letters, digits, '_' and '-'", orderID)
	}
	return nil
}
