package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// staged is the lineage as it will be, kept with the files of a version until
// lineages/<name>.json says the same. It is written after all the others: a
// directory in which it can be read, and in which they fit together, is
// complete, and a version which has it is not finished.
const staged = ".commit.json"

// Commit makes what was issued for an order the newest version of its lineage,
// and gives the lineage with that version in it. It refuses a certificate that
// does not fit the order's key (issued.KeyPEM is not used) or lacks a name of
// the request. live/<name> is switched, key and certificate together, by one
// rename. An error before the version has its number leaves the order's key as
// it was, and Commit can be called again; after that the version is safe, and
// [Store.Repair] finishes it.
func (s *Store) Commit(l model.Lineage, orderID string, issued model.Issued) (model.Lineage, error) {
	return s.CommitTelling(l, orderID, issued, func(model.Lineage, model.Issued, model.Paths) {})
}

// CommitTelling is Commit that calls tell when the version is safe, and
// live/<name> does not lead to it yet.
func (s *Store) CommitTelling(
	l model.Lineage, orderID string, issued model.Issued, tell func(model.Lineage, model.Issued, model.Paths),
) (model.Lineage, error) {
	if err := checkOrder(l.Name, orderID); err != nil {
		return l, err
	}
	if err := s.prepare(); err != nil {
		return l, err
	}
	public, err := publicKey(s.orderDir(l.Name, orderID))
	if err != nil {
		return l, fmt.Errorf("store the new certificate: %w", err)
	}
	leaf, issued, err := verify(issued, public, wanted(l))
	if err != nil {
		return l, fmt.Errorf("store the new certificate of %s: what the CA sent does not fit the order: %w", l.Name, err)
	}
	number, err := s.nextVersion(l)
	if err != nil {
		return l, err
	}
	done := l
	done.Version = versionOf(leaf, number)
	dir := s.orderDir(l.Name, orderID)
	if err := s.stage(dir, done, issued); err != nil {
		return l, errors.Join(err, unstage(dir))
	}
	if err := s.promote(dir, done, true, func(paths model.Paths) { tell(done, issued, paths) }); err != nil {
		return l, err
	}
	return done, nil
}

// wanted are the names that the certificate must have: all but those that the
// request allows to be left out and that could not be proven.
func wanted(l model.Lineage) []model.Identifier {
	return slices.DeleteFunc(slices.Clone(l.Request.Identifiers), func(id model.Identifier) bool {
		return slices.Contains(l.Skipped, id)
	})
}

// stage writes the public files beside the key, the lineage last.
func (s *Store) stage(dir string, l model.Lineage, issued model.Issued) error {
	text, err := encodeJSON(staged, lineageFile{V: formatVersion, Lineage: l})
	if err != nil {
		return err
	}
	return s.fillDir(dir,
		file{certFile, 0o644, issued.LeafPEM}, file{chainFile, 0o644, issued.ChainPEM},
		file{fullchainFile, 0o644, issued.FullchainPEM}, file{staged, 0o600, text})
}

// unstage leaves the key alone in the directory of an order.
func unstage(dir string) error {
	paths := pathsIn(dir)
	var errs []error
	for _, path := range []string{filepath.Join(dir, staged), paths.Fullchain, paths.Chain, paths.Cert} {
		errs = append(errs, removeIfThere(path))
	}
	return errors.Join(errs...)
}

// promote makes a complete directory of an order a version, tells so, and
// finishes it. same says that the lineage is the staged one.
func (s *Store) promote(dir string, l model.Lineage, same bool, tell func(model.Paths)) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return disk.Error("set the mode of", dir, err)
	}
	to := s.versionDir(l.Name, l.Version.Number)
	if err := s.rename(dir, to); err != nil {
		return err
	}
	tell(pathsIn(to))
	if err := s.finish(l, same); err != nil {
		return sdk.Hint(fmt.Errorf("the new certificate is safe in %s, but not live yet: %w", to, err),
			"mend the cause and run the same command again: it finishes this version without a new order")
	}
	return nil
}

// finish makes a version live and its lineage say so. It may be repeated. If
// the staged lineage is the same, it moves to its place, which saves a file and
// making that durable.
func (s *Store) finish(l model.Lineage, same bool) error {
	if err := s.link(liveTarget(l.Name, l.Version.Number), s.path("live", l.Name)); err != nil {
		return err
	}
	from := filepath.Join(s.versionDir(l.Name, l.Version.Number), staged)
	if same {
		if err := os.Rename(from, s.lineagePath(l.Name)); err != nil {
			return disk.Error("write", s.lineagePath(l.Name), err)
		}
		s.step("file " + l.Name + ".json")
		return disk.Sync(s.path("lineages"))
	}
	if err := s.saveLineage(l); err != nil {
		return err
	}
	return s.remove(from)
}

// nextVersion is above every version that there is or was.
func (s *Store) nextVersion(l model.Lineage) (int, error) {
	numbers, err := s.Versions(l.Name)
	if err != nil {
		return 0, err
	}
	last := 0
	if len(numbers) > 0 {
		last = numbers[len(numbers)-1]
	}
	if l.Version != nil {
		last = max(last, l.Version.Number)
	}
	return last + 1, nil
}
