package store

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/host/internal/model"
)

// Repaired is what [Store.Repair] found.
type Repaired struct {
	// Finished are the versions whose commit was cut short; they are live now,
	// the last one that is.
	Finished []int
	// Deleted says that a deletion was cut short and is complete now.
	Deleted bool
	// Orders are IDs of orders that have a key and no certificate. Whether they
	// can still be finished is known to the journal and the CA; what cannot is
	// for [Store.DropOrder].
	Orders []string
}

// Repair mends what a run that was killed left of a lineage: it finishes
// commits and deletions and removes temporary files. On a lineage in order it
// changes nothing. What it cannot mend is an error, and stays as it is.
func (s *Store) Repair(name string) (Repaired, error) {
	var r Repaired
	if err := checkName("certificate", name); err != nil {
		return r, err
	}
	if err := s.prepare(); err != nil {
		return r, err
	}
	var err error
	if r.Deleted, err = s.isDeleted(name); err != nil {
		return r, err
	}
	if err := s.finishDelete(name); err != nil {
		return r, err
	}
	if err := s.sweepLineage(name); err != nil {
		return r, err
	}
	if err := s.repairOrders(name, &r); err != nil {
		return r, err
	}
	return r, s.repairVersions(name, &r)
}

func (s *Store) sweepLineage(name string) error {
	errs := []error{
		s.sweepShared("live/"+name, "lineages/"+name+".json", "lineages/"+name+deletedSuffix, "deployed/"+name),
		sweep(s.path("archive", name), ""),
	}
	versions, err := s.Versions(name)
	errs = append(errs, err)
	for _, n := range versions {
		errs = append(errs, sweep(s.versionDir(name, n), ""))
	}
	orders, err := s.orders(name)
	errs = append(errs, err)
	for _, id := range orders {
		errs = append(errs, sweep(s.orderDir(name, id), ""))
	}
	return errors.Join(errs...)
}

// sweepShared removes what was to become these files of directories that all
// lineages share.
func (s *Store) sweepShared(keys ...string) error {
	left, err := s.leftovers()
	errs := []error{err}
	for _, key := range keys {
		for _, path := range left[key] {
			errs = append(errs, removeIfThere(path))
		}
	}
	return errors.Join(errs...)
}

// leftovers finds the temporary files in the directories that all lineages
// share, by directory and by the file that they were to become. They are listed
// once: with thousands of lineages, to list them for each would take most of a
// run. What a process that dies later leaves there is for a later run. One that
// is listed while another process works with it has become its file, or is a
// leftover, by the time that we hold the lineage's lock.
func (s *Store) leftovers() (map[string][]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left != nil {
		return s.left, nil
	}
	dirs := map[string]string{s.path("live"): "live/", s.path("lineages"): "lineages/"}
	instances, err := readDir(s.path("deployed"))
	if err != nil {
		return nil, err
	}
	for _, e := range instances {
		if e.IsDir() {
			dirs[s.path("deployed", e.Name())] = "deployed/"
		}
	}
	left := map[string][]string{}
	for dir, kind := range dirs {
		entries, err := readDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if anyTemp.MatchString(e.Name()) {
				base := e.Name()[1:strings.LastIndex(e.Name(), ".tmp-")]
				left[kind+base] = append(left[kind+base], filepath.Join(dir, e.Name()))
			}
		}
	}
	s.left = left
	return left, nil
}

// repairOrders promotes orders that had all their files, and lists the others.
func (s *Store) repairOrders(name string, r *Repaired) error {
	ids, err := s.orders(name)
	if err != nil {
		return err
	}
	for _, id := range ids {
		dir := s.orderDir(name, id)
		l, err := readLineage(filepath.Join(dir, staged), name)
		if err == nil {
			_, err = verifyDir(dir, wanted(l))
		}
		if err != nil {
			// The certificate can be downloaded again; the key cannot.
			if err := unstage(dir); err != nil {
				return err
			}
			r.Orders = append(r.Orders, id)
			continue
		}
		if l.Version.Number, err = s.nextVersion(model.Lineage{Name: name}); err != nil {
			return err
		}
		if err := s.promote(dir, l, false, func(model.Paths) {}); err != nil {
			return err
		}
		r.Finished = append(r.Finished, l.Version.Number)
	}
	return nil
}

// repairVersions finishes versions that were not, and leads live to the newest.
func (s *Store) repairVersions(name string, r *Repaired) error {
	versions, err := s.Versions(name)
	if err != nil || len(versions) == 0 {
		return err
	}
	newest := versions[len(versions)-1]
	current, err := s.Lineage(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, n := range versions[:len(versions)-1] {
		// A later version stands above it: what it had to say is outdated.
		if err := removeIfThere(filepath.Join(s.versionDir(name, n), staged)); err != nil {
			return err
		}
	}
	if s.damaged(current, newest) {
		return nil
	}
	if s.inOrder(current, newest) {
		return removeIfThere(filepath.Join(s.versionDir(name, newest), staged))
	}
	l, err := s.stagedLineage(name, newest, current)
	if err != nil {
		return err
	}
	if err := s.finish(l, false); err != nil {
		return err
	}
	r.Finished = append(r.Finished, newest)
	return nil
}

// damaged says that the newest version was finished once, and has lost files since.
// Only another version mends that; this one stays as it is.
func (s *Store) damaged(l model.Lineage, newest int) bool {
	return l.Version != nil && l.Version.Number >= newest && s.CheckFiles(l) != nil
}

// inOrder says whether live and the lineage both name the newest version.
func (s *Store) inOrder(l model.Lineage, newest int) bool {
	live, err := s.Live(l.Name)
	return err == nil && live == newest && l.Version != nil && l.Version.Number >= newest
}

// stagedLineage is the lineage as it has to be with the newest version: as it
// was staged, or else as it is, with what the certificate itself says.
func (s *Store) stagedLineage(name string, newest int, current model.Lineage) (model.Lineage, error) {
	dir := s.versionDir(name, newest)
	l, err := readLineage(filepath.Join(dir, staged), name)
	known := current.Version != nil && current.Version.Number >= newest
	switch {
	case known || errors.Is(err, fs.ErrNotExist) && current.Name != "":
		l = current
	case err != nil:
		return l, fmt.Errorf("version %s of %s was not finished, and nothing says how it was obtained: %w", versionName(newest), name, err)
	}
	leaf, err := verifyDir(dir, nil)
	if err != nil {
		return l, fmt.Errorf("version %s of %s was not finished and cannot be: %w; move %s away to keep the version before it", versionName(newest), name, err, dir)
	}
	if !known {
		l.Version = versionOf(leaf, newest)
	}
	return l, nil
}

// verifyDir checks that the four files of a directory fit together.
func verifyDir(dir string, want []model.Identifier) (*x509.Certificate, error) {
	issued, err := readIssued(dir)
	if err != nil {
		return nil, err
	}
	if len(issued.FullchainPEM) == 0 {
		return nil, fmt.Errorf("in %s: %s is empty", dir, fullchainFile)
	}
	public, err := publicKey(dir)
	if err != nil {
		return nil, err
	}
	leaf, _, err := verify(issued, public, want)
	if err != nil {
		return nil, fmt.Errorf("in %s: %w", dir, err)
	}
	return leaf, nil
}

// Leftovers gives the names of lineages for [Store.Repair] that have temporary
// files beside their state, or whose deletion was cut short, sorted. It does not
// look at what belongs to an order or a deployment: that is in the journal.
func (s *Store) Leftovers() ([]string, error) {
	dir, err := os.Open(s.path("lineages"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, disk.Error("list", s.path("lineages"), err)
	}
	entries, err := dir.Readdirnames(-1) // no more than names: there may be many
	if err = errors.Join(err, dir.Close()); err != nil {
		return nil, disk.Error("list", s.path("lineages"), err)
	}
	var names []string
	for _, entry := range entries {
		if strings.HasPrefix(entry, ".") && anyTemp.MatchString(entry) {
			entry = entry[1:strings.LastIndex(entry, ".tmp-")]
		} else if !strings.HasSuffix(entry, deletedSuffix) {
			continue
		}
		name, ok := strings.CutSuffix(entry, deletedSuffix)
		if !ok {
			name, ok = strings.CutSuffix(entry, ".json")
		}
		if ok && nameRE.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
