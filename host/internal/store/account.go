package store

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/certwright/certwright/host/internal/model"
)

type accountFile struct {
	V int `json:"v"`
	model.Account
}

// Account gives an account with its key. The error wraps fs.ErrNotExist if it
// was never registered, even if its key exists already.
func (s *Store) Account(name string) (model.Account, crypto.Signer, error) {
	a, err := s.readAccount(name)
	if err != nil {
		return model.Account{}, nil, err
	}
	key, err := loadKey(s.path("accounts", name, "key.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		// The account is there: without its key it is broken, not absent.
		return model.Account{}, nil, fmt.Errorf("account %s has lost its key %s; restore the file from a backup, or delete the directory to register anew",
			name, s.path("accounts", name, "key.pem"))
	}
	return a, key, err
}

func (s *Store) readAccount(name string) (model.Account, error) {
	if err := checkName("account", name); err != nil {
		return model.Account{}, err
	}
	var f accountFile
	path := s.path("accounts", name, "account.json")
	if err := readJSON(path, &f, &f.V); err != nil {
		return model.Account{}, fmt.Errorf("account %s: %w", name, err)
	}
	if f.Name != name {
		return model.Account{}, brokenFile(path, fmt.Errorf("it is of account %q", f.Name))
	}
	return f.Account, nil
}

// Accounts gives all registered accounts, sorted by name. One that cannot be
// read is named in the error and does not hide the others.
func (s *Store) Accounts() ([]model.Account, error) {
	entries, err := readDir(s.path("accounts"))
	if err != nil {
		return nil, err
	}
	var accounts []model.Account
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || !nameRE.MatchString(e.Name()) {
			continue
		}
		a, err := s.readAccount(e.Name())
		switch {
		case errors.Is(err, fs.ErrNotExist): // only a key yet
		case err != nil:
			errs = append(errs, err)
		default:
			accounts = append(accounts, a)
		}
	}
	return accounts, errors.Join(errs...)
}

// SaveAccount stores an account. Its key is durable before the account is: an
// account without its key could never be used again.
func (s *Store) SaveAccount(a model.Account, key crypto.Signer) error {
	data, err := encodeKey(key)
	if err != nil {
		return fmt.Errorf("save account %s: %w", a.Name, err)
	}
	if err := s.accountDir(a.Name); err != nil {
		return err
	}
	if err := s.write(s.path("accounts", a.Name, "key.pem"), data); err != nil {
		return err
	}
	return s.writeJSON(s.path("accounts", a.Name, "account.json"), accountFile{V: formatVersion, Account: a})
}

// PendingAccountKey gives the key of an account that is about to be
// registered. It is made and durable before the CA sees it, and the same one is
// given after a crash, so that the CA knows the account again (RFC 8555
// section 7.3).
func (s *Store) PendingAccountKey(name string) (crypto.Signer, error) {
	if err := s.accountDir(name); err != nil {
		return nil, err
	}
	path := s.path("accounts", name, "key.pem")
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key, err = s.createKey(path, model.P256)
	if err != nil {
		_ = os.Remove(s.path("accounts", name)) // only if it is empty: nothing half-made stays
		return nil, err
	}
	return key, nil
}

// accountDir makes the directory and clears it of what a crash left.
func (s *Store) accountDir(name string) error {
	if err := checkName("account", name); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	dir := s.path("accounts", name)
	if err := makeDir(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(sweep(dir, ""), sweep(s.path("accounts"), name))
}
