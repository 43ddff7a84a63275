package main

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// source is one file of a VCL, as `vcl.show -v` gives it.
type source struct {
	name string
	text string
}

// builtin is the source that varnishd appends to every VCL.
const builtin = "<builtin>"

// sourceHeader stands before each source, and tells how long it is.
var sourceHeader = regexp.MustCompile(`^// VCL\.SHOW (\d+) (\d+) (.*)\n`)

// sources reads the answer to `vcl.show -v`: the main source first, then what
// it includes in the order in which the statements are met, depth first.
func sources(answer string) ([]source, error) {
	var out []source
	for rest := answer; strings.TrimSpace(rest) != ""; {
		m := sourceHeader.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("the sources of the VCL cannot be told apart at %q", quote(rest[:min(len(rest), 80)]))
		}
		length, err := strconv.Atoi(m[2])
		if rest = rest[len(m[0]):]; err != nil || length > len(rest) {
			return nil, fmt.Errorf("the source %s of the VCL is cut off", m[3])
		}
		if !strings.EqualFold(m[3], builtin) && m[3] != "Builtin" {
			out = append(out, source{name: m[3], text: rest[:length]})
		}
		rest = strings.TrimLeft(rest[length:], "\n")
	}
	if len(out) == 0 {
		return nil, errors.New("the VCL has no source")
	}
	return out, nil
}

// flatten makes one text of all sources: each include statement is replaced by
// what was included, which is what varnishd's compiler does with the tokens. The
// files are not read again: they may have been changed, and not be loaded.
func flatten(all []source) (string, error) {
	f := flattener{rest: all[1:]}
	if err := f.add(all[0]); err != nil {
		return "", err
	}
	if len(f.rest) > 0 {
		return "", fmt.Errorf("no statement includes the source %s of the VCL", f.rest[0].name)
	}
	return f.out.String(), nil
}

type flattener struct {
	rest []source
	out  strings.Builder
}

func (f *flattener) add(s source) error {
	done := 0
	for _, i := range includes(s.text) {
		f.out.WriteString(s.text[done:i.start])
		done = i.end
		n := 1
		if i.glob {
			n = -1 // as many as there are, one at least
		}
		for ; n != 0; n-- {
			if len(f.rest) == 0 || !i.names(s.name, f.rest[0].name) {
				if n < -1 {
					break
				}
				return fmt.Errorf("what include %q in %s has brought in cannot be found", i.file, s.name)
			}
			next := f.rest[0]
			f.rest = f.rest[1:]
			f.out.WriteByte('\n')
			if err := f.add(next); err != nil {
				return err
			}
			f.out.WriteByte('\n') // it may end in a comment
		}
	}
	f.out.WriteString(s.text[done:])
	return nil
}

// include is one statement.
type include struct {
	start, end int
	file       string
	glob       bool
}

// names says whether a source may be what the statement includes. A path that
// is not absolute is looked for in several directories.
func (i include) names(parent, name string) bool {
	file := i.file
	if strings.HasPrefix(file, "./") {
		file = path.Join(path.Dir(parent), file)
		if dir, ok := strings.CutSuffix(path.Dir(parent), "/"); ok {
			file = dir + i.file[1:]
		}
	}
	if i.glob {
		ok, err := path.Match(file, path.Clean(name))
		return ok || err != nil
	}
	return path.Base(file) == path.Base(name) && strings.HasSuffix(path.Clean(name), strings.TrimPrefix(path.Clean(file), "."))
}

// includes finds the include statements of a source.
func includes(text string) []include {
	var out []include
	var tokens []token
	for t := range lex(text) {
		tokens = append(tokens, t)
	}
	for n := 0; n < len(tokens); n++ {
		if tokens[n].text(text) != "include" {
			continue
		}
		i := include{start: tokens[n].start}
		for n++; n < len(tokens) && !tokens[n].quoted; n++ {
			i.glob = i.glob || tokens[n].text(text) == "glob"
		}
		if n+1 >= len(tokens) || tokens[n+1].text(text) != ";" {
			return out // varnishd would not have taken it
		}
		i.file = tokens[n].value(text)
		i.end = tokens[n+1].end
		n++
		out = append(out, i)
	}
	return out
}

// syntaxOf gives the "vcl X.Y;" that a text begins with.
func syntaxOf(text string) (string, error) {
	var words []string
	for t := range lex(text) {
		if words = append(words, t.text(text)); t.text(text) == ";" {
			break
		}
	}
	if len(words) < 3 || words[0] != "vcl" || slices.Contains(words, "include") {
		return "", errors.New("the VCL does not begin with its version")
	}
	return "vcl " + strings.Join(words[1:len(words)-1], "") + ";", nil
}
