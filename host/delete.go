package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/run"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// Delete takes away all of a lineage, after confirmation. It is not revoked.
func Delete(ctx context.Context, b Base, name string) (err error) {
	if name == "" {
		return UsageError(sdk.Hint(errors.New("no certificate is named"), "name one with --cert-name, see certwright certificates"))
	}
	e, closeEngine, err := b.engine(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeEngine(ctx)) }()
	l, err := b.deletable(e.Store, name)
	if err != nil {
		return err
	}
	b.warnOfUse(e.Store, l)
	yes, err := b.confirmed(ctx, deleteQuestion(name))
	if err != nil || !yes {
		return err
	}
	return b.delete(ctx, e, name)
}

func deleteQuestion(name string) string {
	return fmt.Sprintf("Delete %s with all its versions and keys?", name)
}

// deletable finds a lineage. What is half there, or cannot be read, can be
// deleted all the same.
func (b Base) deletable(s *store.Store, name string) (model.Lineage, error) {
	l, err := s.Lineage(name)
	if err == nil {
		return l, nil
	}
	names, listErr := s.Names()
	if listErr != nil {
		return l, listErr
	}
	if !slices.Contains(names, name) {
		return mustHave(nil, name)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		b.Terminal.Warn("", "%v", err)
	}
	return model.Lineage{Name: name}, nil
}

func (b Base) delete(ctx context.Context, e *run.Engine, name string) error {
	if err := e.Delete(ctx, name); err != nil {
		return err
	}
	b.Terminal.Deleted(name)
	return nil
}

// warnOfUse says who still counts on a lineage that is going to be deleted: a
// server whose configuration names a file that is gone does not start again.
func (b Base) warnOfUse(s *store.Store, l model.Lineage) {
	for _, name := range slices.Sorted(maps.Keys(l.Targets)) {
		if version := l.Targets[name].Deployed; version > 0 {
			b.Terminal.Warn(l.Name, "%s has version %d of it: copies stay and are not renewed, and a configuration that names %s must be changed, or the server does not start again",
				name, version, filepath.Dir(s.DeployedPaths(name, l.Name).Cert))
		}
	}
	if _, configured := b.fromFiles(l.Name); configured {
		b.Terminal.Warn(l.Name, "the configuration still asks for it: take it out there, or the next run obtains it again")
	}
}
