package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// undo runs a checkpoint's commands and restores what its directory names, in
// reverse, and removes the directory if all could be restored. Commands that
// failed are an error of their own: they are done with all the same.
func (s *Store) undo(dir string, m manifest) (commands, err error) {
	commands = s.runUndo(m.entries)
	var errs []error
	for n, e := range slices.Backward(m.entries) {
		if e.Kind == undoCommand {
			continue
		}
		if err := s.restore(e, dir, tempName(e.Path, m.header.Token, n)); err != nil {
			errs = append(errs, fmt.Errorf("put %s back: %w", e.Path, err))
		}
	}
	if len(errs) > 0 {
		return commands, fmt.Errorf("%w\nwhat could not be put back is in %s", errors.Join(errs...), dir)
	}
	return commands, s.remove(dir)
}

// remove takes a checkpoint's directory out of its place in one step, so that
// nobody reads one that is half deleted.
func (s *Store) remove(dir string) error {
	trash := filepath.Join(s.trashDir(), filepath.Base(dir))
	s.step("remove: clear %s", trash)
	if err := os.RemoveAll(trash); err != nil {
		return err
	}
	s.step("remove: move %s to the trash", dir)
	if err := os.Rename(dir, trash); err != nil {
		return err
	}
	if err := errors.Join(syncDir(filepath.Dir(dir)), syncDir(s.trashDir())); err != nil {
		return err
	}
	s.step("remove: delete %s", trash)
	return os.RemoveAll(trash)
}

// prune removes the oldest checkpoints of a label.
func (s *Store) prune(label string) error {
	done, err := s.finalised()
	if err != nil {
		return err
	}
	keep := s.Keep
	if keep <= 0 {
		keep = DefaultKeep
	}
	var errs []error
	seen := 0
	for _, k := range done {
		if k.header.Label != label {
			continue
		}
		if seen++; seen > keep {
			errs = append(errs, s.remove(k.dir))
		}
	}
	return errors.Join(errs...)
}
