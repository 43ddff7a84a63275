package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Scope says which checkpoints a rollback is about, and what it is part of. The
// zero value means all of them.
type Scope struct {
	// Label: only checkpoints with this label. Empty: whatever their label.
	Label string
	// Operation, if not empty, makes the rollback happen once: the same again
	// does nothing, in another process too, until there is a new checkpoint.
	Operation string
}

// intent is a rollback that was begun; once it is on disk it will be completed.
type intent struct {
	Version   int    `json:"v"`
	Operation string `json:"operation,omitempty"`
	Label     string `json:"label,omitempty"`
	Count     int    `json:"count"`
	// IDs newest first.
	IDs []int64 `json:"ids"`
	// Newest is what is the newest in scope afterwards; 0: none.
	Newest int64 `json:"newest"`
}

const (
	undoName   = "undo"
	undoneName = "undone"
)

// Rollback reverts the newest n checkpoints in scope, newest first, and removes
// them; it gives those that it reverted. More than there are is no error, a
// negative number is one. A file that somebody else has changed since the
// checkpoint is put back all the same, after a copy of it was taken. If a path cannot be put back, the rest of that
// checkpoint is, but it is kept, and older ones are left alone, so that the call
// can be repeated when the cause is mended. A checkpoint is not reverted while a
// newer one out of scope, or an unfinished one, holds one of its paths.
func (s *Store) Rollback(ctx context.Context, n int, scope Scope) ([]Checkpoint, error) {
	if n < 0 {
		return nil, fmt.Errorf("roll back %d checkpoints: the number must not be negative", n)
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("roll back %d checkpoints: %w", n, err)
	}
	defer unlock()
	reverted, err := s.rollback(n, scope)
	if err != nil {
		return reverted, fmt.Errorf("roll back %d checkpoints: %w", n, err)
	}
	return reverted, nil
}

func (s *Store) rollback(n int, scope Scope) ([]Checkpoint, error) {
	if err := s.completeRollback(); err != nil {
		return nil, fmt.Errorf("complete the one that was interrupted: %w", err)
	}
	done, err := s.finalised()
	if err != nil {
		return nil, err
	}
	inScope, others := split(done, scope.Label)
	plan := intent{Version: manifestVersion, Operation: scope.Operation, Label: scope.Label, Count: n}
	if len(inScope) > n {
		plan.Newest = inScope[n].id
		inScope = inScope[:n]
	}
	again, err := s.happened(plan, done)
	if err != nil || again || len(inScope) == 0 {
		return nil, err
	}
	if err := s.mayRevert(inScope, others); err != nil {
		return nil, err
	}
	for _, k := range inScope {
		plan.IDs = append(plan.IDs, k.id)
	}
	if err := s.writeIntent(plan); err != nil {
		return nil, err
	}
	var reverted []Checkpoint
	var failed []error // commands, which stop nothing
	for _, k := range inScope {
		edited, commands, err := s.revert(k)
		failed = append(failed, commands)
		if err != nil {
			err = fmt.Errorf("checkpoint %s (%s): %w", formatID(k.id), k.final.Title, err)
			// The caller knows and decides; Recover must not go on with it.
			return reverted, errors.Join(append(failed, err, dropIntent(filepath.Join(s.dir, undoName)))...)
		}
		c := k.checkpoint()
		c.Edited = edited
		reverted = append(reverted, c)
	}
	return reverted, errors.Join(append(failed, s.intentDone())...)
}

// revert undoes a finalised checkpoint.
func (s *Store) revert(k kept) (edited []string, commands, err error) {
	if edited, err = s.keepEdited(k); err != nil {
		return edited, nil, err
	}
	commands, err = s.undo(k.dir, k.manifest)
	return edited, commands, err
}

func split(done []kept, label string) (in, out []kept) {
	for _, k := range done {
		if label == "" || k.header.Label == label {
			in = append(in, k)
		} else {
			out = append(out, k)
		}
	}
	return in, out
}

// mayRevert refuses what would overwrite the work of others.
func (s *Store) mayRevert(chosen, others []kept) error {
	for _, k := range chosen {
		files := k.files()
		for _, o := range others {
			if path, ok := o.holds(files...); ok && o.id > k.id {
				return fmt.Errorf("checkpoint %s (%s) of %q: the newer checkpoint %s of %q holds %s: roll that back first",
					formatID(k.id), k.final.Title, k.header.Label, formatID(o.id), o.header.Label, path)
			}
		}
		if err := s.heldByOther("", files...); err != nil {
			return err
		}
	}
	return nil
}

// happened says whether this very rollback is what happened last in its scope.
func (s *Store) happened(plan intent, done []kept) (bool, error) {
	last, err := s.readIntent(undoneName)
	if err != nil || plan.Operation == "" || last == nil ||
		last.Operation != plan.Operation || last.Label != plan.Label || last.Count != plan.Count {
		return false, err
	}
	var newest int64
	if in, _ := split(done, plan.Label); len(in) > 0 {
		newest = in[0].id
	}
	return newest == last.Newest, nil
}

// completeRollback goes on with a rollback that was interrupted by a crash.
func (s *Store) completeRollback() error {
	plan, err := s.readIntent(undoName)
	if err != nil || plan == nil {
		return err
	}
	var failed []error
	for _, id := range plan.IDs {
		dir := filepath.Join(s.doneDir(), formatID(id))
		m, err := readManifest(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // was reverted before the crash
		}
		var commands error
		if err == nil {
			_, commands, err = s.revert(kept{id: id, dir: dir, manifest: m})
		}
		failed = append(failed, commands)
		if err != nil {
			return errors.Join(append(failed, fmt.Errorf("revert checkpoint %s (%s): %w", formatID(id), m.final.Title, err))...)
		}
	}
	return errors.Join(append(failed, s.intentDone())...)
}

func (s *Store) readIntent(name string) (*intent, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no rollback, no error
	}
	if err != nil {
		return nil, err
	}
	i := &intent{}
	if err := json.Unmarshal(data, i); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Join(s.dir, name), err)
	}
	if i.Version > manifestVersion {
		return nil, fmt.Errorf("%s has format %d, of a newer version: update the plugin", filepath.Join(s.dir, name), i.Version)
	}
	return i, nil
}

// writeIntent is the point of no return of a rollback.
func (s *Store) writeIntent(i intent) error {
	data, err := json.Marshal(i)
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, undoName)
	a := attributes{mode: 0o600, uid: -1, gid: -1}
	if err := s.place(strings.NewReader(string(data)+"\n"), path+".new", path, a); err != nil {
		// It may be there and only not be durable: then Recover must not act on it.
		return errors.Join(err, dropIntent(path))
	}
	return nil
}

func dropIntent(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func (s *Store) intentDone() error {
	s.step("rollback: note that it is done")
	if err := os.Rename(filepath.Join(s.dir, undoName), filepath.Join(s.dir, undoneName)); err != nil {
		return err
	}
	return syncDir(s.dir)
}
