package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"unicode/utf8"
)

// capture notes what a path is and copies it into dir if it is a file. The copy
// is durable when it returns.
func (s *Store) capture(path, dir, name string) (entry, error) {
	e := entry{Path: path}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Kind = absent
		return e, nil
	case err != nil:
		return e, err
	case info.Mode().IsDir():
		return e, fmt.Errorf("it is a directory: %w", syscall.EISDIR)
	case info.Mode().Type() == fs.ModeSymlink:
		e.Kind = symlink
		e.UID, e.GID = owner(info)
		if e.Link, err = os.Readlink(path); err == nil && !utf8.ValidString(e.Link) {
			err = errors.New("the symlink's target is not valid UTF-8")
		}
		return e, err
	case !info.Mode().IsRegular():
		return e, fmt.Errorf("it is neither a file nor a symlink (%s)", info.Mode().Type())
	}
	e.Kind, e.Copy = regular, name
	return e, s.copyFile(&e, filepath.Join(dir, name))
}

func (s *Store) copyFile(e *entry, to string) (err error) {
	// Without O_NONBLOCK a pipe that was put there meanwhile would hang us.
	from, err := os.OpenFile(e.Path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	e.UID, e.GID = owner(info)
	e.Mode, e.MTime, e.XAttrs = info.Mode()&modeBits, info.ModTime().UTC(), fileXAttrs(from)
	s.step("touch: copy %s", e.Path)
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(to))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("copy it: %w", err), os.Remove(to))
	}
	return nil
}

// restore makes a path what it was, and removes what a killed process left
// beside it. It may be done any number of times.
func (s *Store) restore(e entry, dir, temp string) error {
	if err := s.dropTemp(temp); err != nil {
		return err
	}
	switch e.Kind {
	case absent:
		return s.restoreAbsent(e)
	case symlink:
		return s.restoreSymlink(e, temp)
	case regular:
		return s.restoreFile(e, filepath.Join(dir, e.Copy), temp)
	case noDirectory:
		return s.restoreNoDirectory(e)
	}
	return fmt.Errorf("the checkpoint says %q of it, which this version does not know", e.Kind)
}

func (s *Store) restoreAbsent(e entry) error {
	info, err := os.Lstat(e.Path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil // it, or even its directory, is gone already
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("a directory is in its place: %w", syscall.EISDIR)
	}
	s.step("restore: remove %s", e.Path)
	if err := os.Remove(e.Path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(e.Path))
}

// restoreNoDirectory removes a directory that is empty; what others have put
// into it is theirs.
func (s *Store) restoreNoDirectory(e entry) error {
	s.step("restore: remove the directory %s", e.Path)
	err := os.Remove(e.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EEXIST):
		return nil
	case err != nil:
		return err
	}
	return syncDir(filepath.Dir(e.Path))
}

func (s *Store) restoreSymlink(e entry, temp string) error {
	if link, err := os.Readlink(e.Path); err == nil && link == e.Link {
		return nil
	}
	s.step("restore: make the symlink %s", temp)
	if err := os.Symlink(e.Link, temp); err != nil {
		return err
	}
	if err := os.Lchown(temp, e.UID, e.GID); err != nil && !errors.Is(err, syscall.EPERM) {
		return errors.Join(err, os.Remove(temp))
	}
	s.step("restore: rename to %s", e.Path)
	if err := os.Rename(temp, e.Path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncDir(filepath.Dir(e.Path))
}

func (s *Store) restoreFile(e entry, saved, temp string) error {
	from, err := os.Open(saved)
	if err != nil {
		return fmt.Errorf("its copy: %w", err)
	}
	defer func() { _ = from.Close() }()
	same, err := unchanged(e, from)
	if err != nil || same {
		return err
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return s.place(from, temp, e.Path, attributes{
		mode: e.Mode, uid: e.UID, gid: e.GID, mtime: e.MTime, xattrs: nonNil(e.XAttrs),
	})
}

func nonNil(m map[string][]byte) map[string][]byte {
	if m == nil {
		return map[string][]byte{}
	}
	return m
}

// unchanged says whether a file is still, or again, what it was; then there is
// nothing to write, and nothing that may fail.
func unchanged(e entry, saved io.Reader) (bool, error) {
	now, err := os.OpenFile(e.Path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false, nil // place says why, if it cannot replace it
	}
	defer func() { _ = now.Close() }()
	info, err := now.Stat()
	if err != nil {
		return false, err
	}
	uid, gid := owner(info)
	if info.Mode() != e.Mode || uid != e.UID || gid != e.GID || !info.ModTime().Equal(e.MTime) ||
		!maps.EqualFunc(fileXAttrs(now), e.XAttrs, slices.Equal) {
		return false, nil
	}
	return sameBytes(now, saved)
}

func sameBytes(a, b io.Reader) (bool, error) {
	var bufs [2][32 << 10]byte
	for {
		n, errA := io.ReadFull(a, bufs[0][:])
		m, errB := io.ReadFull(b, bufs[1][:])
		if !bytes.Equal(bufs[0][:n], bufs[1][:m]) {
			return false, nil
		}
		switch {
		case ended(errA) && ended(errB):
			return true, nil
		case errA != nil:
			return false, errA
		case errB != nil:
			return false, errB
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
