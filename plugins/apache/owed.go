package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// That httpd has to forget challenges is noted in a file before it learns them: a
// process that comes after a crash finds the configuration put back, and httpd
// not told.

// owed is the name of the note.
func (a *apache) owed() string { return filepath.Join(a.stateDir, "reload-owed") }

func (a *apache) owe() error {
	a.stepped("perform: note that a reload is owed")
	f, err := os.OpenFile(a.owed(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("note that httpd is to be reloaded: %w", err)
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(a.stateDir))
}

func (a *apache) owes() (bool, error) {
	_, err := os.Stat(a.owed())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (a *apache) paid() error {
	if err := os.Remove(a.owed()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
