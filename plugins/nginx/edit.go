package main

import (
	"slices"
	"strings"
)

// managed marks every line that this plugin writes.
const managed = "# managed by Certwright"

// line is a directive to be written, or a block of them.
type line struct {
	text string
	body []line
}

// insert puts directives before the i-th of a block, in the indentation and with
// the line ends of what is around them. Comments stay with the directive that
// they belong to.
func (f *file) insert(b *block, i int, lines ...line) {
	indent := f.indentOf(b)
	for _, l := range lines {
		f.insertNode(b, i, f.build(l, indent), indent)
		i++
	}
}

// insertNode puts a directive in whose lead is still to be set.
func (f *file) insertNode(b *block, i int, n *node, indent string) {
	following := &b.tail
	if i < len(b.nodes) {
		following = &b.nodes[i].words[0].gap
	}
	before, rest := f.split(*following, i == len(b.nodes))
	if rest == "" {
		// What follows was on the same line.
		rest = f.eol + indent
		if i == len(b.nodes) {
			rest = f.eol + f.outer(b)
		}
	}
	n.setLead(before + f.eol + indent)
	if i == 0 && before == "" && b == f.root && !strings.ContainsAny(*following, "\n#") {
		n.setLead(indent) // the first line of a file
	}
	*following = rest
	b.nodes = slices.Insert(b.nodes, i, n)
}

// split cuts what is between two directives where a new line can go in: behind
// the comment on the first one's line, or, at the end of a block, behind all.
func (f *file) split(gap string, last bool) (before, rest string) {
	n := strings.IndexByte(gap, '\n')
	if last {
		n = strings.LastIndexByte(gap, '\n')
	}
	switch {
	case n > 0 && gap[n-1] == '\r':
		n--
	case n < 0 && strings.Contains(gap, "#"):
		return gap, ""
	case n < 0:
		// A byte order mark stays in front.
		return strings.TrimRight(gap, " \t\r"), ""
	}
	return gap[:n], gap[n:]
}

// build makes a directive; each of its lines is marked.
func (f *file) build(l line, indent string) *node {
	text := l.text + ";"
	if l.body != nil {
		text = l.text + " {}"
	}
	b, err := parse(text)
	if err != nil || len(b.nodes) != 1 {
		// Only constants and quoted words get here.
		panic("a directive that cannot be parsed is to be written: " + text)
	}
	n := b.nodes[0]
	n.after = " " + managed
	if l.body == nil {
		return n
	}
	for _, inner := range l.body {
		child := f.build(inner, indent+f.unit)
		child.setLead(f.eol + indent + f.unit)
		n.body.nodes = append(n.body.nodes, child)
	}
	n.body.tail = f.eol + indent
	if len(n.body.nodes) > 0 {
		first := n.body.nodes[0]
		first.setLead(" " + managed + first.lead())
	}
	return n
}

// setArgs changes the words of a directive after its name.
func (f *file) setArgs(b *block, n *node, args ...string) {
	if slices.Equal(n.args(), args) {
		return
	}
	words := n.words[:1]
	for i, a := range args {
		gap := " "
		if i+1 < len(n.words) {
			gap = n.words[i+1].gap
		}
		words = append(words, piece{gap: gap, raw: quote(a)})
	}
	n.words = words
	f.mark(b, n)
}

// mark says behind a directive that it was changed, if nothing says so yet.
func (f *file) mark(b *block, n *node) {
	if n.after != "" || n.isBlock() {
		return
	}
	following := b.tail
	if i := slices.Index(b.nodes, n); i+1 < len(b.nodes) {
		following = b.nodes[i+1].lead()
	}
	own, _, more := strings.Cut(following, "\n")
	switch {
	case strings.Contains(own, managed):
	case strings.Contains(own, "#"), more:
		n.after = " " + managed
	}
	if strings.Contains(own, "#") && n.after != "" {
		n.after += ":" // the comment of the owner follows
	}
}

// disable makes a comment of a directive.
func (f *file) disable(b *block, i int) {
	n := b.nodes[i]
	following := &b.tail
	if i+1 < len(b.nodes) {
		following = &b.nodes[i+1].words[0].gap
	}
	lead := n.lead()
	if !strings.Contains(lead, "\n") && i > 0 {
		lead = f.eol + f.indentOf(b)
	}
	rest := *following
	if own, _, more := strings.Cut(rest, "\n"); !more || strings.TrimSpace(own) != "" && !strings.HasPrefix(strings.TrimSpace(own), "#") {
		rest = f.eol + f.indentOf(b)
		if i+1 == len(b.nodes) {
			rest = f.eol + f.outer(b)
		}
	}
	text := strings.ReplaceAll(n.text(), "\n", "\n# ")
	*following = lead + managed + ", was: " + text + rest
	b.nodes = slices.Delete(b.nodes, i, i+1)
}

// remove takes a directive away, with the mark behind it; comments before it and
// other ones behind it stay.
func (f *file) remove(b *block, i int) {
	lead := b.nodes[i].lead()
	following := &b.tail
	if i+1 < len(b.nodes) {
		following = &b.nodes[i+1].words[0].gap
	}
	own, rest, more := strings.Cut(*following, "\n")
	if strings.HasPrefix(strings.TrimSpace(own), managed) && more {
		*following = f.eol + rest
	}
	if n := strings.LastIndexByte(lead, '\n'); n >= 0 && strings.Contains(lead, "#") {
		before := strings.TrimRight(lead[:n], "\r")
		if !strings.Contains(*following, "\n") {
			*following = f.eol + f.indentOf(b)
		}
		*following = before + *following
	}
	b.nodes = slices.Delete(b.nodes, i, i+1)
}

// indentOf is how far the directives of a block are indented.
func (f *file) indentOf(b *block) string {
	for _, n := range b.nodes {
		if in, ok := lastLine(n.lead()); ok {
			return in
		}
	}
	if b == f.root {
		return ""
	}
	return f.outer(b) + f.unit
}

// outer is how far the line is indented that a block begins on.
func (f *file) outer(b *block) string {
	path, _ := pathTo(f.root, b)
	for _, n := range slices.Backward(path) {
		if in, ok := lastLine(n.lead()); ok {
			return in
		}
	}
	return ""
}

// pathTo gives the directives that lead to a block, outermost first.
func pathTo(from, to *block) ([]*node, bool) {
	if from == to {
		return nil, true
	}
	for _, n := range from.nodes {
		if n.body == nil {
			continue
		}
		if rest, ok := pathTo(n.body, to); ok {
			return append([]*node{n}, rest...), true
		}
	}
	return nil, false
}

// lastLine gives what is on the line of a directive before it, if it is the
// first one there.
func lastLine(lead string) (string, bool) {
	n := strings.LastIndexByte(lead, '\n')
	if n < 0 {
		return "", false
	}
	return lead[n+1:], true
}

// style finds the line end and the step of indentation of a file.
func (f *file) style(src string) {
	f.eol, f.unit = "\n", "    "
	if crlf := strings.Count(src, "\r\n"); crlf > 0 && 2*crlf >= strings.Count(src, "\n") {
		f.eol = "\r\n"
	}
	for _, n := range f.root.nodes {
		if n.body == nil || len(n.body.nodes) == 0 {
			continue
		}
		outer, _ := lastLine(n.lead())
		inner, ok := lastLine(n.body.nodes[0].lead())
		if step := strings.TrimPrefix(inner, outer); ok && step != "" && strings.HasPrefix(inner, outer) {
			f.unit = step
			return
		}
	}
}
