package host

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// here is a base with a state directory of its own; what it says is in the
// buffers.
func here(t *testing.T) (b Base, s *store.Store, out, story *bytes.Buffer) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	out, story = new(bytes.Buffer), new(bytes.Buffer)
	b = Base{
		Config:   &config.Config{StateDir: dir, Server: "https://ca.test/dir"},
		Terminal: &report.Terminal{Out: out, Err: story},
	}
	return b, s, out, story
}

func keep(t *testing.T, s *store.Store, name, server string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SaveAccount(model.Account{Name: name, Server: server, URL: server + "/" + name}, key); err != nil {
		t.Fatal(err)
	}
}

func TestPickAccount(t *testing.T) {
	b, s, _, _ := here(t)
	const one, two = "https://one.test/dir", "https://two.test/dir"
	pick := func(r AccountRequest, want, wantErr string) {
		t.Helper()
		a, err := b.pick(s, r)
		switch {
		case wantErr == "" && (err != nil || a.Name != want):
			t.Errorf("%+v: %s, %v; want %s", r, a.Name, err, want)
		case wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr) || ExitCode(err) != report.Usage):
			t.Errorf("%+v: %v; want a mistake of usage: %s", r, err, wantErr)
		}
	}
	pick(AccountRequest{}, "", "there is no account")
	keep(t, s, "a", one)
	pick(AccountRequest{}, "a", "")
	pick(AccountRequest{Server: two}, "", "there is no account at "+two)
	keep(t, s, "b", two)
	keep(t, s, "c", two)
	pick(AccountRequest{}, "", "several accounts: a, b, c")
	pick(AccountRequest{Server: one}, "a", "")
	pick(AccountRequest{Server: two}, "", "several accounts: b, c")
	pick(AccountRequest{Name: "c"}, "c", "")
	pick(AccountRequest{Name: "c", Server: one}, "", "there is no account c at "+one)
	pick(AccountRequest{Name: "d"}, "", "there is no account d")
	// One that is broken is named, and hides no other.
	if err := os.WriteFile(filepath.Join(s.Dir(), "accounts", "b", "account.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	pick(AccountRequest{Name: "a"}, "a", "")
	pick(AccountRequest{Name: "b"}, "", "accounts/b/account.json: the file is broken")
}

func TestNewAccount(t *testing.T) {
	b, _, _, _ := here(t)
	b.Config.Accounts = []config.Account{{Name: "other", Server: "https://other.test/dir", Email: "o@example.com"}, {Name: "bare"}}
	for _, tt := range []struct {
		r                  AccountRequest
		name, server, fail string
	}{
		{AccountRequest{}, "ca.test-dir", "https://ca.test/dir", ""},
		{AccountRequest{Server: "https://x.test:14000/d"}, "x.test-14000-d", "https://x.test:14000/d", ""},
		{AccountRequest{Name: "mine"}, "mine", "https://ca.test/dir", ""},
		{AccountRequest{Name: "other"}, "other", "https://other.test/dir", ""},
		{AccountRequest{Name: "bare"}, "bare", "https://ca.test/dir", ""},
		{AccountRequest{Name: "other", Server: "https://x.test/d"}, "", "", "account other belongs to https://other.test/dir"},
		{AccountRequest{Name: "Other"}, "", "", `the account name "Other" is not made of`},
	} {
		name, server, err := b.newAccount(tt.r)
		if name != tt.name || server != tt.server || (err != nil) != (tt.fail != "") {
			t.Errorf("%+v: %s at %s, %v", tt.r, name, server, err)
		}
		if err != nil && (!strings.Contains(err.Error(), tt.fail) || ExitCode(err) != report.Usage) {
			t.Errorf("%+v: %v", tt.r, err)
		}
	}
}

func TestContacts(t *testing.T) {
	b, _, _, _ := here(t)
	b.Config.Accounts = []config.Account{{Name: "other", Email: "o@example.com"}}
	check := func(r AccountRequest, account string, want *[]string) {
		t.Helper()
		if diff := cmp.Diff(want, b.contacts(r, model.Account{Name: account})); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", r, diff)
		}
	}
	check(AccountRequest{}, "main", nil)
	check(AccountRequest{}, "other", &[]string{"mailto:o@example.com"})
	check(AccountRequest{Email: "m@example.com"}, "other", &[]string{"mailto:m@example.com"})
	check(AccountRequest{NoEmail: true}, "other", &[]string{})
	b.Config.Email = "g@example.com"
	check(AccountRequest{}, "main", &[]string{"mailto:g@example.com"})
	check(AccountRequest{}, "other", &[]string{"mailto:o@example.com"})
}

// What others hold is waited for.
func TestLocksAreWaitedFor(t *testing.T) {
	b, s, _, _ := here(t)
	keep(t, s, "a", "https://ca.test/dir")
	if err := s.SaveLineage(model.Lineage{Name: "a.test"}); err != nil {
		t.Fatal(err)
	}
	for lock, do := range map[string]func(context.Context) error{
		store.LineageLock("a.test"): func(ctx context.Context) error { return Delete(ctx, b, "a.test") },
		store.AccountLock("a"):      func(ctx context.Context) error { return AccountRollover(ctx, b, AccountRequest{}) },
	} {
		// As an order holds an account.
		unlock, err := s.Lock(t.Context(), lock, strings.HasPrefix(lock, "lineage"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err = do(ctx)
		cancel()
		unlock()
		var held *store.HeldError
		if !errors.As(err, &held) || held.PID != os.Getpid() {
			t.Errorf("%s: %v", lock, err)
		}
	}
	if _, err := s.Lineage("a.test"); err != nil {
		t.Errorf("deleted under the lock of another: %v", err)
	}
	if err := Delete(t.Context(), b, "a.test"); err != nil {
		t.Errorf("the lock is free: %v", err)
	}
}
