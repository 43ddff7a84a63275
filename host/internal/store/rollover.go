package store

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/host/internal/model"
)

// A change of an account's key (RFC 8555 section 7.3.5) is under way as long as
// key.new.pem stands beside key.pem: the CA knows one of the two, and a run that
// was killed does not know which. The file itself is the journal of the change.

// CheckAccountName says what is wrong with the name of an account.
func CheckAccountName(name string) error { return checkName("account", name) }

const nextKey = "key.new.pem"

// NextAccountKey gives the key that an account is being changed to. The error
// wraps fs.ErrNotExist if no change is under way.
func (s *Store) NextAccountKey(name string) (crypto.Signer, error) {
	if err := checkName("account", name); err != nil {
		return nil, err
	}
	return loadKey(s.path("accounts", name, nextKey))
}

// NewAccountKey begins a change: the new key is made, and is durable before the
// CA hears of it. While one is under way it is an error to begin another, which
// could overwrite the only key that the CA knows.
func (s *Store) NewAccountKey(name string) (crypto.Signer, error) {
	if _, err := s.readAccount(name); err != nil {
		return nil, err
	}
	if err := s.accountDir(name); err != nil {
		return nil, err
	}
	path := s.path("accounts", name, nextKey)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, disk.Error("look for", path, err)
		}
		return nil, fmt.Errorf("change the key of account %s: an earlier change is not finished, its key is %s: %w", name, path, fs.ErrExist)
	}
	return s.createKey(path, model.P256)
}

// SwitchAccountKey ends a change that the CA has made: by one rename the new
// key takes the place of the old one.
func (s *Store) SwitchAccountKey(name string) error {
	if err := s.accountDir(name); err != nil {
		return err
	}
	return s.rename(s.path("accounts", name, nextKey), s.path("accounts", name, "key.pem"))
}

// DropAccountKey ends a change that the CA has not made.
func (s *Store) DropAccountKey(name string) error {
	if err := s.accountDir(name); err != nil {
		return err
	}
	return s.remove(s.path("accounts", name, nextKey))
}

// DeleteAccount takes away an account with its keys, at once by one rename: a
// key that outlived its account would be taken for that of a new one. The error
// wraps fs.ErrNotExist if there is nothing.
func (s *Store) DeleteAccount(name string) error {
	if err := s.accountDir(name); err != nil {
		return err
	}
	dir := s.path("accounts", name)
	entries, err := readDir(dir)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		_ = os.Remove(dir) // made just now
		return fmt.Errorf("delete account %s: there is none: %w", name, fs.ErrNotExist)
	}
	if err := s.rename(dir, s.path("accounts", tempPrefix(name)+"0")); err != nil {
		return err
	}
	if err := sweep(s.path("accounts"), name); err != nil {
		return err
	}
	return disk.Sync(s.path("accounts"))
}
