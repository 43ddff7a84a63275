package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/certwright/certwright/host/internal/disk"
)

const deletedSuffix = ".deleted"

// Delete takes away all of a lineage: versions, keys, links and state. The
// error wraps fs.ErrNotExist if there is nothing. Once it has begun, a crash
// does not bring the lineage back: [Store.Repair] completes it.
func (s *Store) Delete(name string) error {
	if err := checkName("certificate", name); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	found := false
	for _, path := range []string{s.lineagePath(name), s.tombstone(name), s.path("archive", name), s.path("live", name)} {
		if _, err := os.Lstat(path); err == nil {
			found = true
		}
	}
	if !found {
		return fmt.Errorf("delete certificate %s: there is none: %w", name, fs.ErrNotExist)
	}
	err := os.Rename(s.lineagePath(name), s.tombstone(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = s.write(s.tombstone(name), nil)
	case err != nil:
		err = disk.Error("delete", s.lineagePath(name), err)
	default:
		s.step("rename " + name + ".json")
		err = disk.Sync(s.path("lineages"))
	}
	if err != nil {
		return err
	}
	return s.finishDelete(name)
}

func (s *Store) tombstone(name string) string { return s.path("lineages", name+deletedSuffix) }

func (s *Store) isDeleted(name string) (bool, error) {
	_, err := os.Lstat(s.tombstone(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, disk.Error("look for", s.tombstone(name), err)
	}
	return err == nil, nil
}

// finishDelete removes everything that is below the tombstone of a lineage, and
// the tombstone last. Without one it does nothing.
func (s *Store) finishDelete(name string) error {
	deleted, err := s.isDeleted(name)
	if err != nil || !deleted {
		return err
	}
	if err := s.sweepLineage(name); err != nil {
		return err
	}
	instances, err := readDir(s.path("deployed"))
	if err != nil {
		return err
	}
	for _, e := range instances {
		if !e.IsDir() {
			continue
		}
		if err := s.remove(s.path("deployed", e.Name(), name)); err != nil {
			return err
		}
		_ = os.Remove(s.path("deployed", e.Name())) // if it was the last one
	}
	if err := s.remove(s.path("live", name)); err != nil {
		return err
	}
	archive := s.path("archive", name)
	if err := os.RemoveAll(archive); err != nil {
		return disk.Error("delete", archive, err)
	}
	s.step("remove archive " + name)
	if err := disk.Sync(s.path("archive")); err != nil {
		return err
	}
	return s.remove(s.tombstone(name))
}
