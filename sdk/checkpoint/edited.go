package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A rollback puts whole files back. What somebody else has changed in one since
// the checkpoint was finalised would be gone with it, so a copy of such a file
// is kept first, in edited/.

func (s *Store) editedDir() string { return filepath.Join(s.dir, "edited") }

// sums gives what the registered files hold now, for a later rollback to
// compare with. A path that is no file has none.
func sums(entries []entry) (map[string]string, error) {
	out := map[string]string{}
	for _, e := range entries {
		if e.Kind != regular && e.Kind != absent {
			continue
		}
		sum, err := sumOf(e.Path)
		if err != nil {
			return nil, err
		}
		if sum != "" {
			out[e.Path] = sum
		}
	}
	return out, nil
}

// sumOf is empty where there is no file.
func sumOf(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// keepEdited copies every file of a finalised checkpoint that is neither as the
// checkpoint left it nor as it found it. A checkpoint of an older version does
// not know how it left them; nothing is kept then.
func (s *Store) keepEdited(k kept) ([]string, error) {
	if k.final.After == nil {
		return nil, nil
	}
	var out []string
	for n, e := range k.entries {
		now, err := sumOf(e.Path)
		if err != nil {
			return out, err
		}
		if now == "" || now == k.final.After[e.Path] || e.Kind != regular && e.Kind != absent {
			continue
		}
		if e.Kind == regular {
			if before, err := sumOf(filepath.Join(k.dir, e.Copy)); err != nil || now == before {
				if err != nil {
					return out, err
				}
				continue // put back already, by a rollback that was cut short
			}
		}
		to := filepath.Join(s.editedDir(), fmt.Sprintf("%s-%04d-%s", formatID(k.id), n, filepath.Base(e.Path)))
		if err := s.copyEdited(e.Path, to); err != nil {
			return out, fmt.Errorf("%s was changed since; keep a copy of it: %w", e.Path, err)
		}
		out = append(out, to)
	}
	return out, s.pruneEdited()
}

func (s *Store) copyEdited(path, to string) error {
	if err := os.MkdirAll(s.editedDir(), 0o700); err != nil {
		return err
	}
	e := entry{Path: path}
	if err := s.copyFile(&e, to); err != nil {
		return err
	}
	return syncDir(s.dir)
}

// maxEdited bounds what edited/ holds: its files may be private keys.
const maxEdited = 100

func (s *Store) pruneEdited() error {
	entries, err := os.ReadDir(s.editedDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.SortFunc(names, strings.Compare) // oldest checkpoint first
	errs := []error{err}
	for _, name := range names[:max(0, len(names)-maxEdited)] {
		errs = append(errs, os.Remove(filepath.Join(s.editedDir(), name)))
	}
	return errors.Join(errs...)
}
