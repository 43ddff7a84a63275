package checkpoint

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestWriteFileKeepsWhatIsNotAskedFor(t *testing.T) {
	dir := t.TempDir()
	sow(t, dir)
	before := look(t, dir, false)
	d := begin(t, open(t, t.TempDir()), "")
	must(t, d.WriteFile(t.Context(), filepath.Join(dir, "public.pem"), []byte("new\n"), Attributes{}))
	want := look(t, dir, false)
	want["public.pem"] = strings.Replace(before["public.pem"], `"old public\n"`, `"new\n"`, 1)
	equal(t, want, look(t, dir, false))
	if before["public.pem"] == want["public.pem"] {
		t.Error("nothing was written")
	}
	must(t, d.Discard(t.Context()))
}

func TestWriteFileMode(t *testing.T) {
	dir := t.TempDir()
	d := begin(t, open(t, t.TempDir()), "")
	for _, tt := range []struct {
		name  string
		there fs.FileMode // 0: a new file
		want  fs.FileMode
		get   fs.FileMode
	}{
		{"new", 0, 0, 0o600},
		{"new with mode", 0, 0o644, 0o644},
		{"there", 0o640, 0, 0o640},
		{"there with mode", 0o644, 0o600, 0o600},
		{"wider than the umask", 0, 0o666, 0o666},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.name)
			if tt.there != 0 {
				put(t, path, "old", tt.there)
			}
			must(t, d.WriteFile(t.Context(), path, []byte("new"), Attributes{Mode: tt.want}))
			info, err := os.Stat(path)
			must(t, err)
			equal(t, tt.get, info.Mode())
		})
	}
	must(t, d.Discard(t.Context()))
}

func TestWriteFileOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new")
	d := begin(t, open(t, t.TempDir()), "")
	uid, gid := 4321, 8765
	err := d.WriteFile(t.Context(), path, []byte("x"), Attributes{UID: &uid, GID: &gid})
	if os.Geteuid() != 0 {
		// What is asked for and not permitted is an error, and leaves nothing.
		if !errors.Is(err, syscall.EPERM) || pathExists(t, path) {
			t.Fatalf("error %v", err)
		}
		return
	}
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	u, g := owner(info)
	equal(t, [2]int{uid, gid}, [2]int{u, g})
}

// At no instant is a file that is to be private readable by others: neither the
// temporary one nor the one in its place, though a readable one was there.
func TestWriteFileIsNeverReadableByOthers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	s := open(t, t.TempDir())
	steps := 0
	s.Step = func(what string) {
		steps++
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			info, err := e.Info()
			must(t, err)
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %s has mode %s", what, e.Name(), info.Mode())
			}
		}
	}
	d := begin(t, s, "")
	must(t, d.WriteFile(t.Context(), path, []byte("secret"), Attributes{Mode: 0o600}))
	if steps < 5 {
		t.Errorf("only %d steps were seen", steps)
	}
}

func TestWriteFileFollowsSymlinks(t *testing.T) {
	dir := t.TempDir()
	sow(t, dir)
	must(t, os.Symlink("nowhere.pem", filepath.Join(dir, "dangling.pem")))
	must(t, os.Symlink("loop.pem", filepath.Join(dir, "loop.pem")))
	before := look(t, dir, true)
	d := begin(t, open(t, t.TempDir()), "")
	must(t, d.WriteFile(t.Context(), filepath.Join(dir, "link.pem"), []byte("new"), Attributes{}))
	must(t, d.WriteFile(t.Context(), filepath.Join(dir, "dangling.pem"), []byte("born"), Attributes{}))
	equal(t, "new", read(t, filepath.Join(dir, "sub/private.pem")))
	equal(t, "born", read(t, filepath.Join(dir, "nowhere.pem")))
	equal(t, before["link.pem"], look(t, dir, true)["link.pem"])
	err := d.WriteFile(t.Context(), filepath.Join(dir, "loop.pem"), nil, Attributes{})
	if err == nil || !strings.Contains(err.Error(), "too many symlinks") {
		t.Errorf("loop: %v", err)
	}
	must(t, d.Discard(t.Context()))
	equal(t, before, look(t, dir, true))
}

// An installer may change by other means what it has registered.
func TestDiscardUndoesEveryKindOfChange(t *testing.T) {
	dir := t.TempDir()
	sow(t, dir)
	before := look(t, dir, true)
	d := begin(t, open(t, t.TempDir()), "")
	public, link, fresh := filepath.Join(dir, "public.pem"), filepath.Join(dir, "link.pem"), filepath.Join(dir, "fresh")
	for _, p := range []string{public, link, fresh} {
		must(t, d.Touch(t.Context(), p))
	}
	must(t, os.Remove(public))
	must(t, os.Remove(link))
	put(t, link, "a file now", 0o600)
	must(t, os.Symlink("public.pem", fresh))
	must(t, d.Discard(t.Context()))
	equal(t, before, look(t, dir, true))
	if err := d.Touch(t.Context(), public); !errors.Is(err, ErrClosed) {
		t.Errorf("touch after the end: %v", err)
	}
	if err := d.Discard(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("discard twice: %v", err)
	}
}

func TestOnlyTheFirstCopyCounts(t *testing.T) {
	dir := t.TempDir()
	sow(t, dir)
	before := look(t, dir, true)
	path := filepath.Join(dir, "public.pem")
	// The same file by another way is the same file.
	way := filepath.Join(t.TempDir(), "way")
	must(t, os.Symlink(dir, way))
	d := begin(t, open(t, t.TempDir()), "")
	for _, text := range []string{"one", "two", "three"} {
		must(t, d.WriteFile(t.Context(), path, []byte(text), Attributes{}))
		must(t, d.Touch(t.Context(), filepath.Join(way, "public.pem")))
	}
	equal(t, 1, len(d.entries))
	must(t, d.Discard(t.Context()))
	equal(t, before, look(t, dir, true))
}

// A file that was only registered is not rewritten.
func TestDiscardLeavesAloneWhatIsUnchanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "text", 0o644)
	was, err := os.Stat(path)
	must(t, err)
	d := begin(t, open(t, t.TempDir()), "")
	must(t, d.Touch(t.Context(), path))
	must(t, d.Discard(t.Context()))
	is, err := os.Stat(path)
	must(t, err)
	if !os.SameFile(was, is) {
		t.Error("the file was replaced")
	}
}

func TestRefusedPaths(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	d := begin(t, open(t, t.TempDir()), "")
	for path, want := range map[string]string{
		"relative":                   "not absolute",
		filepath.Join(dir, "d"):      "it is a directory",
		filepath.Join(dir, "pipe"):   "neither a file nor a symlink",
		filepath.Join(dir, "x", "y"): "no such file or directory",
		filepath.Join(dir, "\xff"):   "not valid UTF-8",
	} {
		for name, err := range map[string]error{
			"touch": d.Touch(t.Context(), path),
			"write": d.WriteFile(t.Context(), path, nil, Attributes{}),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %q: %v, want %q", name, path, err, want)
			}
		}
	}
	c, err := d.Finalise(t.Context(), "nothing")
	must(t, err)
	equal(t, Checkpoint{}, c)
}

// A failed write leaves the file and nothing beside it.
func TestFailedWrite(t *testing.T) {
	dir := t.TempDir()
	sow(t, dir)
	before := look(t, dir, true)
	s := open(t, t.TempDir())
	d := begin(t, s, "")
	path := filepath.Join(dir, "public.pem")
	s.Step = func(what string) {
		if strings.HasPrefix(what, "place: rename") {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o755)) // a rename onto it fails
		}
	}
	if err := d.WriteFile(t.Context(), path, []byte("new"), Attributes{}); err == nil {
		t.Fatal("a file was renamed onto a directory")
	}
	s.Step = nil
	must(t, os.Remove(path))
	must(t, d.Discard(t.Context()))
	equal(t, before, look(t, dir, true))
}

func TestWriteFileCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	d := begin(t, open(t, t.TempDir()), "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.WriteFile(ctx, path, nil, Attributes{}); !errors.Is(err, context.Canceled) || pathExists(t, path) {
		t.Errorf("error %v", err)
	}
}

func TestDraftsHoldTheirPaths(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	path, other := filepath.Join(dir, "f"), filepath.Join(dir, "g")
	a := begin(t, open(t, state), "a")
	b := begin(t, open(t, state), "b")
	must(t, a.WriteFile(t.Context(), path, []byte("a"), Attributes{}))
	if err := b.WriteFile(t.Context(), path, []byte("b"), Attributes{}); !errors.Is(err, ErrHeld) {
		t.Errorf("error %v", err)
	}
	must(t, b.WriteFile(t.Context(), other, []byte("b"), Attributes{}))
	_, err := a.Finalise(t.Context(), "a")
	must(t, err)
	must(t, b.WriteFile(t.Context(), path, []byte("b"), Attributes{}))
	must(t, b.Discard(t.Context()))
	equal(t, "a", read(t, path))
	equal(t, false, pathExists(t, other))
}

func TestTemporaryIsNeverFinalised(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	s := open(t, t.TempDir())
	d, err := s.BeginTemporary(t.Context(), "")
	must(t, err)
	must(t, d.WriteFile(t.Context(), path, nil, Attributes{}))
	if _, err := d.Finalise(t.Context(), "title"); err == nil {
		t.Error("it was finalised")
	}
	must(t, d.Discard(t.Context()))
	equal(t, false, pathExists(t, path))
}

func TestManyDraftsAtOnce(t *testing.T) {
	dir, s := t.TempDir(), open(t, t.TempDir())
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		wg.Go(func() {
			d, err := s.Begin(t.Context(), name)
			if err == nil {
				err = d.WriteFile(t.Context(), filepath.Join(dir, name), []byte(name), Attributes{})
			}
			if err == nil {
				_, err = d.Finalise(t.Context(), name)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	list, err := s.List()
	must(t, err)
	equal(t, 6, len(list))
	for i := range list[1:] {
		if list[i].ID <= list[i+1].ID {
			t.Errorf("%s is not newer than %s", list[i].ID, list[i+1].ID)
		}
	}
}

func TestCopiesArePrivate(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	sow(t, dir)
	must(t, os.Mkdir(filepath.Join(state, "checkpoints"), 0o755))
	s := open(t, state)
	save(t, s, "", "t", filepath.Join(dir, "public.pem"), "new")
	d := begin(t, s, "")
	must(t, d.Touch(t.Context(), filepath.Join(dir, "sub/private.pem")))
	must(t, filepath.WalkDir(filepath.Join(state, "checkpoints"), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	}))
	must(t, d.Discard(t.Context()))
}

func TestFinaliseIsOneCheckpointInRisingOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	s := open(t, t.TempDir())
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s.Now = func() time.Time { return now }
	var ids []string
	for _, jump := range []time.Duration{time.Hour, 0, -48 * time.Hour, 24 * time.Hour} {
		now = now.Add(jump)
		ids = append(ids, save(t, s, "a", "t", path, jump.String()).ID)
	}
	for i := range ids[1:] {
		if ids[i+1] <= ids[i] {
			t.Errorf("%s came after %s", ids[i+1], ids[i])
		}
	}
	list, err := s.List()
	must(t, err)
	equal(t, 4, len(list))
	real, err := filepath.EvalSymlinks(path)
	must(t, err)
	equal(t, Checkpoint{ID: ids[3], Label: "a", Title: "t", Created: now, Files: []string{real}}, list[0])
}

func TestOldCheckpointsAreRemovedPerLabel(t *testing.T) {
	dir := t.TempDir()
	s := open(t, t.TempDir())
	first := save(t, s, "quiet", "t", filepath.Join(dir, "q"), "q")
	for range DefaultKeep + 3 {
		save(t, s, "busy", "t", filepath.Join(dir, "b"), "b")
	}
	list, err := s.List()
	must(t, err)
	equal(t, DefaultKeep+1, len(list))
	equal(t, first.ID, list[len(list)-1].ID)
}
