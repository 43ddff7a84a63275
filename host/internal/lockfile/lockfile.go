// Package lockfile keeps plugins.lock: which plugin binaries may run, by their
// hash, and what each was granted. Users commit the file; distributions ship
// fragments for the plugins that they package.
package lockfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

const (
	// FileName of the lock in the configuration directory.
	FileName = "plugins.lock"
	// FragmentDir is where packages of a distribution put theirs, each a file
	// *.lock of the same form.
	FragmentDir = "/usr/lib/certwright/plugins.lock.d"

	version = 1
	maxSize = 4 << 20
)

// Plugin is what is locked of one plugin.
type Plugin struct {
	Version string `json:"version"`
	// Origin is where the binary was found when it was locked.
	Origin string `json:"origin,omitempty"`
	// Script: the interpreter and what the script loads are not part of the
	// hash.
	Script bool `json:"script,omitempty"`
	// SHA256 of the binary by platform (linux/amd64), hexadecimal.
	SHA256 map[string]string `json:"sha256"`
	// Permissions as they were granted.
	Permissions sdk.Permissions `json:"permissions"`

	// file that the entry is from.
	file string
}

type document struct {
	Version int                `json:"v"`
	Plugins map[string]*Plugin `json:"plugins"`
}

// Lock is the user's file with the fragments. The zero value locks nothing.
type Lock struct {
	path string
	// whole: there is a file of the user's, so that what no file names is
	// refused. Without one, fragments hold for the plugins that they name.
	whole   bool
	own     document
	plugins map[string]*Plugin
}

// Read reads the lock of a configuration directory. A file that is not there is
// none. The user's entry counts before that of a fragment; of two fragments the
// one whose file sorts first.
func Read(configDir, fragmentDir string) (*Lock, error) {
	l := &Lock{path: filepath.Join(configDir, FileName), plugins: map[string]*Plugin{}}
	own, err := readFile(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		l.whole, l.own = true, own
		l.merge(own)
	}
	fragments, err := filepath.Glob(filepath.Join(fragmentDir, "*.lock"))
	if err != nil {
		return nil, fmt.Errorf("look for fragments in %s: %w", fragmentDir, err)
	}
	slices.Sort(fragments)
	for _, path := range fragments {
		d, err := readFile(path)
		if err != nil {
			return nil, err
		}
		l.merge(d)
	}
	return l, nil
}

func (l *Lock) merge(d document) {
	for name, p := range d.Plugins {
		if l.plugins[name] == nil {
			l.plugins[name] = p
		}
	}
}

func readFile(path string) (document, error) {
	var d document
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxSize {
		err = fmt.Errorf("it has %d bytes, which no lock file needs", info.Size())
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return d, fmt.Errorf("read the lock file %s: %w", path, err)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return d, damaged(path, fmt.Errorf("%s: %w", place(data, err), err))
	}
	if d.Version > version {
		return d, sdk.Hint(fmt.Errorf("the lock file %s has format %d, of a newer version; this one reads up to %d", path, d.Version, version),
			"update certwright")
	}
	if d.Version < 1 {
		return d, damaged(path, errors.New(`it has no format number "v"`))
	}
	for name, p := range d.Plugins {
		if p == nil || len(p.SHA256) == 0 {
			return d, damaged(path, fmt.Errorf("plugin %s has no sha256", name))
		}
		p.file = path
	}
	return d, nil
}

func damaged(path string, err error) error {
	return sdk.Hint(fmt.Errorf("the lock file %s cannot be used: %w", path, err),
		"take it from your version control, or remove it and run: certwright plugins lock")
}

// place is the line of a mistake in JSON.
func place(data []byte, err error) string {
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	offset := int64(len(data))
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &wrongType):
		offset = wrongType.Offset
	}
	return fmt.Sprintf("line %d", 1+bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n")))
}

// Path of the user's file, whether it is there or not.
func (l *Lock) Path() string { return l.path }

// Names of the plugins that are locked, sorted.
func (l *Lock) Names() []string {
	out := make([]string, 0, len(l.plugins))
	for name := range l.plugins {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Covers says whether the lock decides about a plugin: what the user's file does
// not name is refused.
func (l *Lock) Covers(name string) bool { return l.whole || l.plugins[name] != nil }

// Files that the lock was read from.
func (l *Lock) Files() []string {
	var out []string
	if l.whole {
		out = append(out, l.path)
	}
	for _, p := range l.plugins {
		if !slices.Contains(out, p.file) {
			out = append(out, p.file)
		}
	}
	slices.Sort(out)
	return out
}

// File that locks a plugin; empty: none does.
func (l *Lock) File(name string) string {
	if p := l.plugins[name]; p != nil {
		return p.file
	}
	return ""
}

// Version of a plugin that is locked; empty: it is not.
func (l *Lock) Version(name string) string {
	if p := l.plugins[name]; p != nil {
		return p.Version
	}
	return ""
}

// Set locks a plugin in the user's file. Hashes of other platforms stay if the
// version is the same: they belong to the same release.
func (l *Lock) Set(name, platform, sum string, p Plugin) {
	p.SHA256 = map[string]string{}
	if before := l.own.Plugins[name]; before != nil && before.Version == p.Version {
		for other, sum := range before.SHA256 {
			p.SHA256[other] = sum
		}
	}
	p.SHA256[platform] = sum
	p.file = l.path
	if l.own.Plugins == nil {
		l.own.Plugins = map[string]*Plugin{}
	}
	l.own.Plugins[name], l.plugins[name] = &p, &p
	l.whole = true
}

// Write replaces the user's file in one step.
func (l *Lock) Write() error {
	l.own.Version = version
	data, err := json.MarshalIndent(l.own, "", "  ")
	if err == nil {
		err = renameio.WriteFile(l.path, append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the lock file %s: %w", l.path, err)
	}
	return nil
}

// grown gives what a plugin asks for and was not granted.
func grown(granted, asked sdk.Permissions) []string {
	have := model.PermissionLines(granted)
	if slices.Contains(have, model.Unconfined) {
		return nil // everything was
	}
	return slices.DeleteFunc(model.PermissionLines(asked), func(line string) bool { return slices.Contains(have, line) })
}
