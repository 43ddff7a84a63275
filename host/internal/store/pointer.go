package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/host/internal/model"
)

// Pointer gives the version of a lineage that a target serves; 0: none yet.
func (s *Store) Pointer(instance, lineage string) (version int, err error) {
	if err := checkPointer(instance, lineage); err != nil {
		return 0, err
	}
	version, err = readLink(s.path("deployed", instance, lineage), pointerTarget(lineage, 0))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return version, err
}

// SetPointer leads what a target's configuration names to a version, by one
// rename; version 0 removes the pointer.
func (s *Store) SetPointer(instance, lineage string, version int) error {
	if err := checkPointer(instance, lineage); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	dir := s.path("deployed", instance)
	path := s.path("deployed", instance, lineage)
	if version == 0 {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return s.remove(path)
	}
	if _, err := os.Stat(s.versionDir(lineage, version)); err != nil {
		return fmt.Errorf("lead %s to version %s: %w", path, versionName(version), disk.Error("find", s.versionDir(lineage, version), err))
	}
	if err := makeDir(dir, 0o755); err != nil {
		return err
	}
	return s.link(pointerTarget(lineage, version), path)
}

// DeployedPaths are what the configuration of a target names.
func (s *Store) DeployedPaths(instance, lineage string) model.Paths {
	return pathsIn(s.path("deployed", instance, lineage))
}

func pointerTarget(lineage string, version int) string {
	return "../../archive/" + lineage + "/" + versionName(version)
}

func checkPointer(instance, lineage string) error {
	if err := checkName("instance", instance); err != nil {
		return err
	}
	return checkName("certificate", lineage)
}
