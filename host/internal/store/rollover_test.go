package store

import (
	"crypto"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/host/internal/model"
)

const testAccount = "main"

// registered makes an account and gives its key.
func registered(t *testing.T, s *Store) crypto.Signer {
	t.Helper()
	key, err := s.PendingAccountKey(testAccount)
	if err != nil {
		t.Fatal(err)
	}
	a := model.Account{Name: testAccount, Server: "https://ca.test/dir", URL: "https://ca.test/acct/1", Created: notBefore}
	if err := s.SaveAccount(a, key); err != nil {
		t.Fatal(err)
	}
	return key
}

func accountKey(t *testing.T, s *Store) crypto.Signer {
	t.Helper()
	_, key, err := s.Account(testAccount)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAccountKeyIsChanged(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.NewAccountKey(testAccount); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a new key for no account: %v", err)
	}
	old := registered(t, s)
	if _, err := s.NextAccountKey(testAccount); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing is under way: %v", err)
	}
	next, err := s.NewAccountKey(testAccount)
	if err != nil || samePublic(next.Public(), old.Public()) {
		t.Fatalf("no new key: %v", err)
	}
	if info, err := os.Stat(s.path("accounts", testAccount, "key.new.pem")); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := s.NewAccountKey(testAccount); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the key of a change under way was replaced: %v", err)
	}
	if found, err := s.NextAccountKey(testAccount); err != nil || !samePublic(found.Public(), next.Public()) {
		t.Errorf("another key is found: %v", err)
	}
	if !samePublic(accountKey(t, s).Public(), old.Public()) {
		t.Error("the key is in use before the switch")
	}
	if err := s.SwitchAccountKey(testAccount); err != nil {
		t.Fatal(err)
	}
	if !samePublic(accountKey(t, s).Public(), next.Public()) {
		t.Error("the old key is in use after the switch")
	}
	if err := s.SwitchAccountKey(testAccount); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("switched twice: %v", err)
	}
	if _, err := s.NewAccountKey(testAccount); err != nil {
		t.Fatal(err)
	}
	if err := s.DropAccountKey(testAccount); err != nil {
		t.Fatal(err)
	}
	if _, err := s.NextAccountKey(testAccount); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not dropped: %v", err)
	}
}

// A change that was killed anywhere leaves the key in use whole, and the next
// one, if it was made, beside it.
func TestAccountKeyChangeKilled(t *testing.T) {
	for _, action := range []string{"rollover", "give-up"} {
		t.Run(action, func(t *testing.T) {
			old := map[string]crypto.Signer{}
			prepare := func(t *testing.T, dir string) { old[dir] = registered(t, open(t, dir)) }
			everyStep(t, action, 2, prepare, func(t *testing.T, dir string) {
				s := open(t, dir)
				current := accountKey(t, s)
				switched := !samePublic(current.Public(), old[dir].Public())
				next, err := s.NextAccountKey(testAccount)
				if switched && (action == "give-up" || !errors.Is(err, fs.ErrNotExist)) {
					t.Errorf("the key was changed, and the next one is %v, %v", next, err)
				}
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
				if err == nil {
					err = s.DropAccountKey(testAccount)
				} else {
					err = s.accountDir(testAccount)
				}
				if err != nil {
					t.Error(err)
				}
				noTemp(t, dir)
			})
		})
	}
}

func TestDeleteAccount(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.DeleteAccount(testAccount); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("deleted nothing: %v", err)
	}
	old := registered(t, s)
	if _, err := s.NewAccountKey(testAccount); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAccount(testAccount); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(s.path("accounts", "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if left, err := filepath.Glob(s.path("accounts", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if samePublic(registered(t, s).Public(), old.Public()) {
		t.Error("the key outlived its account")
	}
}

// A deletion that was killed is there whole or gone whole: a key without its
// account would be used for the next one.
func TestDeleteAccountKilled(t *testing.T) {
	old := map[string]crypto.Signer{}
	prepare := func(t *testing.T, dir string) { old[dir] = registered(t, open(t, dir)) }
	everyStep(t, "unregister", 0, prepare, func(t *testing.T, dir string) {
		s := open(t, dir)
		if all, err := s.Accounts(); err != nil || len(all) > 0 {
			t.Errorf("%v, %v", all, err)
		}
		if samePublic(registered(t, s).Public(), old[dir].Public()) {
			t.Error("the key outlived its account")
		}
		noTemp(t, dir)
		if left, err := filepath.Glob(s.path("accounts", ".*")); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

func TestNextAccountKeyNames(t *testing.T) {
	s := open(t, t.TempDir())
	for _, name := range []string{"", "..", "a/b"} {
		for what, f := range map[string]func() error{
			"next":   func() error { _, err := s.NextAccountKey(name); return err },
			"new":    func() error { _, err := s.NewAccountKey(name); return err },
			"switch": func() error { return s.SwitchAccountKey(name) },
			"drop":   func() error { return s.DropAccountKey(name) },
			"delete": func() error { return s.DeleteAccount(name) },
		} {
			if err := f(); err == nil || !strings.Contains(err.Error(), "account name") {
				t.Errorf("%s of %q: %v", what, name, err)
			}
		}
	}
}
