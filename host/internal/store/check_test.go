package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/host/internal/model"
)

// What is missing of a finished version is told, is no reason to touch what is
// left, and is mended by the next version.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name    string
		destroy func(s *Store) error
		want    string // empty: only the link is wrong
	}{
		{"key", func(s *Store) error { return os.Remove(filepath.Join(s.versionDir(testName, 2), privkeyFile)) }, "0002/privkey.pem"},
		{"empty", func(s *Store) error { return os.Truncate(filepath.Join(s.versionDir(testName, 2), fullchainFile), 0) }, "fullchain.pem: it is empty"},
		{"version", func(s *Store) error { return os.RemoveAll(s.versionDir(testName, 2)) }, "0002/cert.pem"},
		{"archive", func(s *Store) error { return os.RemoveAll(s.path("archive", testName)) }, "0002/cert.pem"},
		{"link", func(s *Store) error { return os.Remove(s.path("live", testName)) }, ""},
		{"link behind", func(s *Store) error { return s.link(liveTarget(testName, 1), s.path("live", testName)) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			l := commit(t, s, commit(t, s, testLineage(), "o1", 1), "o2", 2)
			if err := s.Check(l); err != nil {
				t.Fatal(err)
			}
			if err := c.destroy(s); err != nil {
				t.Fatal(err)
			}
			if err := s.Check(l); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Check: %v", err)
			}
			if err := s.CheckFiles(l); (err == nil) != (c.want == "") {
				t.Errorf("CheckFiles: %v", err)
			}
			if _, err := s.Repair(testName); err != nil {
				t.Errorf("Repair: %v", err)
			}
			if c.want == "" {
				if err := s.Check(l); err != nil {
					t.Errorf("after Repair: %v", err)
				}
			}
			l = commit(t, s, l, "o3", 3)
			if err := s.Check(l); err != nil || l.Version.Number != 3 {
				t.Errorf("version %d: %v", l.Version.Number, err)
			}
			if live := sound(t, s); live != 3 {
				t.Errorf("live is %d", live)
			}
		})
	}
}

// The key of a request made elsewhere is not missed.
func TestCheckOfARequest(t *testing.T) {
	s := open(t, t.TempDir())
	l := commit(t, s, testLineage(), "o1", 1)
	if err := os.Remove(filepath.Join(s.versionDir(testName, 1), privkeyFile)); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(l); err == nil {
		t.Error("the key is not missed")
	}
	l.Request = model.Request{Name: l.Name, CSR: []byte{1}}
	if err := s.Check(l); err != nil {
		t.Error(err)
	}
}
