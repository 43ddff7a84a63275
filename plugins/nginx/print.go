package main

import "strings"

// print gives what was parsed, byte for byte, with what was edited.
func (b *block) print() string {
	var out strings.Builder
	b.write(&out)
	return out.String()
}

func (b *block) write(out *strings.Builder) {
	for _, n := range b.nodes {
		n.write(out)
	}
	out.WriteString(b.tail)
}

func (n *node) write(out *strings.Builder) {
	for _, w := range n.words {
		out.WriteString(w.gap)
		out.WriteString(w.raw)
	}
	out.WriteString(n.gap)
	out.WriteString(n.term)
	if n.isBlock() {
		out.WriteString(n.lua)
		if n.body != nil {
			n.body.write(out)
		}
		out.WriteString("}")
	}
	out.WriteString(n.after)
}

// text is the directive without what is before it.
func (n *node) text() string {
	var out strings.Builder
	n.write(&out)
	return strings.TrimPrefix(out.String(), n.lead())
}

// lead is what is between a directive and the one before it.
func (n *node) lead() string { return n.words[0].gap }

func (n *node) setLead(s string) { n.words[0].gap = s }
