package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// configuration is what this plugin wants to know of haproxy's. It is read for
// that and never written.
type configuration struct {
	binds []bind
	sites []site
	// crtBase is what relative names of certificates begin with.
	crtBase string
}

// bind is one "bind" line.
type bind struct {
	file string
	line int
	// addresses as they are written, without those that depend on a variable.
	addresses []string
	ssl       bool
	// crts and crtLists are the paths after these words.
	crts, crtLists []string
	strictSNI      bool
	// closed to a plain client: it wants the PROXY protocol, or is in another
	// network namespace, or it depends on a condition whether it is there.
	closed bool
	// dual: an IPv6 wildcard that takes IPv4 too.
	dual bool
	// web: the section is in mode http.
	web bool
}

// site is a section that asks for names.
type site struct {
	section string
	file    string
	names   []string
	tls     bool
}

// section is a part of the configuration while it is read.
type section struct {
	kind, name, file string
	mode             string
	disabled         bool
	binds            []bind
	names            []string
}

// sectionKinds are the words that begin a section.
var sectionKinds = []string{
	"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "cache",
	"program", "ring", "http-errors", "log-forward", "log-profile", "fcgi-app", "crt-store", "traces", "acme",
}

// readConfiguration reads a file, or the .cfg files of a directory as haproxy
// does.
func readConfiguration(path string) (configuration, error) {
	files, err := configurationFiles(path)
	if err != nil {
		return configuration{}, err
	}
	var r reader
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return configuration{}, fmt.Errorf("read haproxy's configuration: %w", err)
		}
		r.read(file, string(data))
	}
	return r.end(), nil
}

func configurationFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read haproxy's configuration: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read haproxy's configuration: %w", err)
	}
	var out []string
	for _, e := range entries { // sorted
		if strings.HasSuffix(e.Name(), ".cfg") && !strings.HasPrefix(e.Name(), ".") && !e.IsDir() {
			out = append(out, filepath.Join(path, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read haproxy's configuration: no .cfg file in %s: %w", path, fs.ErrNotExist)
	}
	return out, nil
}

// reader goes through the configuration line by line.
type reader struct {
	config configuration
	// mode of the last defaults section.
	mode string
	now  section
	// depth of .if.
	depth int
}

func (r *reader) read(file, text string) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		words := splitWords(line)
		if len(words) > 0 {
			r.take(file, number, words)
		}
	}
}

func (r *reader) take(file string, number int, words []string) {
	switch keyword := words[0]; {
	case keyword == ".if":
		r.depth++
	case keyword == ".endif":
		r.depth = max(r.depth-1, 0)
	case strings.HasPrefix(keyword, "."):
	case slices.Contains(sectionKinds, keyword):
		r.close()
		r.now = section{kind: keyword, name: word(words, 1), file: file, mode: r.mode}
	case keyword == "mode":
		r.now.mode = word(words, 1)
	case keyword == "disabled":
		r.now.disabled = true
	case keyword == "crt-base" && r.now.kind == "global":
		r.config.crtBase = word(words, 1)
	case keyword == "bind" && (r.now.kind == "frontend" || r.now.kind == "listen"):
		b := parseBind(words)
		b.file, b.line = file, number
		b.closed = b.closed || r.depth > 0
		r.now.binds = append(r.now.binds, b)
	default:
		r.now.names = append(r.now.names, hostNames(words)...)
	}
}

func word(words []string, n int) string {
	if n < len(words) {
		return words[n]
	}
	return ""
}

// close ends a section.
func (r *reader) close() {
	s := r.now
	r.now = section{}
	if s.kind == "defaults" {
		r.mode = s.mode
		return
	}
	if s.disabled {
		return
	}
	tls := false
	for _, b := range s.binds {
		for _, list := range [][]string{b.crts, b.crtLists} {
			for i := range list {
				list[i] = r.config.absolute(list[i])
			}
		}
		b.web = s.mode == "http"
		tls = tls || b.ssl
		r.config.binds = append(r.config.binds, b)
	}
	slices.Sort(s.names)
	if names := slices.Compact(s.names); len(names) > 0 {
		r.config.sites = append(r.config.sites, site{
			section: strings.TrimSpace(s.kind + " " + s.name), file: s.file, names: names, tls: tls,
		})
	}
}

func (r *reader) end() configuration {
	r.close()
	return r.config
}

// absolute gives the path of a certificate that is named in the configuration
// or in a crt-list.
func (c configuration) absolute(name string) string {
	if c.crtBase == "" || filepath.IsAbs(name) || strings.HasPrefix(name, "@") {
		return name
	}
	return filepath.Join(c.crtBase, name)
}

// parseBind reads what follows "bind". An option's own arguments are not told
// from options, but none has a value that is the name of one that matters here.
func parseBind(words []string) bind {
	var b bind
	for address := range strings.SplitSeq(word(words, 1), ",") {
		if address != "" && !strings.Contains(address, unknown) {
			b.addresses = append(b.addresses, address)
		}
	}
	for n := 2; n < len(words); n++ {
		switch words[n] {
		case "ssl":
			b.ssl = true
		case "crt":
			b.crts = append(b.crts, word(words, n+1))
			n++
		case "crt-list":
			b.crtLists = append(b.crtLists, word(words, n+1))
			n++
		case "strict-sni":
			b.strictSNI = true
		case "v4v6":
			b.dual = true
		case "accept-proxy", "accept-netscaler-cip", "namespace":
			b.closed = true
		}
	}
	return b
}

// samePath compares paths as they are written, then by where they lead.
func samePath(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	if !filepath.IsAbs(a) || !filepath.IsAbs(b) {
		return false
	}
	x, errX := resolve(a)
	y, errY := resolve(b)
	return errX == nil && errY == nil && x == y
}

// resolve follows symlinks; the last part of the path need not exist.
func resolve(path string) (string, error) {
	out, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}
