package pluginhost

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/internal/sandbox"
)

// enclose takes what is private out of what a process may reach, and adds
// directories that it may use as it likes.
func (h *Host) enclose(p *sandbox.Policy, own ...string) error {
	c := p.Confinement
	if c == nil {
		return nil
	}
	real := realPaths{}
	for _, dir := range h.opts.Shared {
		dir = real.of(dir)
		if !slices.ContainsFunc(c.Read, func(path string) bool { return holds(real.of(path), dir) }) {
			continue
		}
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil { //nolint:gosec // servers read what is in it
				return err
			}
		}
	}
	var private []string
	for _, path := range append([]string{h.opts.StateDir}, h.opts.Private...) {
		private = append(private, real.of(path))
	}
	// What the user has named to be written is his word: a directory that cannot
	// have new files would be no use.
	c.Read, c.Execute = real.around(c.Read, private), real.around(c.Execute, private)
	c.Write = append(c.Write, own...)
	return nil
}

// around gives paths by which all can be reached that the given ones hold, less
// what is private, of which the real paths are given. The kernel's rules can grant
// and not take back; so a directory with something private in it is granted as what
// else is in it now. It cannot be listed itself then.
func (r realPaths) around(paths, private []string) []string {
	var out []string
	for _, p := range paths {
		target := r.of(p)
		switch {
		case slices.ContainsFunc(private, func(q string) bool { return holds(q, target) }):
		case slices.ContainsFunc(private, func(q string) bool { return holds(target, q) }):
			out = append(out, spread(target, private)...)
		default:
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// spread gives what is in a directory that holds something private. One that
// cannot be listed gives nothing.
func spread(dir string, private []string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		link := e.Type()&fs.ModeSymlink != 0
		target := path
		if link {
			if target, err = filepath.EvalSymlinks(path); err != nil {
				continue
			}
		}
		switch {
		case slices.ContainsFunc(private, func(q string) bool { return holds(q, target) }):
		case !slices.ContainsFunc(private, func(q string) bool { return holds(target, q) }):
			out = append(out, path)
		case !link: // a link to a directory above is granted by that directory's own name
			out = append(out, spread(path, private)...)
		}
	}
	return out
}

// holds says whether path is dir or in it.
func holds(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// realPaths resolves symbolic links as far as there is something, and looks at each
// directory once: most paths of a process are in the same few. It is for one
// process; by the next one links may lead elsewhere.
type realPaths map[string]string

func (r realPaths) of(path string) string {
	target, known := r[path]
	if !known {
		target = r.resolve(path)
		r[path] = target
	}
	return target
}

func (r realPaths) resolve(path string) string {
	if clean := filepath.Clean(path); clean != path { // what a/.. is depends on where a leads
		if target, err := filepath.EvalSymlinks(path); !errors.Is(err, fs.ErrNotExist) {
			return cmp.Or(target, path)
		}
		return r.of(clean)
	}
	dir := filepath.Dir(path)
	if dir == path {
		return path
	}
	target := filepath.Join(r.of(dir), filepath.Base(path))
	info, err := os.Lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return target
	case err != nil:
		return path
	case info.Mode()&fs.ModeSymlink == 0:
		return target
	}
	end, err := filepath.EvalSymlinks(target)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it leads nowhere
		return target
	case err != nil:
		return path
	}
	return end
}
