package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// file of a configuration.
type file struct {
	// path as the configuration names it; real is where it is, symlinks followed.
	path string
	real string
	src  string
	root *block
	// eol and unit: how lines end and are indented here.
	eol  string
	unit string
}

// changed says whether an edit has left something other than what was read.
func (f *file) changed() bool { return f.root.print() != f.src }

// configuration is what nginx reads: the main file and all that it includes.
type configuration struct {
	dir   string
	main  *file
	files map[string]*file
	// included counts the places from which a file is included.
	included map[string]int
	// warnings name files that could not be understood.
	warnings []string
	// layer is read instead of the disk, by real path.
	layer   map[string][]byte
	servers []*server
	// http is the first http block, where it is.
	http *place
}

// place is a directive and where it stands.
type place struct {
	file *file
	in   *block
	node *node
}

// load reads a configuration. Included files that are not understood are left
// out with a warning; the main one must be.
func load(ctx context.Context, path string, layer map[string][]byte) (*configuration, error) {
	c := &configuration{
		dir: filepath.Dir(path), files: map[string]*file{}, included: map[string]int{}, layer: layer,
	}
	f, err := c.open(path)
	if err != nil {
		err = sdk.WithCode(fmt.Errorf("read the configuration of nginx, %s: %w", path, err), sdk.InvalidConfig)
		return nil, sdk.Hint(err, "mend the file, or name the right one in the setting config")
	}
	c.main = f
	if err := c.collect(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *configuration) open(path string) (*file, error) {
	resolved, err := checkpoint.Resolve(path)
	if err != nil {
		return nil, err
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(resolved)); err == nil {
		resolved = filepath.Join(dir, filepath.Base(resolved))
	}
	if f, ok := c.files[resolved]; ok {
		return f, nil
	}
	data, ok := c.layer[resolved]
	if !ok {
		if data, err = os.ReadFile(resolved); err != nil {
			return nil, err
		}
	}
	f := &file{path: path, real: resolved, src: string(data)}
	if f.root, err = parse(f.src); err != nil {
		return nil, err
	}
	f.style(f.src)
	c.files[resolved] = f
	return f, nil
}

// each visits the directives of a block and of what it includes, in the order in
// which nginx reads them.
func (c *configuration) each(f *file, b *block, visit func(place)) {
	c.walk(f, b, []*file{f}, visit)
}

func (c *configuration) walk(f *file, b *block, within []*file, visit func(place)) {
	for _, n := range slices.Clone(b.nodes) {
		if n.name() != "include" || n.isBlock() || len(n.words) != 2 {
			visit(place{file: f, in: b, node: n})
			continue
		}
		for _, included := range c.include(n.arg(1)) {
			if !slices.Contains(within, included) { // nginx refuses a loop, and says so
				c.walk(included, included.root, append(within, included), visit)
			}
		}
	}
}

// include gives the files of an include directive.
func (c *configuration) include(pattern string) []*file {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(c.dir, pattern)
	}
	paths := []string{pattern}
	if strings.ContainsAny(pattern, "*?[") {
		paths = matching(pattern)
	}
	var out []*file
	for _, path := range paths {
		f, err := c.open(path)
		if err != nil {
			c.warn(path, err)
			continue
		}
		out = append(out, f)
	}
	return out
}

// matching gives what nginx finds for a pattern: as glob(3) has it, "*" does not
// begin with a dot, and "[!a]" is any other character.
func matching(pattern string) []string {
	pattern = strings.ReplaceAll(filepath.Clean(pattern), "[!", "[^")
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil // nginx takes a pattern that is none as one that nothing matches
	}
	wanted := strings.Split(pattern, "/")
	found = slices.DeleteFunc(found, func(path string) bool {
		for i, part := range strings.Split(path, "/") {
			if strings.HasPrefix(part, ".") && i < len(wanted) && !strings.HasPrefix(wanted[i], ".") {
				return true
			}
		}
		return false
	})
	slices.Sort(found)
	return found
}

func (c *configuration) warn(path string, err error) {
	var syntax *syntaxError
	text := fmt.Sprintf("%s is left out of account: %v", path, err)
	if errors.As(err, &syntax) {
		text = fmt.Sprintf("%s is left out of account, because it is not understood: %v", path, syntax)
	}
	if !slices.Contains(c.warnings, text) {
		c.warnings = append(c.warnings, strings.ToValidUTF8(text, "?"))
	}
}

// changes gives the files that edits have changed, sorted.
func (c *configuration) changes() []*file {
	var out []*file
	for _, f := range c.files {
		if f.changed() {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *file) int { return strings.Compare(a.real, b.real) })
	return out
}

// edited reads the configuration again as it is with the edits.
func (c *configuration) edited(ctx context.Context) (*configuration, error) {
	layer := map[string][]byte{}
	for path, data := range c.layer {
		layer[path] = data
	}
	for _, f := range c.changes() {
		layer[f.real] = []byte(f.root.print())
	}
	return load(ctx, c.main.path, layer)
}
