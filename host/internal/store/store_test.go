package store

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

func gone(t *testing.T, s *Store) {
	t.Helper()
	noTemp(t, s.dir)
	for _, pattern := range []string{"lineages/*", "archive/*", "live/*", "deployed/*"} {
		if left, err := filepath.Glob(filepath.Join(s.dir, pattern)); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}

func TestOpenCreatesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir)
	if l, err := s.Lineages(); err != nil || len(l) > 0 {
		t.Errorf("%v, %v", l, err)
	}
	if _, err := s.Lineage(testName); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, _, err := s.Account("main"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was created: %v", err)
	}
	newKey(t, s, "o1")
	for _, d := range []string{"", "archive", "live", "accounts", "deployed", "lineages", "locks"} {
		if info, err := os.Stat(filepath.Join(dir, d)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", d, info, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	newer := t.TempDir()
	for path, text := range map[string]string{file: "", filepath.Join(newer, "format.json"): `{"v":2}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ dir, want string }{
		{file, "not a directory"},
		{filepath.Join(file, "below"), "not a directory"},
		{newer, "written by a newer certwright"},
	} {
		_, err := Open(c.dir)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.dir) || sdk.ProblemOf(err).Hint == "" {
			t.Errorf("%s: %v", c.dir, err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	l := commit(t, open(t, dir), testLineage(), "o1", 1)
	s, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	if live := sound(t, s); live != 1 {
		t.Errorf("live is %d", live)
	}
	for name, f := range map[string]func() error{
		"save":    func() error { return s.SaveLineage(l) },
		"delete":  func() error { return s.Delete(testName) },
		"pointer": func() error { return s.SetPointer("nginx", testName, 1) },
		"account": func() error { _, err := s.PendingAccountKey("x"); return err },
		"key":     func() error { _, err := s.NewKey(testName, "o2", ""); return err },
		"lock":    func() error { _, err := s.Lock(t.Context(), "x", true); return err },
		"drop":    func() error { return s.DropOrder(testName, "o1") },
		"repair":  func() error { _, err := s.Repair(testName); return err },
	} {
		if err := f(); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	s := open(t, t.TempDir())
	for name, good := range map[string]bool{
		"example.com": true, "a_b": true, "2001-db8--1": true, "-x": true, strings.Repeat("a", maxName): true,
		"": false, ".": false, "..": false, ".hidden": false, "a/b": false, "../x": false, "A": false,
		"a\x00": false, "*.x": false, "ä": false, "a\n": false, strings.Repeat("a", maxName+1): false,
	} {
		l := testLineage()
		l.Name = name
		if err := s.SaveLineage(l); (err == nil) != good {
			t.Errorf("lineage %q: %v", name, err)
		}
		if _, err := s.PendingAccountKey(name); (err == nil) != good {
			t.Errorf("account %q: %v", name, err)
		}
		if _, err := s.Pointer(name, "x"); (err == nil) != good {
			t.Errorf("instance %q: %v", name, err)
		}
	}
	for _, id := range []string{"", ".", "../x", "a.b", strings.Repeat("a", 101)} {
		if _, err := s.NewKey(testName, id, ""); err == nil {
			t.Errorf("order %q was taken", id)
		}
	}
}

func TestAccounts(t *testing.T) {
	s := open(t, t.TempDir())
	pending, err := s.PendingAccountKey("main")
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.PendingAccountKey("main")
	if err != nil || !samePublic(pending.Public(), again.Public()) {
		t.Fatalf("another key the second time: %v", err)
	}
	if _, _, err := s.Account("main"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("registered too early: %v", err)
	}
	want := model.Account{Name: "main", Server: "https://ca.test/dir", URL: "https://ca.test/acct/1", Contact: []string{"mailto:x@example.com"}, Created: notBefore}
	if err := s.SaveAccount(want, pending); err != nil {
		t.Fatal(err)
	}
	got, key, err := s.Account("main")
	if err != nil || !samePublic(key.Public(), pending.Public()) {
		t.Fatalf("key differs: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(s.path("accounts/main/key.pem")); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.MkdirAll(s.path("accounts/broken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path("accounts/broken/account.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := s.Accounts()
	if len(all) != 1 || err == nil || !strings.Contains(err.Error(), "accounts/broken/account.json") {
		t.Errorf("%v, %v", all, err)
	}
	if err := os.Remove(s.path("accounts/main/key.pem")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Account("main"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an account without its key: %v", err)
	}
}

func TestLineages(t *testing.T) {
	s := open(t, t.TempDir())
	for _, name := range []string{"b", "a-b", "a", "a.json"} {
		l := testLineage()
		l.Name = name
		if err := s.SaveLineage(l); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"torn.json": `{"v":1,"name":"to`, "newer.json": `{"v":9,"name":"newer"}`, "old.json": `{}`, "other.json": `{"v":1,"name":"else"}`,
		".a.json.tmp-1": "x", "README": "x",
	} {
		if err := os.WriteFile(s.path("lineages", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Lineages()
	var names []string
	for _, l := range all {
		names = append(names, l.Name)
	}
	if diff := cmp.Diff([]string{"a", "a-b", "a.json", "b"}, names); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"torn.json", "newer.json", "old.json", "other.json"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in the error: %v", want, err)
		}
	}
	if !errors.Is(err, ErrNewer) {
		t.Errorf("no ErrNewer in %v", err)
	}
	found, err := s.Names()
	if diff := cmp.Diff([]string{"a", "a-b", "a.json", "b", "newer", "old", "other", "torn"}, found); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestKeyTypes(t *testing.T) {
	s := open(t, t.TempDir())
	for _, kt := range model.KeyTypes() {
		key, err := s.NewKey(testName, string(kt), kt)
		if err != nil {
			t.Fatal(err)
		}
		l := testLineage()
		l, err = s.Commit(l, string(kt), issue(t, key.Public(), 1))
		if err != nil || l.Version.KeyType != kt {
			t.Errorf("%s: %+v, %v", kt, l.Version, err)
		}
	}
	if _, err := s.NewKey("other", "o", "dsa"); err == nil || !strings.Contains(err.Error(), `"dsa"`) {
		t.Error(err)
	}
	if _, err := os.Stat(s.path("archive/other")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left after a failure: %v", err)
	}
}

func TestParseKey(t *testing.T) {
	ec, err := generateKey(model.P384)
	if err != nil {
		t.Fatal(err)
	}
	r, err := generateKey(model.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := encodeKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for name, c := range map[string]struct {
		data []byte
		want any
	}{
		"pkcs8":  {pkcs8, ec.Public()},
		"sec1":   {append(block("EC PARAMETERS", []byte{5, 0}), block("EC PRIVATE KEY", sec1)...), ec.Public()},
		"pkcs1":  {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(r.(*rsa.PrivateKey))), r.Public()},
		"none":   {[]byte("x"), nil},
		"broken": {block("PRIVATE KEY", []byte{1}), nil},
	} {
		key, err := parseKey(c.data)
		if (err == nil) != (c.want != nil) || err == nil && !samePublic(key.Public(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPointers(t *testing.T) {
	s := open(t, t.TempDir())
	commit(t, s, commit(t, s, testLineage(), "o1", 1), "o2", 2)
	for _, c := range []struct {
		set, want int
		fails     bool
	}{{0, 0, false}, {1, 1, false}, {2, 2, false}, {3, 2, true}, {1, 1, false}, {0, 0, false}, {0, 0, false}} {
		if err := s.SetPointer("nginx", testName, c.set); (err != nil) != c.fails {
			t.Errorf("set %d: %v", c.set, err)
		}
		got, err := s.Pointer("nginx", testName)
		if err != nil || got != c.want {
			t.Errorf("after %d: %d, %v", c.set, got, err)
		}
		if c.want > 0 {
			p := s.DeployedPaths("nginx", testName)
			if _, err := tls.LoadX509KeyPair(p.Fullchain, p.Privkey); err != nil || !filepath.IsAbs(p.Cert) {
				t.Error(err)
			}
		}
	}
	if err := os.Symlink("/etc", s.path("deployed/nginx", testName)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pointer("nginx", testName); err == nil || !strings.Contains(err.Error(), "/etc") {
		t.Errorf("a link elsewhere: %v", err)
	}
}
