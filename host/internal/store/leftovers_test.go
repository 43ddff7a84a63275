package store

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Only lineages with something to mend are named, each once.
func TestLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := open(t, dir)
	if names, err := s.Leftovers(); err != nil || len(names) > 0 {
		t.Errorf("of nothing: %q, %v", names, err)
	}
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{
		"healthy.json", ".a.example.json.tmp-17", ".a.example.json.tmp-18", ".b.deleted.tmp-1", "c.deleted", "c.json",
		".hidden", ".x.json.tmp-", "notes.txt", ".json.tmp-4",
	} {
		if err := os.WriteFile(filepath.Join(dir, "lineages", file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names, err := s.Leftovers()
	if want := []string{"a.example", "b", "c"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v, want %q", names, err, want)
	}
	for _, name := range names {
		if _, err := s.Repair(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if names, err := s.Leftovers(); err != nil || len(names) > 0 {
		t.Errorf("after the repair: %q, %v", names, err)
	}
}
