package pluginhost

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	// maxSocketBase leaves room for what go-plugin and the plugin append: a path
	// of a socket has 104 bytes on some systems, 108 on Linux (unix(7)).
	maxSocketBase = 45
	socketPrefix  = "certwright-"
	// unlockedAge is how old a directory must be for the lack of a lock to mean
	// that its host is dead, and not that it is about to take it.
	unlockedAge = time.Minute
)

// socketDir is a private directory with a short path. Its lock is held for as
// long as its host lives, so that others can tell what a killed host has left.
type socketDir struct {
	path string
	lock *os.File
}

func socketBase() string {
	if base := os.TempDir(); len(base) <= maxSocketBase {
		return base
	}
	return "/tmp"
}

func makeSocketDir(base string) (*socketDir, error) {
	fail := func(err error) (*socketDir, error) {
		return nil, fmt.Errorf("make the socket directory of a plugin: %w; set TMPDIR to a short path that can be written to", err)
	}
	path, err := os.MkdirTemp(base, socketPrefix)
	if err != nil {
		return fail(err)
	}
	d := &socketDir{path: path}
	if d.lock, err = os.Open(path); err == nil {
		err = syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		_ = d.remove()
		return fail(err)
	}
	return d, nil
}

func (d *socketDir) remove() error {
	err := os.RemoveAll(d.path)
	if d.lock != nil {
		_ = d.lock.Close()
	}
	if err != nil {
		return fmt.Errorf("remove the socket directory of a plugin: %w", err)
	}
	return nil
}

// sweepSocketDirs removes what hosts that were killed have left. What cannot be
// removed stays, and harms nobody.
func sweepSocketDirs(base string, now time.Time) {
	left, _ := filepath.Glob(filepath.Join(base, socketPrefix+"*"))
	for _, path := range left {
		// MkdirTemp appends a number; this is no place to guess.
		if _, err := strconv.ParseUint(filepath.Base(path)[len(socketPrefix):], 10, 64); err != nil {
			continue
		}
		fi, err := os.Lstat(path)
		if err != nil || !fi.IsDir() || now.Sub(fi.ModTime()) < unlockedAge {
			continue
		}
		if uid, _ := ids(fi); uid != uint32(os.Geteuid()) {
			continue
		}
		sweep(path)
	}
}

func sweep(path string) {
	dir, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer dir.Close()
	if syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		_ = os.RemoveAll(path)
	}
}
