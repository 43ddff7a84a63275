package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/host/internal/model"
)

type lineageFile struct {
	V int `json:"v"`
	model.Lineage
}

// Lineage gives what is kept of a certificate; the error wraps fs.ErrNotExist
// if there is none of that name.
func (s *Store) Lineage(name string) (model.Lineage, error) {
	if err := checkName("certificate", name); err != nil {
		return model.Lineage{}, err
	}
	return readLineage(s.lineagePath(name), name)
}

func readLineage(path, name string) (model.Lineage, error) {
	var f lineageFile
	if err := readJSON(path, &f, &f.V); err != nil {
		return model.Lineage{}, fmt.Errorf("certificate %s: %w", name, err)
	}
	if f.Name != name {
		return model.Lineage{}, brokenFile(path, fmt.Errorf("it is of certificate %q", f.Name))
	}
	return f.Lineage, nil
}

// Lineages gives all lineages, sorted by name. One that cannot be read is named
// in the error and does not hide the others. Of thousands most were obtained by
// the same instances: these are kept once, with the events that they wanted, and
// MUST NOT be changed in place.
func (s *Store) Lineages() ([]model.Lineage, error) {
	entries, err := readDir(s.path("lineages"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && nameRE.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	read := make([]model.Lineage, len(names))
	errs := make([]error, len(names))
	var readers sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(names))
	for w := range workers {
		readers.Go(func() {
			var before model.Lineage
			for i := w; i < len(names); i += workers {
				l, err := s.Lineage(names[i])
				if reflect.DeepEqual(l.Instances, before.Instances) {
					l.Instances = before.Instances
				}
				if reflect.DeepEqual(l.Events, before.Events) {
					l.Events = before.Events
				}
				read[i], errs[i], before = l, err, l
			}
		})
	}
	readers.Wait()
	lineages := read[:0]
	var failed []error
	for i, err := range errs {
		switch {
		case errors.Is(err, fs.ErrNotExist): // deleted meanwhile
		case err != nil:
			failed = append(failed, err)
		default:
			lineages = append(lineages, read[i])
		}
	}
	return lineages, errors.Join(failed...)
}

// Names gives every name that something is on disk of, sorted: of lineages, of
// first orders that were never finished, and of deletions cut short. They are
// what [Store.Repair] is for.
func (s *Store) Names() ([]string, error) {
	var names []string
	for _, dir := range []string{"lineages", "archive", "live"} {
		entries, err := readDir(s.path(dir))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name, known := e.Name(), dir != "lineages"
			for _, suffix := range []string{".json", deletedSuffix} {
				if base, ok := strings.CutSuffix(name, suffix); ok && dir == "lineages" {
					name, known = base, true
					break
				}
			}
			if known && nameRE.MatchString(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// SaveLineage stores what is known of a lineage, without touching its versions.
func (s *Store) SaveLineage(l model.Lineage) error {
	if err := s.change(l.Name); err != nil {
		return err
	}
	return s.saveLineage(l)
}

func (s *Store) saveLineage(l model.Lineage) error {
	return s.writeJSON(s.lineagePath(l.Name), lineageFile{V: formatVersion, Lineage: l})
}

// change is before the first write of a lineage. A deletion that was cut short
// is completed first: it would otherwise take away what is written now.
func (s *Store) change(name string) error {
	if err := checkName("certificate", name); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	return s.finishDelete(name)
}

// Versions lists the numbers of a lineage's versions, ascending.
func (s *Store) Versions(name string) ([]int, error) {
	if err := checkName("certificate", name); err != nil {
		return nil, err
	}
	entries, err := readDir(s.path("archive", name))
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		if n := versionNumber(e.Name()); n > 0 && e.IsDir() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Live gives the version that live/<name> leads to; the error wraps
// fs.ErrNotExist if there is none.
func (s *Store) Live(name string) (int, error) {
	if err := checkName("certificate", name); err != nil {
		return 0, err
	}
	return readLink(s.path("live", name), liveTarget(name, 0))
}

// LivePath is the link to the newest version.
func (s *Store) LivePath(name string) string { return s.path("live", name) }

// LivePaths are where the newest version is, for people and scripts.
func (s *Store) LivePaths(name string) model.Paths { return pathsIn(s.path("live", name)) }

// Read gives the PEM files of a version; 0 is the live one. All four are of the
// same version, even if the live one is switched meanwhile.
func (s *Store) Read(name string, version int) (model.Issued, error) {
	if err := checkName("certificate", name); err != nil {
		return model.Issued{}, err
	}
	if version == 0 {
		live, err := s.Live(name)
		if err != nil {
			return model.Issued{}, err
		}
		version = live
	}
	return readIssued(s.versionDir(name, version))
}

func readIssued(dir string) (model.Issued, error) {
	var i model.Issued
	paths := pathsIn(dir)
	for _, f := range []struct {
		path string
		to   *[]byte
	}{
		{paths.Cert, &i.LeafPEM}, {paths.Chain, &i.ChainPEM},
		{paths.Fullchain, &i.FullchainPEM}, {paths.Privkey, &i.KeyPEM},
	} {
		data, err := os.ReadFile(f.path)
		if f.path == paths.Privkey && errors.Is(err, fs.ErrNotExist) && ofRequest(dir) {
			continue
		}
		if err != nil {
			return model.Issued{}, disk.Error("read", f.path, err)
		}
		*f.to = data
	}
	return i, nil
}

// Files of a version; their names are certbot's.
const (
	certFile      = "cert.pem"
	chainFile     = "chain.pem"
	fullchainFile = "fullchain.pem"
	privkeyFile   = "privkey.pem"
)

func pathsIn(dir string) model.Paths {
	return model.Paths{
		Cert:      filepath.Join(dir, certFile),
		Chain:     filepath.Join(dir, chainFile),
		Fullchain: filepath.Join(dir, fullchainFile),
		Privkey:   filepath.Join(dir, privkeyFile),
	}
}

func (s *Store) lineagePath(name string) string { return s.path("lineages", name+".json") }

func (s *Store) versionDir(name string, version int) string {
	return s.path("archive", name, versionName(version))
}

func versionName(version int) string { return fmt.Sprintf("%04d", version) }

var versionRE = regexp.MustCompile(`^[0-9]{4,9}$`)

// versionNumber is 0 for what is not the directory of a version.
func versionNumber(dir string) int {
	n, err := strconv.Atoi(dir)
	if err != nil || !versionRE.MatchString(dir) || versionName(n) != dir {
		return 0
	}
	return n
}

// liveTarget is relative, so that the state directory can be moved or mounted
// elsewhere.
func liveTarget(name string, version int) string {
	return "../archive/" + name + "/" + versionName(version)
}

// readLink reads a symlink of ours and the version in it; like is a target of
// the same form.
func readLink(path, like string) (int, error) {
	target, err := os.Readlink(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, disk.Error("read the link", path, err)
	}
	if err == nil {
		if n := versionNumber(filepath.Base(target)); n > 0 && filepath.Dir(target) == filepath.Dir(like) {
			return n, nil
		}
		return 0, brokenFile(path, fmt.Errorf("it leads to %s, not to a version in %s", target, filepath.Dir(like)))
	}
	return 0, brokenFile(path, fmt.Errorf("it is not a symlink: %w", err))
}
