package checkpoint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// changes makes one of everything that is not a plain write.
func changes(t *testing.T, d *Draft, dir string) {
	t.Helper()
	ctx := t.Context()
	must(t, d.Symlink(ctx, "public.pem", filepath.Join(dir, "fresh-link")))
	must(t, d.Symlink(ctx, "public.pem", filepath.Join(dir, "link.pem")))
	must(t, d.Remove(ctx, filepath.Join(dir, "public.pem")))
	must(t, d.Remove(ctx, filepath.Join(dir, "never-there")))
	must(t, d.Mkdir(ctx, filepath.Join(dir, "new"), 0o755))
	must(t, d.Mkdir(ctx, filepath.Join(dir, "new"), 0o700))
	must(t, d.WriteFile(ctx, filepath.Join(dir, "new", "file"), []byte("x"), Attributes{}))
}

func TestChangesAreUndone(t *testing.T) {
	dir := t.TempDir()
	sow(t, dir)
	before := look(t, dir, true)
	s := open(t, t.TempDir())
	d := begin(t, s, "a")
	changes(t, d, dir)
	after := look(t, dir, true)
	for path, want := range map[string]string{"fresh-link": "-> public.pem", "link.pem": "-> public.pem", "new": "drwxr-xr-x"} {
		if !strings.Contains(after[path], want) {
			t.Errorf("%s is %q, want %q", path, after[path], want)
		}
	}
	if _, there := after["public.pem"]; there {
		t.Error("public.pem is still there")
	}
	must(t, d.Discard(t.Context()))
	equal(t, before, look(t, dir, true))

	d = begin(t, s, "a")
	changes(t, d, dir)
	_, err := d.Finalise(t.Context(), "changes")
	must(t, err)
	_, err = s.Rollback(t.Context(), 1, Scope{})
	must(t, err)
	equal(t, before, look(t, dir, true))
}

// What others have put into a new directory stays, and the directory with it.
func TestDirectoryThatIsUsed(t *testing.T) {
	dir := t.TempDir()
	d := begin(t, open(t, t.TempDir()), "a")
	made := filepath.Join(dir, "new")
	must(t, d.Mkdir(t.Context(), made, 0o755))
	put(t, filepath.Join(made, "theirs"), "x", 0o644)
	must(t, d.Discard(t.Context()))
	equal(t, "x", read(t, filepath.Join(made, "theirs")))

	file := filepath.Join(dir, "file")
	put(t, file, "x", 0o644)
	if err := begin(t, open(t, t.TempDir()), "a").Mkdir(t.Context(), file, 0o755); err == nil {
		t.Error("a file was taken for a directory")
	}
}

// Commands are run the latest first, before files are put back; one that fails
// is told and stops nothing.
func TestUndoCommands(t *testing.T) {
	dir := t.TempDir()
	log, conf := filepath.Join(dir, "log"), filepath.Join(dir, "conf")
	put(t, conf, "before", 0o644)
	s := open(t, t.TempDir())
	d := begin(t, s, "a")
	ctx := t.Context()
	script := `echo "$1 $(cat "$2") $(env | grep -c .)" >>"$3"`
	must(t, d.Undo(ctx, "/bin/sh", "-c", script, "sh", "first", conf, log))
	must(t, d.Undo(ctx, "/bin/sh", "-c", "echo broken >&2; exit 3"))
	must(t, d.Undo(ctx, "/bin/sh", "-c", script, "sh", "last", conf, log))
	must(t, d.WriteFile(ctx, conf, []byte("after"), Attributes{}))
	c, err := d.Finalise(ctx, "commands")
	must(t, err)
	equal(t, []string{conf}, c.Files)

	reverted, err := s.Rollback(ctx, 1, Scope{})
	if err == nil || !strings.Contains(err.Error(), "undo by /bin/sh -c echo broken >&2; exit 3: exit status 3: broken") {
		t.Errorf("error %v", err)
	}
	equal(t, 1, len(reverted))
	equal(t, "before", read(t, conf))
	lines := strings.Split(strings.TrimSpace(read(t, log)), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "last after ") || !strings.HasPrefix(lines[1], "first after ") {
		t.Errorf("log %q", lines)
	}
	list, err := s.List()
	must(t, err)
	equal(t, 0, len(list))
	must(t, os.Remove(log))
	must(t, s.Recover(ctx)) // nothing is tried again
	if pathExists(t, log) {
		t.Error("the commands were run again")
	}
}
