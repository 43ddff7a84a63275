package store

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/host/internal/disk"
)

// write replaces a file that is ours alone to read; it is durable when write
// returns.
func (s *Store) write(path string, data []byte) error {
	if err := s.put(path, 0o600, data); err != nil {
		return err
	}
	return disk.Sync(filepath.Dir(path))
}

// put replaces a file by one rename. Its contents are durable, its name is once
// the directory was synced.
func (s *Store) put(path string, perm fs.FileMode, data []byte) error {
	dir, base := filepath.Split(path)
	f, err := os.CreateTemp(dir, tempPrefix(base)+"*")
	if err != nil {
		return disk.Error("write", path, err)
	}
	if err = fill(f, perm, data); err == nil {
		s.step("temporary " + base)
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(disk.Error("write", path, err), removeIfThere(f.Name()))
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

// file is one of a directory that is filled.
type file struct {
	name string
	perm fs.FileMode
	data []byte
}

// fillDir writes the files of a directory that counts for nothing before the
// last of them is whole, and makes them durable all at once: a disk takes no
// longer for five than for one.
func (s *Store) fillDir(dir string, files ...file) error {
	var syncing errgroup.Group
	written := func() error {
		for _, w := range files {
			path := filepath.Join(dir, w.name)
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, w.perm)
			if err != nil {
				return disk.Error("write", path, err)
			}
			_, err = f.Write(w.data)
			if err == nil {
				err = f.Chmod(w.perm) // whatever the umask is
			}
			if err != nil {
				return errors.Join(disk.Error("write", path, err), f.Close())
			}
			s.step("file " + w.name)
			syncing.Go(func() error {
				if err := errors.Join(f.Sync(), f.Close()); err != nil {
					return disk.Error("write", path, err)
				}
				return nil
			})
		}
		return disk.Sync(dir)
	}()
	return errors.Join(written, syncing.Wait())
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
			return disk.Error("link", path, err)
		}
	}
	s.step("temporary link " + base)
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(disk.Error("link", path, err), removeIfThere(tmp))
	}
	s.step("link " + base)
	return disk.Sync(dir)
}

// rename moves a directory within its parent.
func (s *Store) rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return disk.Error("rename "+from+" to", to, err)
	}
	s.step("rename " + filepath.Base(from))
	return disk.Sync(filepath.Dir(to))
}

// remove takes a file or link away; one that is gone is removed.
func (s *Store) remove(path string) error {
	if err := removeIfThere(path); err != nil {
		return err
	}
	s.step("remove " + filepath.Base(path))
	return disk.Sync(filepath.Dir(path))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return disk.Error("remove", path, err)
	}
	return nil
}

// makeDir makes a directory and its parents, durably. Those that exist keep their
// mode.
func makeDir(dir string, perm fs.FileMode) error {
	changed, err := mkdir(dir, perm)
	if err != nil || len(changed) == 0 {
		return err
	}
	return disk.Sync(changed...)
}

// mkdir is makeDir up to the directories that changed, which are to be synced.
func mkdir(dir string, perm fs.FileMode) (changed []string, err error) {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return nil, disk.Error("make the directory", dir, unix.ENOTDIR)
		}
		return nil, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, disk.Error("make the directory", dir, err)
	}
	parent := filepath.Dir(dir)
	if changed, err = mkdir(parent, perm); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, perm); err != nil {
		if errors.Is(err, fs.ErrExist) { // another process was faster
			return append(changed, parent), nil
		}
		return nil, disk.Error("make the directory", dir, err)
	}
	if err := os.Chmod(dir, perm); err != nil { // whatever the umask is
		return nil, disk.Error("set the mode of", dir, err)
	}
	return append(changed, parent), nil
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
			return disk.Error("remove", path, err)
		}
	}
	return nil
}

// readDir lists a directory; one that does not exist is empty.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, disk.Error("list", dir, err)
	}
	return entries, nil
}
