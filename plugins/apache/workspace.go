package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk/checkpoint"
)

// workspace is the configuration's files as they are to be: what is on disk,
// with changes that nobody has written yet.
type workspace struct {
	// base has files as they are without what challenges have put into them.
	base map[string]string
	// texts and links are what is to be written, by the real path.
	texts map[string]string
	links map[string]string
	// modes of files that are new.
	modes map[string]fs.FileMode
}

func newWorkspace(base map[string]string) *workspace {
	return &workspace{base: base, texts: map[string]string{}, links: map[string]string{}, modes: map[string]fs.FileMode{}}
}

// real follows symlinks, those that are yet to be made too.
func (w *workspace) real(path string) (string, error) {
	if target, ok := w.links[path]; ok {
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	path, err := checkpoint.Resolve(path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// original is what a file holds before our changes.
func (w *workspace) original(real string) (string, error) {
	if text, ok := w.base[real]; ok {
		return text, nil
	}
	data, err := os.ReadFile(real)
	return string(data), err
}

func (w *workspace) read(real string) (string, error) {
	if text, ok := w.texts[real]; ok {
		return text, nil
	}
	return w.original(real)
}

func (w *workspace) exists(path string) bool {
	real, err := w.real(path)
	if err != nil {
		return false
	}
	if _, ok := w.texts[real]; ok {
		return true
	}
	_, err = os.Stat(real)
	return err == nil
}

// entries lists a directory, with what is yet to be written there.
func (w *workspace) entries(dir string) []string {
	var out []string
	if on, err := os.ReadDir(dir); err == nil {
		for _, e := range on {
			out = append(out, e.Name())
		}
	}
	for _, paths := range []map[string]string{w.texts, w.links} {
		for path := range paths {
			if filepath.Dir(path) == dir {
				out = append(out, filepath.Base(path))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (w *workspace) isDir(path string) bool {
	if _, ok := w.links[path]; ok {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

const maxDepth = 128 // of includes and of directories, as httpd's

// included gives the files that an Include's argument means, in httpd's order.
func (w *workspace) included(pattern string) []string {
	if !strings.ContainsAny(pattern, "*?[") {
		return w.below(pattern, 0)
	}
	paths := []string{"/"}
	for part := range strings.SplitSeq(strings.Trim(filepath.Clean(pattern), "/"), "/") {
		var next []string
		for _, dir := range paths {
			if !strings.ContainsAny(part, "*?[") {
				next = append(next, filepath.Join(dir, part))
				continue
			}
			for _, name := range w.entries(dir) {
				if matches(part, name) {
					next = append(next, filepath.Join(dir, name))
				}
			}
		}
		paths = next
	}
	var out []string
	for _, path := range paths {
		out = append(out, w.below(path, 0)...)
	}
	return out
}

// matches is apr_fnmatch with APR_FNM_PERIOD.
func matches(pattern, name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") {
		return false
	}
	ok, err := filepath.Match(strings.ReplaceAll(pattern, "[!", "[^"), name)
	return err == nil && ok
}

// below is a file itself, or all that are in a directory.
func (w *workspace) below(path string, depth int) []string {
	if !w.isDir(path) {
		if w.exists(path) {
			return []string{path}
		}
		return nil
	}
	if depth > maxDepth {
		return nil
	}
	var out []string
	for _, name := range w.entries(path) {
		out = append(out, w.below(filepath.Join(path, name), depth+1)...)
	}
	return out
}

// put notes what a file is to hold.
func (w *workspace) put(real, text string) { w.texts[real] = text }

// link notes a symlink that is to be made.
func (w *workspace) link(path, target string) { w.links[path] = target }

// changes lists the files whose content is to be another, sorted.
func (w *workspace) changes() ([]string, error) {
	var out []string
	for path, text := range w.texts {
		was, err := w.original(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || was != text {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out, nil
}

// newLinks lists the symlinks that are not there yet, sorted.
func (w *workspace) newLinks() []string {
	var out []string
	for path, target := range w.links {
		if now, err := os.Readlink(path); err != nil || now != target {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

// changed says whether there is anything to write.
func (w *workspace) changed() (bool, error) {
	files, err := w.changes()
	return len(files)+len(w.newLinks()) > 0, err
}

// diff is what would be written, as a unified diff.
func (w *workspace) diff() (string, error) {
	files, err := w.changes()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, path := range files {
		was, err := w.original(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		var before []byte
		if err == nil {
			before = []byte(was)
		}
		out.WriteString(checkpoint.Diff(path, before, []byte(w.texts[path])))
	}
	for _, path := range w.newLinks() {
		out.WriteString(checkpoint.Diff(path, nil, []byte("-> "+w.links[path]+"\n")))
	}
	// It travels as text; a configuration may hold bytes of any kind.
	return strings.ToValidUTF8(out.String(), "?"), nil
}

// write brings all changes to disk through a draft. Files come before the
// symlinks and includes that lead to them: whoever reads in between finds the
// old configuration or one that is whole.
func (w *workspace) write(ctx context.Context, begin func() (*checkpoint.Draft, error)) ([]string, error) {
	files, err := w.changes()
	if err != nil {
		return nil, err
	}
	links := w.newLinks()
	if len(files)+len(links) == 0 {
		return nil, nil
	}
	draft, err := begin()
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(files, func(a, b string) int { return w.age(a) - w.age(b) })
	for _, path := range files {
		mode := fs.FileMode(0)
		if w.age(path) == 0 {
			if mode = w.modes[path]; mode == 0 {
				mode = 0o644
			}
		}
		if err := draft.WriteFile(ctx, path, []byte(w.texts[path]), checkpoint.Attributes{Mode: mode}); err != nil {
			return nil, err
		}
	}
	for _, path := range links {
		if err := draft.Symlink(ctx, w.links[path], path); err != nil {
			return nil, fmt.Errorf("enable %s: %w", filepath.Base(path), err)
		}
	}
	return slices.Concat(files, links), nil
}

// age is 0 for a file that is new.
func (w *workspace) age(path string) int {
	if _, err := os.Lstat(path); err != nil {
		return 0
	}
	return 1
}

// modeLike gives a new file the mode of another: what one copies may be secret.
func (w *workspace) modeLike(path, other string) {
	if info, err := os.Stat(other); err == nil {
		w.modes[path] = info.Mode().Perm()
	}
}
