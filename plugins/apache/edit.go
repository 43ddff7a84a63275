package main

import (
	"slices"
	"strings"
)

// newline is the one that a file is written with.
func (f *file) newline() string {
	for _, n := range f.nodes {
		if strings.HasSuffix(n.raw, "\r\n") {
			return "\r\n"
		}
		if strings.HasSuffix(n.raw, "\n") {
			return "\n"
		}
	}
	return "\n"
}

// closed gives a last line without a newline one, so that something can follow.
func (f *file) closed() {
	if len(f.nodes) == 0 {
		return
	}
	last := f.nodes[len(f.nodes)-1]
	end := &last.raw
	if last.kind == section {
		end = &last.end
	}
	if *end != "" && !strings.HasSuffix(*end, "\n") {
		*end += f.newline()
	}
}

// indent is the white space at the start of a line.
func indent(raw string) string {
	raw = strings.TrimPrefix(raw, bom)
	return raw[:len(raw)-len(strings.TrimLeft(raw, " \t"))]
}

// innerIndent is how the directives in a section are indented.
func innerIndent(n *node) string {
	for _, child := range n.children {
		if child.kind == directive {
			return indent(child.raw)
		}
	}
	return indent(n.raw) + "    "
}

// lines makes nodes of text, as if it had been read.
func lines(text, newline string) []*node {
	f, err := parse("", strings.ReplaceAll(text, "\n", newline))
	if err != nil {
		panic(err) // it is our own text
	}
	return f.nodes
}

// written is a directive as a line, without indentation and newline.
func written(name string, args ...string) string {
	out := name
	for _, arg := range args {
		out += " " + quoted(arg)
	}
	return out
}

// insertAt puts nodes into a list before the one with an index.
func insertAt(list *[]*node, index int, nodes []*node) {
	*list = slices.Insert(*list, index, nodes...)
}

// insertAfter puts lines behind a node.
func (p place) insertAfter(text string) {
	p.file.closed()
	index := slices.Index(*p.siblings, p.node) + 1
	insertAt(p.siblings, index, lines(text, p.file.newline()))
}

// prepend and add put lines at the start and at the end of a section.
func (p place) prepend(text string) {
	insertAt(&p.node.children, 0, lines(text, p.file.newline()))
}

func (p place) add(text string) {
	insertAt(&p.node.children, len(p.node.children), lines(text, p.file.newline()))
}

// append puts lines at the end of a file.
func (f *file) append(text string) {
	f.closed()
	f.nodes = append(f.nodes, lines(text, f.newline())...)
}

// set gives a directive other arguments.
func (p place) set(args ...string) {
	n := p.node
	end := ""
	if strings.HasSuffix(n.raw, "\n") {
		end = p.file.newline()
	}
	start := indent(n.raw)
	if strings.HasPrefix(n.raw, bom) {
		start = bom + start
	}
	n.raw = start + written(n.name, args...) + end
	_, n.args = nextWord(strings.TrimPrefix(strings.Trim(n.raw, spaces), bom))
}

// remove takes a directive out.
func (p place) remove() {
	*p.siblings = slices.DeleteFunc(*p.siblings, func(n *node) bool { return n == p.node })
}

// comment turns a directive into a comment, line by line.
func (n *node) comment() {
	var out strings.Builder
	for part := range strings.Lines(n.raw) {
		start := indent(part)
		// A backslash at the end would make the next line a comment too, which is
		// one already.
		out.WriteString(start + "# " + part[len(start):])
	}
	n.raw, n.kind, n.name, n.args = out.String(), other, "", ""
}

// insertBefore puts lines in front of a node.
func (p place) insertBefore(text string) {
	insertAt(p.siblings, slices.Index(*p.siblings, p.node), lines(text, p.file.newline()))
}
