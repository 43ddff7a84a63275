package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// What a tree looks like, path by path, with all that must be restored.
type tree map[string]string

// look reads a tree; with times, modification times of files count too.
func look(t *testing.T, dir string, times bool) tree {
	t.Helper()
	out := tree{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		uid, gid := owner(info)
		text := fmt.Sprintf("%s %d:%d", info.Mode(), uid, gid)
		switch {
		case info.Mode().Type() == fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " -> " + link
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			attrs, err := readXAttrs(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %q %v", data, attrs)
			if times {
				text += " " + info.ModTime().UTC().Format(time.RFC3339Nano)
			}
		}
		rel, err := filepath.Rel(dir, path)
		out[rel] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sow makes the tree that most tests start from: two files with attributes of
// their own, a symlink to one of them, and room for a new one.
func sow(t *testing.T, dir string) {
	t.Helper()
	sub := filepath.Join(dir, "sub")
	must(t, os.MkdirAll(sub, 0o755))
	put(t, filepath.Join(dir, "public.pem"), "old public\n", 0o644)
	put(t, filepath.Join(sub, "private.pem"), "old private\n", 0o640)
	must(t, os.Symlink("sub/private.pem", filepath.Join(dir, "link.pem")))
	past := time.Date(2020, 2, 29, 1, 2, 3, 456789000, time.UTC)
	for _, p := range []string{filepath.Join(dir, "public.pem"), filepath.Join(sub, "private.pem")} {
		if os.Geteuid() == 0 {
			must(t, os.Chown(p, 4321, 8765))
		}
		// Where the file system has no user attributes there is nothing to keep.
		if err := unix.Setxattr(p, "user.certwright", []byte("kept"), 0); err != nil && !errors.Is(err, syscall.ENOTSUP) {
			t.Fatal(err)
		}
		must(t, os.Chtimes(p, past, past))
	}
}

func put(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
	must(t, os.Chmod(path, mode))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	must(t, err)
	return s
}

func begin(t *testing.T, s *Store, label string) *Draft {
	t.Helper()
	d, err := s.Begin(t.Context(), label)
	must(t, err)
	return d
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// save writes one file in a checkpoint of its own.
func save(t *testing.T, s *Store, label, title, path, text string) Checkpoint {
	t.Helper()
	d := begin(t, s, label)
	must(t, d.WriteFile(t.Context(), path, []byte(text), Attributes{}))
	c, err := d.Finalise(t.Context(), title)
	must(t, err)
	return c
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

func pathExists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}
