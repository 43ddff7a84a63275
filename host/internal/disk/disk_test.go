package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSync(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	if err := Sync(a); err != nil {
		t.Error(err)
	}
	if err := Sync(a, b, a); err != nil {
		t.Error(err)
	}
	missing := filepath.Join(b, "missing")
	for _, dirs := range [][]string{{missing}, {missing, a, b}, {a, missing, b}, {a, b, missing}} {
		err := Sync(dirs...)
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
			t.Errorf("%v: %v", dirs, err)
		}
	}
}

func TestFlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	a, b := open(), open()
	if err := Flock(a, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	if err := Flock(b, unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("a second lock: %v", err)
	}
	if err := Flock(a, unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := Flock(b, unix.LOCK_SH|unix.LOCK_NB); err != nil {
		t.Errorf("after the first was let go: %v", err)
	}
}

func TestError(t *testing.T) {
	for _, c := range []struct {
		errno error
		hint  string
		code  sdk.Code
	}{
		{unix.ENOSPC, "free some space", sdk.Internal},
		{unix.EROFS, "another place", sdk.PermissionDenied},
		{unix.ENOTDIR, "move away", sdk.Internal},
		{unix.EIO, "", sdk.Internal},
	} {
		err := Error("write", "/x/y", &fs.PathError{Op: "write", Path: "/x/.y.tmp-1", Err: c.errno})
		p := sdk.ProblemOf(err)
		if err.Error() != "write /x/y: "+c.errno.Error() || !strings.Contains(p.Hint, c.hint) || (p.Hint == "") != (c.hint == "") {
			t.Errorf("%v, hint %q", err, p.Hint)
		}
		if p.Code != c.code || !errors.Is(err, c.errno) {
			t.Errorf("%v: code %s", err, p.Code)
		}
	}
}
