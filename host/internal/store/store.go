package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/host/internal/disk"
	"github.com/certwright/certwright/sdk"
)

// formatVersion is of the layout and of every JSON file in it. There is no
// older one yet; the next major also reads this.
const formatVersion = 1

// ErrNewer is wrapped by errors about what a newer certwright has written.
var ErrNewer = errors.New("written by a newer certwright")

// ErrReadOnly is wrapped by what changes something in a store of [OpenReadOnly].
var ErrReadOnly = errors.New("the state directory was opened for reading only")

// Store is a state directory. It is safe for concurrent use, within the rules
// on locks in the package documentation.
type Store struct {
	dir      string
	readOnly bool

	mu       sync.Mutex
	prepared bool
	left     map[string][]string // see leftovers

	// step is told of every change on disk that has just become visible; tests
	// stop the process there.
	step func(string)
}

// Open opens a state directory for writing. It creates nothing: the first
// write does. It fails at once if that write could not succeed, or if a newer
// certwright has written the directory.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the state directory %s: %w", dir, err)
	}
	if err := writable(abs); err != nil {
		return nil, disk.Error("use the state directory", abs, err)
	}
	s, err := OpenReadOnly(abs)
	if err != nil {
		return nil, err
	}
	s.readOnly = false
	return s, nil
}

// OpenReadOnly opens a state directory for reading. A directory that does not
// exist holds nothing.
func OpenReadOnly(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the state directory %s: %w", dir, err)
	}
	s := &Store{dir: abs, readOnly: true, step: func(string) {}}
	if err := s.checkFormat(); err != nil {
		return nil, err
	}
	return s, nil
}

// OnStep has f told of every change on disk that has just become visible. It is
// there for tests that stop the process at each, and MUST be called before the
// store is used.
func (s *Store) OnStep(f func(step string)) { s.step = f }

// Dir is the state directory, absolute.
func (s *Store) Dir() string { return s.dir }

type format struct {
	V int `json:"v"`
}

func (s *Store) checkFormat() error {
	var f format
	err := readJSON(s.path("format.json"), &f, &f.V)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// writable says whether dir can be written to, or made in the nearest parent
// that exists. It asks the kernel, so that root, capabilities, ACLs and
// read-only mounts are all answered for.
func writable(dir string) error {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return &fs.PathError{Op: "use", Path: dir, Err: unix.ENOTDIR}
		case err == nil:
			return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		dir = filepath.Dir(dir)
	}
}

// prepare makes the tree before the first write of this process.
func (s *Store) prepare() error {
	if s.readOnly {
		return fmt.Errorf("write to %s: %w", s.dir, ErrReadOnly)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.prepared {
		return nil
	}
	for _, dir := range []string{"", "accounts", "archive", "live", "deployed", "lineages", "locks"} {
		if err := makeDir(s.path(dir), 0o700); err != nil {
			return err
		}
	}
	if err := s.writeFormat(); err != nil {
		return err
	}
	s.prepared = true
	return nil
}

// writeFormat holds a lock because several processes may be the first one, and
// each would sweep the others' temporary file.
func (s *Store) writeFormat() error {
	unlock, err := s.flockFile("format", unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	path := s.path("format.json")
	if _, err := os.Lstat(path); err == nil {
		return s.checkFormat()
	}
	if err := sweep(s.dir, "format.json"); err != nil {
		return err
	}
	return s.writeJSON(path, format{V: formatVersion})
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// maxName leaves room for suffixes in the 255 bytes that file systems allow.
const maxName = 230

var nameRE = regexp.MustCompile(`^[a-z0-9_-][a-z0-9._-]*$`)

// checkName keeps names from leading out of their directory, and from being
// mistaken for our own files, which begin with a dot.
func checkName(kind, name string) error {
	if len(name) > maxName {
		return sdk.Hint(fmt.Errorf("the %s name %.40s... has %d characters, and a file name can take %d", kind, name, len(name), maxName),
			"choose a shorter name, for a certificate by --cert-name")
	}
	if !nameRE.MatchString(name) {
		return fmt.Errorf("the %s name %q is not made of a-z, 0-9, '.', '_' and '-', or begins with a dot", kind, name)
	}
	return nil
}

// readJSON reads a file that carries a format version, which is in v and to
// which version leads. Ten thousand of them are read to decide what is due, so
// each is decoded once; only where that fails is the version alone looked for,
// since a newer format may have changed anything else.
func readJSON(path string, v any, version *int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return disk.Error("read", path, err)
	}
	wrong := json.Unmarshal(data, v)
	f := format{V: *version}
	if wrong != nil {
		f = format{}
		if err := json.Unmarshal(data, &f); err != nil {
			return brokenFile(path, err)
		}
	}
	switch {
	case f.V > formatVersion:
		return sdk.Hint(fmt.Errorf("read %s: format %d is %w (this one knows %d)", path, f.V, ErrNewer, formatVersion),
			"run the certwright that wrote it, or a newer one, or choose another state directory with --state-dir")
	case f.V < 1:
		return brokenFile(path, errors.New(`it has no format version "v"`))
	case wrong != nil:
		return brokenFile(path, wrong)
	}
	return nil
}

func brokenFile(path string, err error) error {
	return sdk.Hint(fmt.Errorf("read %s: the file is broken: %w", path, err), "restore %s from a backup, or move it away", path)
}

func (s *Store) writeJSON(path string, v any) error {
	data, err := encodeJSON(path, v)
	if err != nil {
		return err
	}
	return s.write(path, data)
}

func encodeJSON(path string, v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", path, err)
	}
	return append(data, '\n'), nil
}
