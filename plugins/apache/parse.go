package main

import (
	"fmt"
	"strings"
)

// kind of a node.
type kind int

const (
	// other is a blank line, a comment, or a line of a block that httpd hands to
	// somebody else.
	other kind = iota
	directive
	section
)

// node is a logical line, or a section with all that is in it. What is not
// changed is printed as it was read.
type node struct {
	kind kind
	line int
	// raw is the line with its newline; of a section the opening one.
	raw string
	// name as it is written, of a section without "<"; args the rest of the
	// line, of a section up to its last ">".
	name string
	args string
	// children and closing line of a section.
	children []*node
	end      string
}

// is compares the name as httpd does.
func (n *node) is(name string) bool { return strings.EqualFold(n.name, name) }

// file is a parsed configuration file.
type file struct {
	path  string
	nodes []*node
}

// syntaxError is a mistake in a file that httpd would not accept either.
type syntaxError struct {
	path string
	line int
	text string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s:%d: %s", e.path, e.line, e.text) }

// rawSections have bodies in languages of their own.
func isRawSection(name string) bool {
	name = strings.ToLower(name)
	return name == "macro" || name == "perl" || strings.HasPrefix(name, "lua")
}

// parse reads a file. Nothing is lost: print gives the same bytes again.
func parse(path, data string) (*file, error) {
	f := &file{path: path}
	p := parser{file: f}
	for _, l := range logicalLines(data) {
		if err := p.add(l); err != nil {
			return nil, err
		}
	}
	if len(p.open) > 0 {
		last := p.open[len(p.open)-1]
		return nil, p.wrong(last.line, "<%s> is not closed", last.name)
	}
	return f, nil
}

type parser struct {
	file *file
	open []*node
}

func (p *parser) wrong(line int, format string, args ...any) error {
	return &syntaxError{path: p.file.path, line: line, text: fmt.Sprintf(format, args...)}
}

func (p *parser) append(n *node) {
	if len(p.open) == 0 {
		p.file.nodes = append(p.file.nodes, n)
		return
	}
	parent := p.open[len(p.open)-1]
	parent.children = append(parent.children, n)
}

func (p *parser) add(l line) error {
	n := &node{line: l.number, raw: l.raw}
	if strings.IndexByte(l.raw, 0) >= 0 {
		return p.wrong(l.number, "there is a NUL byte in this line")
	}
	word, rest := nextWord(l.text)
	if inside := p.rawSection(); inside != nil {
		if strings.EqualFold(word, "</"+inside.name+">") {
			p.close(l)
		} else {
			p.append(n)
		}
		return nil
	}
	switch {
	case l.text == "" || l.text[0] == '#' || word == "":
		p.append(n)
	case strings.HasPrefix(word, "</"):
		return p.closing(l, word)
	case word[0] == '<':
		return p.opening(n, word, rest)
	default:
		n.kind, n.name, n.args = directive, word, rest
		p.append(n)
	}
	return nil
}

func (p *parser) rawSection() *node {
	if len(p.open) == 0 {
		return nil
	}
	if last := p.open[len(p.open)-1]; isRawSection(last.name) {
		return last
	}
	return nil
}

func (p *parser) opening(n *node, word, rest string) error {
	n.kind = section
	name, whole := strings.CutSuffix(word[1:], ">")
	n.name = name
	if end := strings.LastIndexByte(rest, '>'); end >= 0 {
		n.args = strings.Trim(rest[:end], spaces)
	} else if !whole {
		return p.wrong(n.line, "<%s has no closing >", name)
	}
	if name == "" {
		return p.wrong(n.line, "a section has no name")
	}
	p.append(n)
	p.open = append(p.open, n)
	return nil
}

func (p *parser) closing(l line, word string) error {
	name, whole := strings.CutSuffix(word[2:], ">")
	switch {
	case len(p.open) == 0:
		return p.wrong(l.number, "</%s> closes nothing", name)
	case !whole:
		return p.wrong(l.number, "</%s has no closing >", name)
	}
	if last := p.open[len(p.open)-1]; !last.is(name) {
		return p.wrong(l.number, "</%s> does not close <%s> of line %d", name, last.name, last.line)
	}
	p.close(l)
	return nil
}

func (p *parser) close(l line) {
	p.open[len(p.open)-1].end = l.raw
	p.open = p.open[:len(p.open)-1]
}

// print gives the file's bytes.
func (f *file) print() string {
	var out strings.Builder
	printNodes(&out, f.nodes)
	return out.String()
}

func printNodes(out *strings.Builder, nodes []*node) {
	for _, n := range nodes {
		out.WriteString(n.raw)
		printNodes(out, n.children)
		out.WriteString(n.end)
	}
}
