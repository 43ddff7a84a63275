package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRollbackNewestFirst(t *testing.T) {
	dir := t.TempDir()
	sow(t, dir)
	s := open(t, t.TempDir())
	states := []tree{look(t, dir, true)}
	for _, text := range []string{"one", "two", "three"} {
		d := begin(t, s, "a")
		for _, name := range []string{"public.pem", "link.pem", "new-" + text, "fresh"} {
			must(t, d.WriteFile(t.Context(), filepath.Join(dir, name), []byte(text), Attributes{}))
		}
		_, err := d.Finalise(t.Context(), text)
		must(t, err)
		states = append(states, look(t, dir, true))
	}
	none, err := s.Rollback(t.Context(), 0, Scope{})
	must(t, err)
	equal(t, 0, len(none))
	equal(t, states[3], look(t, dir, true))

	reverted, err := s.Rollback(t.Context(), 2, Scope{})
	must(t, err)
	equal(t, 2, len(reverted))
	equal(t, "three", reverted[0].Title)
	equal(t, "two", reverted[1].Title)
	equal(t, states[1], look(t, dir, true))

	// More than there are is fine; a negative number is not.
	reverted, err = s.Rollback(t.Context(), 5, Scope{})
	must(t, err)
	equal(t, 1, len(reverted))
	equal(t, states[0], look(t, dir, true))
	if _, err := s.Rollback(t.Context(), -1, Scope{}); err == nil {
		t.Error("a negative number was accepted")
	}
	list, err := s.List()
	must(t, err)
	equal(t, 0, len(list))
}

func TestRollbackByLabel(t *testing.T) {
	dir := t.TempDir()
	s := open(t, t.TempDir())
	a, b, shared := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "shared")
	save(t, s, "a", "a1", a, "a1")
	save(t, s, "a", "a2", shared, "a2")
	save(t, s, "b", "b1", b, "b1")

	reverted, err := s.Rollback(t.Context(), 1, Scope{Label: "a"})
	must(t, err)
	equal(t, "a2", reverted[0].Title)
	equal(t, false, pathExists(t, shared))
	equal(t, "b1", read(t, b))

	// What b wrote over it must not be lost.
	save(t, s, "b", "b2", a, "b2")
	_, err = s.Rollback(t.Context(), 1, Scope{Label: "a"})
	if err == nil || !strings.Contains(err.Error(), "roll that back first") {
		t.Errorf("error %v", err)
	}
	equal(t, "b2", read(t, a))
	_, err = s.Rollback(t.Context(), 9, Scope{})
	must(t, err)
	equal(t, 0, len(look(t, dir, true)))
}

func TestRollbackRefusesWhatADraftHolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	s := open(t, t.TempDir())
	save(t, s, "a", "a", path, "a")
	d := begin(t, s, "b")
	must(t, d.WriteFile(t.Context(), path, []byte("b"), Attributes{}))
	if _, err := s.Rollback(t.Context(), 1, Scope{}); !errors.Is(err, ErrHeld) {
		t.Errorf("error %v", err)
	}
	equal(t, "b", read(t, path))
	must(t, d.Discard(t.Context()))
	_, err := s.Rollback(t.Context(), 1, Scope{})
	must(t, err)
	equal(t, false, pathExists(t, path))
}

// The same operation again has the same outcome, also from a new process.
func TestRollbackOncePerOperation(t *testing.T) {
	path, state := filepath.Join(t.TempDir(), "f"), t.TempDir()
	s := open(t, state)
	for _, text := range []string{"one", "two", "three"} {
		save(t, s, "a", text, path, text)
	}
	for range 2 {
		_, err := open(t, state).Rollback(t.Context(), 1, Scope{Label: "a", Operation: "op"})
		must(t, err)
		equal(t, "two", read(t, path))
	}
	// A new attempt of the operation that got as far as a checkpoint.
	save(t, s, "a", "again", path, "again")
	_, err := s.Rollback(t.Context(), 1, Scope{Label: "a", Operation: "op"})
	must(t, err)
	equal(t, "two", read(t, path))
	_, err = s.Rollback(t.Context(), 1, Scope{Label: "a", Operation: "another"})
	must(t, err)
	equal(t, "one", read(t, path))
}

// One path that cannot be put back stops neither the others nor a second try.
func TestRollbackGoesOnAfterAFailure(t *testing.T) {
	dir := t.TempDir()
	sow(t, dir)
	before := look(t, dir, true)
	s := open(t, t.TempDir())
	paths := []string{filepath.Join(dir, "public.pem"), filepath.Join(dir, "fresh"), filepath.Join(dir, "link.pem")}
	save(t, s, "", "older", filepath.Join(dir, "old"), "old")
	older := look(t, dir, true)
	d := begin(t, s, "")
	for _, p := range paths {
		must(t, d.WriteFile(t.Context(), p, []byte("new"), Attributes{}))
	}
	_, err := d.Finalise(t.Context(), "newer")
	must(t, err)
	must(t, os.Remove(paths[1]))
	must(t, os.Mkdir(paths[1], 0o755)) // cannot be removed as a file

	reverted, err := s.Rollback(t.Context(), 2, Scope{})
	if err == nil || !strings.Contains(err.Error(), "fresh") {
		t.Fatalf("error %v", err)
	}
	equal(t, 0, len(reverted))
	now := look(t, dir, true)
	equal(t, older["public.pem"], now["public.pem"])
	equal(t, older["sub/private.pem"], now["sub/private.pem"])
	equal(t, older["old"], now["old"])
	list, err := s.List()
	must(t, err)
	equal(t, 2, len(list))
	must(t, s.Recover(t.Context())) // nothing is unfinished: the caller knows

	must(t, os.Remove(paths[1]))
	_, err = s.Rollback(t.Context(), 2, Scope{})
	must(t, err)
	equal(t, before, look(t, dir, true))
}

func TestRecoverLeavesTheLivingAlone(t *testing.T) {
	path, state := filepath.Join(t.TempDir(), "f"), t.TempDir()
	put(t, path, "old", 0o600)
	d := begin(t, open(t, state), "")
	must(t, d.WriteFile(t.Context(), path, []byte("new"), Attributes{}))
	must(t, open(t, state).Recover(t.Context()))
	equal(t, "new", read(t, path))
	_, err := d.Finalise(t.Context(), "t")
	must(t, err)
}

// A crash of the machine may leave any part of the manifest's last line, which
// is about something that was not done yet.
func TestRecoverWithATornManifest(t *testing.T) {
	dir := t.TempDir()
	sow(t, dir)
	before := look(t, dir, true)
	state := t.TempDir()
	d := begin(t, open(t, state), "")
	must(t, d.WriteFile(t.Context(), filepath.Join(dir, "public.pem"), []byte("new"), Attributes{}))
	half := look(t, dir, true)
	must(t, d.Touch(t.Context(), filepath.Join(dir, "fresh")))
	d.close()
	manifest := filepath.Join(d.dir, manifestName)
	whole := read(t, manifest)
	announced := strings.LastIndex(strings.TrimSuffix(whole, "\n"), "\n") + 1
	saved := filepath.Join(state, "saved")
	must(t, os.CopyFS(saved, os.DirFS(d.dir)))
	for n := announced; n <= len(whole); n++ {
		must(t, os.RemoveAll(d.dir))
		must(t, os.CopyFS(d.dir, os.DirFS(saved)))
		must(t, os.Truncate(manifest, int64(n)))
		put(t, filepath.Join(dir, "public.pem"), "new", 0o640)
		must(t, open(t, state).Recover(t.Context()))
		equal(t, before, look(t, dir, true))
		equal(t, false, pathExists(t, d.dir))
	}
	if before["public.pem"] == half["public.pem"] {
		t.Error("nothing had been written")
	}
}

func TestNewerAndDamagedManifestsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"header":{"v":2,"token":"x"}}` + "\n":          "update the plugin",
		`{"header":{"v":1}}` + "\n{nonsense}\n{}\n":      "line 2 is damaged",
		`{"header":{"v":1}}` + "\n" + `{"entry":` + "\n": "line 2 is damaged",
	} {
		state := t.TempDir()
		s := open(t, state)
		dir := filepath.Join(s.openDir(), "x")
		must(t, os.Mkdir(dir, 0o700))
		put(t, filepath.Join(dir, manifestName), text, 0o600)
		err := s.Recover(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		equal(t, true, pathExists(t, dir))
	}
}
