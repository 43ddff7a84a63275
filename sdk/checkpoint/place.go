package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// modeBits are those that are kept and set.
const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// attributes are what place gives to a file.
type attributes struct {
	mode fs.FileMode
	// uid and gid: -1 leaves it.
	uid, gid int
	// mustUID, mustGID: what is not permitted is an error.
	mustUID, mustGID bool
	// mtime: zero leaves it.
	mtime time.Time
	// xattrs: nil leaves them.
	xattrs map[string][]byte
}

// attributesFor completes what the caller wants by what is there.
func attributesFor(path string, want Attributes) (attributes, error) {
	a := attributes{
		mode: want.Mode & fs.ModePerm, uid: -1, gid: -1, mustUID: want.UID != nil, mustGID: want.GID != nil,
	}
	info, err := os.Lstat(path)
	switch {
	case err == nil:
		a.uid, a.gid = owner(info)
		if a.mode == 0 {
			a.mode = info.Mode() & modeBits
		}
		if a.xattrs, err = readXAttrs(path); err != nil {
			return a, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return a, err
	case a.mode == 0:
		a.mode = 0o600
	}
	if want.UID != nil {
		a.uid = *want.UID
	}
	if want.GID != nil {
		a.gid = *want.GID
	}
	return a, nil
}

// tempName is beside the file, so that the rename is atomic, and follows from
// the manifest, so that an undo finds what a killed process left there.
func tempName(path, token string, n int) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".certwright-%s-%d", token, n))
}

// Unfinished gives a path such as a file has until it is complete and takes its
// place: the same directory, and a name that begins with a dot. A server that reads
// all of a directory must pass over it.
func Unfinished(path string) string { return tempName(path, "X", 0) }

// place puts a file into its place by a rename. Before it has its owner and
// mode, only the owner of this process can read it.
func (s *Store) place(from io.Reader, temp, path string, a attributes) (err error) {
	dir := filepath.Dir(path)
	if err := s.dropTemp(temp); err != nil {
		return err
	}
	s.step("place: create %s", temp)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(temp)
		}
	}()
	s.step("place: fill %s", temp)
	if _, err := io.Copy(f, from); err != nil {
		return err
	}
	s.step("place: give %s its owner and mode", temp)
	if err := apply(f, a); err != nil {
		return err
	}
	s.step("place: sync %s", temp)
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	s.step("place: rename to %s", path)
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	s.step("place: sync the directory of %s", path)
	return syncDir(dir)
}

func apply(f *os.File, a attributes) error {
	mode, err := chown(f, a)
	if err != nil {
		return fmt.Errorf("give it the owner %d:%d: %w", a.uid, a.gid, err)
	}
	if a.xattrs != nil {
		writeXAttrs(f, a.xattrs)
	}
	// Last: a change of owner clears set-id bits, an ACL changes the mode.
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode()&modeBits != mode&modeBits { // not every sandbox lets a mode be changed
		if err := f.Chmod(mode); err != nil {
			return err
		}
	}
	if a.mtime.IsZero() {
		return nil
	}
	return os.Chtimes(f.Name(), time.Time{}, a.mtime)
}

// chown sets group and owner, as far as is permitted or as it must, and gives
// the mode that the file may have then: another group than it was must not get
// what that one had.
func chown(f *os.File, a attributes) (fs.FileMode, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	mode := a.mode
	uid, gid := owner(info)
	// The group first: who gives a file away cannot change it any more.
	if a.gid != -1 && a.gid != gid {
		if err := f.Chown(-1, a.gid); err != nil {
			if a.mustGID || !errors.Is(err, syscall.EPERM) {
				return 0, err
			}
			mode = mode&^(0o070|fs.ModeSetgid) | mode&0o007<<3
		}
	}
	if a.uid != -1 && a.uid != uid {
		if err := f.Chown(a.uid, -1); err != nil {
			if a.mustUID || !errors.Is(err, syscall.EPERM) {
				return 0, err
			}
			mode &^= fs.ModeSetuid
		}
	}
	return mode, nil
}

func owner(info fs.FileInfo) (uid, gid int) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1
	}
	return int(st.Uid), int(st.Gid)
}

// dropTemp removes what a killed process left.
func (s *Store) dropTemp(temp string) error {
	if _, err := os.Lstat(temp); err != nil {
		return nil //nolint:nilerr // nothing there, or no directory to be in
	}
	s.step("remove %s", temp)
	if err := os.Remove(temp); err != nil {
		return err
	}
	return syncDir(filepath.Dir(temp))
}

// syncDir makes creations, renames and removals in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil // writable but not readable: it cannot be synced
	}
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // this file system syncs its directories itself
	}
	return errors.Join(err, d.Close())
}
