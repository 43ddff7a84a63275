package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/sdk"
)

// write replaces a file that is ours alone to read; it is durable when write
// returns.
func (s *Store) write(path string, data []byte) error {
	if err := s.put(path, 0o600, data); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// put replaces a file by one rename. Its contents are durable, its name is once
// the directory was synced.
func (s *Store) put(path string, perm fs.FileMode, data []byte) error {
	dir, base := filepath.Split(path)
	f, err := os.CreateTemp(dir, tempPrefix(base)+"*")
	if err != nil {
		return diskError("write", path, err)
	}
	if err = fill(f, perm, data); err == nil {
		s.step("temporary " + base)
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(diskError("write", path, err), removeIfThere(f.Name()))
	}
	s.step("file " + base)
	return nil
}

func fill(f *os.File, perm fs.FileMode, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Chmod(perm) // whatever the umask is
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// link makes path a symlink to target, or changes it, by one rename.
func (s *Store) link(target, path string) error {
	dir, base := filepath.Split(path)
	var tmp string
	for {
		tmp = filepath.Join(dir, tempPrefix(base)+strconv.Itoa(int(rand.Uint32())))
		err := os.Symlink(target, tmp)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return diskError("link", path, err)
		}
	}
	s.step("temporary link " + base)
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(diskError("link", path, err), removeIfThere(tmp))
	}
	s.step("link " + base)
	return syncDir(dir)
}

// rename moves a directory within its parent.
func (s *Store) rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return diskError("rename "+from+" to", to, err)
	}
	s.step("rename " + filepath.Base(from))
	return syncDir(filepath.Dir(to))
}

// remove takes a file or link away; one that is gone is removed.
func (s *Store) remove(path string) error {
	if err := removeIfThere(path); err != nil {
		return err
	}
	s.step("remove " + filepath.Base(path))
	return syncDir(filepath.Dir(path))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError("remove", path, err)
	}
	return nil
}

// makeDir makes a directory and its parents. Those that exist keep their mode.
func makeDir(dir string, perm fs.FileMode) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return diskError("make the directory", dir, unix.ENOTDIR)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return diskError("make the directory", dir, err)
	}
	if err := makeDir(filepath.Dir(dir), perm); err != nil {
		return err
	}
	if err := os.Mkdir(dir, perm); err != nil {
		if errors.Is(err, fs.ErrExist) { // another process was faster
			return nil
		}
		return diskError("make the directory", dir, err)
	}
	if err := os.Chmod(dir, perm); err != nil { // whatever the umask is
		return diskError("set the mode of", dir, err)
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return diskError("sync the directory", dir, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return diskError("sync the directory", dir, err)
	}
	return nil
}

// tempPrefix is followed by digits. It names the file that it will replace, so
// that one lineage's leftovers are told from another's work in the same
// directory.
func tempPrefix(base string) string { return "." + base + ".tmp-" }

var anyTemp = regexp.MustCompile(`^\..*\.tmp-[0-9]+$`)

// sweep removes the temporary files, links and directories that were to become
// base; an empty base sweeps them all.
func sweep(dir, base string) error {
	entries, err := readDir(dir)
	if err != nil {
		return err
	}
	match := anyTemp
	if base != "" {
		match = regexp.MustCompile(`^` + regexp.QuoteMeta(tempPrefix(base)) + `[0-9]+$`)
	}
	for _, e := range entries {
		if !match.MatchString(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if err := os.RemoveAll(path); err != nil {
			return diskError("remove", path, err)
		}
	}
	return nil
}

// readDir lists a directory; one that does not exist is empty.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, diskError("list", dir, err)
	}
	return entries, nil
}

// diskError says what was attempted on what, and what to do about the causes
// that a user can mend. The path that the kernel complained of is left out: it
// is the same one, or that of a temporary file.
func diskError(doing, path string, err error) error {
	var errno syscall.Errno
	cause := err
	if errors.As(err, &errno) {
		cause = errno
	}
	wrapped := fmt.Errorf("%s %s: %w", doing, path, cause)
	switch errno {
	case unix.ENOSPC, unix.EDQUOT, unix.EFBIG:
		return sdk.Hint(wrapped, "free some space (or raise the quota or file size limit) where %s is, and run the same command again", path)
	case unix.EACCES, unix.EPERM, unix.EROFS:
		return sdk.WithCode(sdk.Hint(wrapped, "run as a user who may do that, or choose another place with --state-dir"), sdk.PermissionDenied)
	case unix.ENOTDIR:
		return sdk.Hint(wrapped, "move away the file that is in the way, or choose another place with --state-dir")
	}
	return wrapped
}
