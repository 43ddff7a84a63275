package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// binaryPrefix and the plugin's name make the name of its binary.
const binaryPrefix = "certwright-plugin-"

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// SearchPath gives the directories to search for plugins, in order: those of
// --plugin-dir, those of CERTWRIGHT_PLUGIN_PATH (env, a list as in PATH),
// ../libexec/certwright/plugins beside the executable with its links resolved,
// /usr/local/libexec/certwright/plugins and /usr/libexec/certwright/plugins.
func SearchPath(flagDirs []string, env string, executable string) []string {
	dirs := slices.Concat(flagDirs, filepath.SplitList(env))
	if executable != "" {
		if resolved, err := filepath.EvalSymlinks(executable); err == nil {
			executable = resolved
		}
		dirs = append(dirs, filepath.Join(filepath.Dir(executable), "..", "libexec", "certwright", "plugins"))
	}
	dirs = append(dirs, "/usr/local/libexec/certwright/plugins", "/usr/libexec/certwright/plugins")

	var out []string
	for _, d := range dirs {
		// An empty entry of a list would be the working directory.
		if d == "" {
			continue
		}
		if d = filepath.Clean(d); !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// Found is one plugin binary.
type Found struct {
	Name string
	// Path is where it was found, links not resolved.
	Path string
	// Refused says why it will not be executed; nil if it is trusted.
	Refused error
}

// List gives every plugin that can be found, sorted by name. What an earlier
// directory shadows is left out.
func (h *Host) List() []Found {
	seen := h.foundInDev()
	for _, dir := range h.opts.Dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			h.log.Warn("cannot look for plugins", "error", err)
		}
		for _, e := range entries {
			name, ok := strings.CutPrefix(e.Name(), binaryPrefix)
			if _, shadowed := seen[name]; !ok || shadowed || !namePattern.MatchString(name) || e.IsDir() {
				continue
			}
			found := Found{Name: name, Path: filepath.Join(dir, e.Name())}
			b, err := h.open(found.Path)
			if err == nil {
				_ = b.file.Close()
			}
			found.Refused = err
			seen[name] = found
		}
	}
	out := make([]Found, 0, len(seen))
	for _, f := range seen {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Found) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// find gives the path in the first directory that has the plugin.
func (h *Host) find(plugin string) (string, error) {
	if !namePattern.MatchString(plugin) {
		return "", fmt.Errorf("%q cannot be the name of a plugin: use lower-case letters, digits and dashes", plugin)
	}
	if path, ok := h.opts.Dev.Binaries[plugin]; ok {
		return path, nil
	}
	for _, dir := range h.opts.Dirs {
		path := filepath.Join(dir, binaryPrefix+plugin)
		fi, err := os.Lstat(path)
		switch {
		case err == nil && !fi.IsDir():
			return path, nil
		case err == nil, errors.Is(err, fs.ErrNotExist), isNotDirectory(err):
			continue
		}
		// What cannot be seen may be the one that counts.
		return "", fmt.Errorf("look for plugin %s: %w; make the directory readable or take it off the search path", plugin, err)
	}
	return "", &NotFoundError{Plugin: plugin, Searched: h.opts.Dirs}
}

// Binary is an open plugin binary that is trusted.
type Binary struct{ *binary }

// Open gives the binary of a plugin, to be read. Close it.
func (h *Host) Open(plugin string) (Binary, error) {
	path, err := h.find(plugin)
	if err != nil {
		return Binary{}, err
	}
	b, err := h.open(path)
	return Binary{b}, err
}

// Script says whether another program, which is not part of it, interprets it.
func (b Binary) Script() bool { return b.script }

// ReadAt implements io.ReaderAt.
func (b Binary) ReadAt(p []byte, at int64) (int, error) { return b.file.ReadAt(p, at) }

// Close the file.
func (b Binary) Close() error { return b.file.Close() }

// NotFoundError says that no directory holds a plugin.
type NotFoundError struct {
	Plugin   string
	Searched []string
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("plugin %s was not found: %s", e.Plugin, e.Where())
}

// Where tells where it was looked for.
func (e *NotFoundError) Where() string {
	if len(e.Searched) == 0 {
		return "no directory is searched"
	}
	return fmt.Sprintf("there is no %s%s in %s", binaryPrefix, e.Plugin, strings.Join(e.Searched, ", "))
}

// Hint says what to do.
func (e *NotFoundError) Hint() string {
	return "check the name with `certwright plugins list`, install the plugin, or name its directory with --plugin-dir"
}
