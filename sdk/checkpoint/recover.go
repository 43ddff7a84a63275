package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Recover undoes what a process that is gone left unfinished: a rollback is
// completed, then drafts are discarded, temporary ones first, then newest first.
// Drafts of processes that live are left alone. What cannot be put back does not
// stop the rest; it is tried again by the next Recover, and until then its paths
// are refused to other drafts.
func (s *Store) Recover(ctx context.Context) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return fmt.Errorf("recover from a crash: %w", err)
	}
	defer unlock()
	if err := errors.Join(s.completeRollback(), s.discardDead(), s.emptyTrash()); err != nil {
		return fmt.Errorf("recover from a crash: %w", err)
	}
	return nil
}

func (s *Store) discardDead() error {
	drafts, err := s.drafts()
	errs := []error{err}
	slices.SortFunc(drafts, func(a, b kept) int {
		switch {
		case a.header.Temporary == b.header.Temporary:
			return b.header.Begun.Compare(a.header.Begun)
		case a.header.Temporary:
			return -1
		}
		return 1
	})
	for _, d := range drafts {
		live, err := alive(d.dir)
		var commands error
		if err == nil && !live {
			commands, err = s.undo(d.dir, d.manifest)
		}
		if err = errors.Join(commands, err); err != nil {
			errs = append(errs, &draftError{label: d.header.Label, err: err})
		}
	}
	return errors.Join(errs...)
}

// draftError is about the unfinished draft of one label.
type draftError struct {
	label string
	err   error
}

func (e *draftError) Error() string { return e.err.Error() }
func (e *draftError) Unwrap() error { return e.err }

// about leaves out of an error of Recover what is about the drafts of other
// labels. Without a label everything counts.
func about(err error, label string) error {
	if err == nil || label == "" {
		return err
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, about(e, label))
		}
		return errors.Join(out...)
	}
	if d, ok := err.(*draftError); ok { //nolint:errorlint // as above
		if d.label != label {
			return nil
		}
		return err
	}
	if inner := errors.Unwrap(err); inner != nil && about(inner, label) == nil {
		return nil
	}
	return err
}

// drafts reads open/.
func (s *Store) drafts() ([]kept, error) {
	names, err := os.ReadDir(s.openDir())
	if err != nil {
		return nil, fmt.Errorf("list the unfinished checkpoints: %w", err)
	}
	var out []kept
	var errs []error
	for _, n := range names {
		k := kept{dir: filepath.Join(s.openDir(), n.Name())}
		k.manifest, err = readManifest(k.dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // killed before it had one
			errs = append(errs, err)
			continue
		}
		out = append(out, k)
	}
	return out, errors.Join(errs...)
}

// alive says whether a process has a draft open.
func alive(dir string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, manifestName), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	free, err := tryLock(f)
	return !free, err
}

// heldByOther refuses paths that another unfinished draft has registered.
func (s *Store) heldByOther(own string, paths ...string) error {
	drafts, err := s.drafts()
	if err != nil {
		return err
	}
	for _, d := range drafts {
		if d.dir == own {
			continue
		}
		if path, ok := d.holds(paths...); ok {
			return fmt.Errorf("%s: %w (%s)", path, ErrHeld, strings.TrimSpace(d.header.Label+" "+d.header.Token))
		}
	}
	return nil
}

func (s *Store) emptyTrash() error {
	names, err := os.ReadDir(s.trashDir())
	errs := []error{err}
	for _, n := range names {
		errs = append(errs, os.RemoveAll(filepath.Join(s.trashDir(), n.Name())))
	}
	return errors.Join(errs...)
}
