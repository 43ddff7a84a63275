package store

import (
	"fmt"
	"os"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/host/internal/model"
)

// CheckFiles says what is missing of the newest version of a lineage that has
// one. It does not look into the files, and not at the link to them, which
// [Store.Repair] mends: what is missing here only another version mends.
func (s *Store) CheckFiles(l model.Lineage) error {
	dir := s.versionDir(l.Name, l.Version.Number)
	paths := pathsIn(dir)
	for _, path := range []string{paths.Cert, paths.Fullchain, paths.Privkey} {
		if path == paths.Privkey && len(l.Request.CSR) > 0 {
			continue // it never was here
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return disk.Error("look at", path, err)
		case !info.Mode().IsRegular():
			return fmt.Errorf("look at %s: it is not a file", path)
		case info.Size() == 0:
			return fmt.Errorf("look at %s: it is empty", path)
		}
	}
	return nil
}

// Check is CheckFiles, and looks whether the link leads there.
func (s *Store) Check(l model.Lineage) error {
	if err := s.CheckFiles(l); err != nil {
		return err
	}
	live, err := s.Live(l.Name)
	if err == nil && live != l.Version.Number {
		return fmt.Errorf("%s leads to version %s, and the newest is %s", s.LivePath(l.Name), versionName(live), versionName(l.Version.Number))
	}
	return err
}
