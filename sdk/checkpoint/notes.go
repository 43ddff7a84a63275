package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Note remembers, beyond a crash, what a process is about to do outside of the
// files, for instance what a running server is told: whoever is to take it back
// finds out from the store alone whether there is anything to take back.
func (s *Store) Note(keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	err := os.MkdirAll(s.notesDir(), 0o700)
	for _, key := range keys {
		if err == nil {
			s.step("note")
			err = os.WriteFile(s.notePath(key), nil, 0o600)
		}
	}
	if err == nil {
		err = errors.Join(syncDir(s.notesDir()), syncDir(s.dir))
	}
	if err != nil {
		return fmt.Errorf("note what is to be taken back: %w", err)
	}
	return nil
}

// Noted says whether there is a note. One that cannot be looked for counts as
// there: to take back what is not there does no harm.
func (s *Store) Noted(key string) bool {
	_, err := os.Lstat(s.notePath(key))
	return !errors.Is(err, fs.ErrNotExist)
}

// Forget removes notes; that there is none is fine.
func (s *Store) Forget(keys ...string) error {
	for _, key := range keys {
		if err := os.Remove(s.notePath(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget what was taken back: %w", err)
		}
	}
	return nil
}

func (s *Store) notesDir() string { return filepath.Join(s.dir, "notes") }

// notePath hashes the key, which may hold anything.
func (s *Store) notePath(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.notesDir(), hex.EncodeToString(sum[:]))
}
