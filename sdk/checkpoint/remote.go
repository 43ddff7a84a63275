package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// Remote is for installers whose server is reached by an API, which has no
// checkpoints of its own. It keeps two records for each certificate, both of
// them in the instance's state directory:
//
//   - what is wanted there, W: written by Save and brought back by Rollback,
//     with all that [Edits] does for files;
//   - what is there because of us, T: written by the plugin by [Remote.Keep]
//     before it changes anything at the server, so that a later process knows
//     what a crash may have left.
//
// Restart then makes the server as the first record wants it and the second one
// allows, and so does Rollback, through the function that it is given. That
// function MUST do no harm when it is called again, and SHOULD ask nobody when
// both records agree.
//
// Both are kept as JSON in files of mode 0600: W may hold a private key, which
// is what makes an older certificate installable again.
type Remote[W, T any] struct {
	edits *Edits[wanted]
	dir   string
}

// wanted is what is staged for a certificate: the record as it is to be.
type wanted struct{ record []byte }

const (
	wantedDir = "wanted"
	thereDir  = "there"
	// begun begins the name of a record that is being written.
	begun = ".new-"
)

// NewRemote opens the records in an instance's state directory and undoes what
// a crash has left of them. step may be nil; see Store.Step.
func NewRemote[W, T any](ctx context.Context, stateDir string, step func(what string)) (*Remote[W, T], error) {
	store, err := Open(stateDir)
	if err != nil {
		return nil, err
	}
	store.Step = step
	dir, err := filepath.Abs(stateDir)
	for _, d := range []string{wantedDir, thereDir} {
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, d), 0o700)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the records in %s: %w", stateDir, err)
	}
	r := &Remote[W, T]{edits: NewEdits[wanted](ctx, store), dir: dir}
	if err := r.sweep(); err != nil {
		return nil, fmt.Errorf("open the records in %s: %w", stateDir, err)
	}
	return r, nil
}

// sweep removes what a killed process had begun to write in place of a record:
// it may hold a private key.
func (r *Remote[W, T]) sweep() error {
	entries, err := os.ReadDir(filepath.Join(r.dir, thereDir))
	errs := []error{err}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), begun) {
			errs = append(errs, os.Remove(filepath.Join(r.dir, thereDir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Stage is for Deploy: it takes what is wanted for the operation's certificate.
func (r *Remote[W, T]) Stage(ctx context.Context, w W) error {
	if err := r.edits.Unrecovered(ctx); err != nil {
		return fmt.Errorf("an interrupted deployment is not undone yet: %w", err)
	}
	if _, err := r.path(wantedDir, lineage(ctx)); err != nil {
		return err
	}
	record, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("record what is wanted: %w", err)
	}
	return r.edits.Stage(ctx, func(s *wanted) error {
		s.record = record
		return nil
	})
}

// Save is sdk.Installer.Save.
func (r *Remote[W, T]) Save(ctx context.Context, req sdk.SaveRequest) (sdk.Checkpoint, error) {
	return r.edits.Save(ctx, req, func(ctx context.Context, s *wanted, begin func() (*Draft, error)) error {
		path, err := r.path(wantedDir, lineage(ctx))
		if err != nil {
			return err
		}
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, s.record) {
			return nil
		}
		draft, err := begin()
		if err != nil {
			return err
		}
		return draft.WriteFile(ctx, path, s.record, Attributes{Mode: 0o600})
	})
}

// Rollback is sdk.Rollbacker.Rollback. sync is called for the operation's
// certificate, or without one for all of them, to make the server as it is
// wanted again. With a count of zero it is not called: what is only staged or
// unfinished is at no server, and what is saved may not be proven: the host that
// asks for zero has yet to find out whether it takes that back as well.
func (r *Remote[W, T]) Rollback(ctx context.Context, count int, rep sdk.Reporter, sync func(ctx context.Context, lineage string) error) error {
	if err := r.edits.Rollback(ctx, count, rep); err != nil {
		return err
	}
	if count == 0 {
		return nil
	}
	lineages, err := []string{lineage(ctx)}, error(nil)
	if lineages[0] == "" {
		lineages, err = r.Lineages()
	}
	errs := []error{err}
	for _, l := range lineages {
		errs = append(errs, sync(ctx, l))
	}
	return errors.Join(errs...)
}

// Lineages are those of which there is a record, sorted.
func (r *Remote[W, T]) Lineages() ([]string, error) {
	found := map[string]bool{}
	for _, d := range []string{wantedDir, thereDir} {
		entries, err := os.ReadDir(filepath.Join(r.dir, d))
		if err != nil {
			return nil, fmt.Errorf("list the records: %w", err)
		}
		for _, e := range entries {
			if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && !strings.HasPrefix(name, ".") {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// Wanted gives what is wanted for a certificate; nil: nothing.
func (r *Remote[W, T]) Wanted(lineage string) (*W, error) {
	return readRecord[W](r, wantedDir, lineage)
}

// There gives what is at the server because of us; nil: nothing.
func (r *Remote[W, T]) There(lineage string) (*T, error) {
	return readRecord[T](r, thereDir, lineage)
}

func readRecord[R, W, T any](r *Remote[W, T], dir, lineage string) (*R, error) {
	path, err := r.path(dir, lineage)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // a record that is not there is no error
	}
	out := new(R)
	if err == nil {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of %s: %w", lineage, err)
	}
	return out, nil
}

// Keep replaces the record of what is there, in one step that survives a crash;
// nil removes it. It MUST have returned before what it says is done.
func (r *Remote[W, T]) Keep(lineage string, t *T) error {
	path, err := r.path(thereDir, lineage)
	if err != nil {
		return err
	}
	r.edits.store.step("keep what is there")
	if t == nil {
		err = os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	} else {
		err = replaceFile(path, t)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("record what is there for %s: %w", lineage, err)
	}
	return nil
}

func replaceFile(path string, content any) error {
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), begun+"*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // it is gone if all went well
	_, err = temp.Write(data)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// path of a record. The host makes only harmless names; but they become parts
// of paths here.
func (r *Remote[W, T]) path(dir, lineage string) (string, error) {
	if lineage == "" || strings.HasPrefix(lineage, ".") || strings.ContainsAny(lineage, "/\x00") {
		return "", sdk.Problemf(sdk.Internal, "the certificate's name %q cannot be part of a path", lineage)
	}
	return filepath.Join(r.dir, dir, lineage+".json"), nil
}
