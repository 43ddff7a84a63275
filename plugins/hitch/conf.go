package main

import (
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// conf is what matters here of a hitch.conf(5).
type conf struct {
	pemDir, pemGlob string
	files           []string
	// keyed are the files beside which a private-key is named.
	keyed     []string
	frontends []frontend
}

// frontend is where hitch listens.
type frontend struct {
	host, port string
	// files are its own, beside which those of the top level count only if
	// global says so.
	files  []string
	global bool
}

func readConf(path string) (conf, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return conf{}, err
	}
	return parseConf(string(data)), nil
}

// parseConf reads what it knows and leaves the rest to hitch's own test.
func parseConf(text string) conf {
	p := parser{words: scan(text)}
	var c conf
	for !p.done() {
		key := p.next()
		if !p.accept("=") {
			continue
		}
		switch key.text {
		case "pem-dir":
			c.pemDir = p.next().text
		case "pem-dir-glob":
			c.pemGlob = p.next().text
		case "pem-file":
			c.files = append(c.files, p.pemFile())
		case "frontend":
			c.frontends = append(c.frontends, p.frontend())
		}
	}
	c.keyed = p.keyed
	c.files = slices.DeleteFunc(c.files, func(f string) bool { return f == "" })
	if len(c.frontends) == 0 {
		c.frontends = []frontend{{host: "*", port: "8443", global: true}}
	}
	return c
}

// word is a string in quotes, or a run of characters, or one of "{}=".
type word struct {
	text   string
	quoted bool
}

// scan splits as hitch's scanner does: what it does not know it passes over.
func scan(text string) []word {
	var out []word
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '#':
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case c == '{' || c == '}' || c == '=':
			out = append(out, word{text: string(c)})
		case c == '"':
			end := strings.IndexByte(text[i+1:], '"')
			if end < 0 {
				return out
			}
			out = append(out, word{text: text[i+1 : i+1+end], quoted: true})
			i += end + 1
		case isBare(c):
			from := i
			for i+1 < len(text) && isBare(text[i+1]) {
				i++
			}
			out = append(out, word{text: text[from : i+1]})
		}
	}
	return out
}

func isBare(c byte) bool {
	return c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

type parser struct {
	words []word
	keyed []string
}

func (p *parser) done() bool { return len(p.words) == 0 }

func (p *parser) next() word {
	if p.done() {
		return word{}
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *parser) accept(mark string) bool {
	if p.done() || p.words[0].quoted || p.words[0].text != mark {
		return false
	}
	p.words = p.words[1:]
	return true
}

// pemFile reads a path, or a block with the path as cert.
func (p *parser) pemFile() string {
	if !p.accept("{") {
		return p.next().text
	}
	file, key := "", ""
	for !p.done() && !p.accept("}") {
		switch option := p.next(); {
		case !p.accept("="):
		case option.text == "cert":
			file = p.next().text
		case option.text == "private-key":
			key = p.next().text
		}
	}
	if key != "" {
		p.keyed = append(p.keyed, file)
	}
	return file
}

// frontend reads "[HOST]:PORT+FILE", or a block.
func (p *parser) frontend() frontend {
	if !p.accept("{") {
		address, file, _ := strings.Cut(p.next().text, "+")
		host, port, _ := strings.Cut(strings.TrimPrefix(address, "["), "]:")
		f := frontend{host: host, port: port, global: file == ""}
		if file != "" {
			f.files = []string{file}
		}
		return f
	}
	f := frontend{host: "*"}
	set := false
	for !p.done() && !p.accept("}") {
		key := p.next()
		if !p.accept("=") {
			continue
		}
		switch key.text {
		case "host":
			f.host = p.next().text
		case "port":
			f.port = p.next().text
		case "pem-file":
			f.files = append(f.files, p.pemFile())
		case "match-global-certs":
			f.global, set = isOn(p.next().text), true
		}
	}
	if !set {
		f.global = len(f.files) == 0
	}
	return f
}

func isOn(text string) bool {
	return slices.Contains([]string{"yes", "y", "on", "true", "t"}, strings.ToLower(text))
}

// loads says whether hitch reads a file, at the top level or for one frontend.
func (c conf) loads(file string) bool { return c.byName(file) || c.global(file) }

// byName says whether a file is named, rather than found in the pem-dir.
func (c conf) byName(file string) bool {
	return named(c.files, file) || slices.ContainsFunc(c.frontends, func(f frontend) bool { return named(f.files, file) })
}

func (c conf) global(file string) bool {
	if named(c.files, file) {
		return true
	}
	if c.pemDir == "" || !samePath(c.pemDir, filepath.Dir(file)) {
		return false
	}
	ok, err := path.Match(c.pemGlob, filepath.Base(file))
	return c.pemGlob == "" || ok || err != nil
}

func named(files []string, file string) bool {
	return slices.ContainsFunc(files, func(f string) bool { return samePath(f, file) })
}

// endpoints are where hitch serves a file, as host:port.
func (c conf) endpoints(file string) []string {
	var out []string
	for _, f := range c.frontends {
		if !named(f.files, file) && (!f.global || !c.global(file)) {
			continue
		}
		host := f.host
		if host == "*" || host == "" || host == "0.0.0.0" {
			host = "127.0.0.1"
		}
		if host == "::" {
			host = "::1"
		}
		if e := net.JoinHostPort(host, f.port); isEndpoint(e) {
			out = append(out, e)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func isEndpoint(address string) bool {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.ParseUint(port, 10, 16)
	return err == nil && bad == nil && n > 0 && host != ""
}

// every gives all files that hitch reads: it passes over symlinks in its pem-dir.
func (c conf) every() []string {
	out := slices.Clone(c.files)
	for _, f := range c.frontends {
		out = append(out, f.files...)
	}
	entries, _ := os.ReadDir(c.pemDir) // that it is missing is for hitch's own test
	for _, e := range entries {
		if file := filepath.Join(c.pemDir, e.Name()); c.global(file) && e.Type().IsRegular() {
			out = append(out, file)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// samePath compares after links are followed, as far as the paths exist.
func samePath(a, b string) bool {
	return followed(a) == followed(b)
}

func followed(p string) string {
	if r, err := filepath.EvalSymlinks(p); err == nil {
		return r
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(p)); err == nil {
		return filepath.Join(dir, filepath.Base(p))
	}
	return filepath.Clean(p)
}
