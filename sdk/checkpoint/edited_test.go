package checkpoint

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestRollbackKeepsWhatOthersEdited: what an operator has changed since is put
// back with the rest, and a copy of it stays.
func TestRollbackKeepsWhatOthersEdited(t *testing.T) {
	dir := t.TempDir()
	s := open(t, t.TempDir())
	paths := map[string]string{}
	for _, name := range []string{"edited", "made", "untouched", "gone", "removed and made again", "as before"} {
		paths[name] = filepath.Join(dir, name)
	}
	for _, name := range []string{"edited", "untouched", "gone", "removed and made again", "as before"} {
		put(t, paths[name], "before\n", 0o640)
	}
	d := begin(t, s, "a")
	for _, name := range []string{"edited", "made", "untouched", "gone", "as before"} {
		must(t, d.WriteFile(t.Context(), paths[name], []byte("ours\n"), Attributes{}))
	}
	must(t, d.Remove(t.Context(), paths["removed and made again"]))
	_, err := d.Finalise(t.Context(), "first")
	must(t, err)

	put(t, paths["edited"], "the operator's\n", 0o640)
	put(t, paths["made"], "his too\n", 0o600)
	put(t, paths["removed and made again"], "back\n", 0o644)
	put(t, paths["as before"], "before\n", 0o640)
	must(t, os.Remove(paths["gone"]))

	reverted, err := s.Rollback(t.Context(), 1, Scope{})
	must(t, err)
	var kept []string
	for _, path := range reverted[0].Edited {
		info, err := os.Stat(path)
		must(t, err)
		equal(t, os.FileMode(0o600), info.Mode())
		kept = append(kept, read(t, path))
	}
	slices.Sort(kept)
	equal(t, []string{"back\n", "his too\n", "the operator's\n"}, kept)
	for _, name := range []string{"edited", "untouched", "gone", "removed and made again", "as before"} {
		equal(t, "before\n", read(t, paths[name]))
	}
	equal(t, false, pathExists(t, paths["made"]))
}

// TestRollbackOfSeveralKeepsOne: between two checkpoints of one file only the
// edit itself is kept, not what the newer checkpoint wrote.
func TestRollbackOfSeveralKeepsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	s := open(t, t.TempDir())
	save(t, s, "a", "one", path, "one")
	put(t, path, "edited between", 0o600)
	save(t, s, "a", "two", path, "two")
	reverted, err := s.Rollback(t.Context(), 2, Scope{})
	must(t, err)
	equal(t, 0, len(reverted[0].Edited))
	equal(t, 1, len(reverted[1].Edited))
	equal(t, "edited between", read(t, reverted[1].Edited[0]))
	equal(t, false, pathExists(t, path))
}

// TestEditedIsBounded: they may hold keys, so they do not pile up for ever.
func TestEditedIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	s := open(t, t.TempDir())
	var last string
	for range maxEdited + 3 {
		save(t, s, "a", "one", path, "one")
		put(t, path, "edited", 0o600)
		reverted, err := s.Rollback(t.Context(), 1, Scope{})
		must(t, err)
		last = reverted[0].Edited[0]
	}
	names, err := os.ReadDir(filepath.Dir(last))
	must(t, err)
	equal(t, maxEdited, len(names))
	equal(t, true, pathExists(t, last))
}
