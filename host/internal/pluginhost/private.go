package pluginhost

import (
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
	for _, dir := range h.opts.Shared {
		dir = realPath(dir)
		if !slices.ContainsFunc(c.Read, func(path string) bool { return holds(realPath(path), dir) }) {
			continue
		}
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil { //nolint:gosec // servers read what is in it
				return err
			}
		}
	}
	private := append([]string{h.opts.StateDir}, h.opts.Private...)
	// What the user has named to be written is his word: a directory that cannot
	// have new files would be no use.
	c.Read, c.Execute = around(c.Read, private), around(c.Execute, private)
	c.Write = append(c.Write, own...)
	return nil
}

// around gives paths by which all can be reached that the given ones hold, less
// what is private. The kernel's rules can grant and not take back; so a directory
// with something private in it is granted as what else is in it now. It cannot be
// listed itself then.
func around(paths, private []string) []string {
	real := make([]string, 0, len(private))
	for _, p := range private {
		real = append(real, realPath(p))
	}
	var out []string
	for _, p := range paths {
		target := realPath(p)
		switch {
		case slices.ContainsFunc(real, func(q string) bool { return holds(q, target) }):
		case slices.ContainsFunc(real, func(q string) bool { return holds(target, q) }):
			out = append(out, spread(target, real)...)
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

// realPath resolves symbolic links as far as there is something.
func realPath(path string) string {
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		return target
	}
	if dir := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && dir != path {
		return filepath.Join(realPath(dir), filepath.Base(path))
	}
	return path
}
