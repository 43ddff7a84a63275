package main

import (
	"strings"
)

// block is what is in a file or between braces.
type block struct {
	nodes []*node
	// tail is what is after the last node: white space and comments.
	tail string
}

// node is one directive. Everything that was read is in one of its fields, so
// that print gives the file again.
type node struct {
	line  int
	words []piece
	// gap is what is before the terminator, which is empty if the directive ends
	// with the block that it is in.
	gap  string
	term string
	// body of a block, or lua of one that is in another language.
	body *block
	lua  string
	// after is what an edit has put behind the directive, on its line.
	after string
}

// piece is a word with what is before it.
type piece struct {
	gap string
	raw string
}

// parse reads a file.
func parse(src string) (*block, error) {
	l := &lexer{src: src, line: 1}
	b, last, err := l.block(0)
	if err != nil {
		return nil, err
	}
	if last.kind == closing {
		return nil, l.fail(last.line, "there is a \"}\" too many")
	}
	return b, nil
}

// mostNesting is far deeper than anything that nginx accepts.
const mostNesting = 200

// block reads up to a closing brace or the end, which it gives.
func (l *lexer) block(depth int) (*block, token, error) {
	if depth > mostNesting {
		return nil, token{}, l.fail(l.line, "blocks are nested too deep")
	}
	b := &block{}
	for {
		t, err := l.next()
		if err != nil {
			return nil, t, err
		}
		switch t.kind {
		case closing, end:
			b.tail = t.lead
			return b, t, nil
		case semicolon, opening:
			return nil, t, l.fail(t.line, "unexpected %q: a directive is missing before it", t.raw)
		}
		n, last, err := l.directive(t, depth)
		if err != nil {
			return nil, last, err
		}
		b.nodes = append(b.nodes, n)
		if n.term == "" {
			return b, last, nil
		}
	}
}

// directive reads one whose first word was read. The token is what ended the
// block that it is in, if it has no terminator of its own.
func (l *lexer) directive(t token, depth int) (*node, token, error) {
	n := &node{line: t.line}
	for {
		switch t.kind {
		case word:
			n.words = append(n.words, piece{gap: t.lead, raw: t.raw})
		case semicolon:
			n.gap, n.term = t.lead, ";"
			return n, t, nil
		case opening:
			n.gap, n.term = t.lead, "{"
			return n, t, l.body(n, depth)
		case closing:
			n.gap = t.lead
			return n, t, nil
		case end:
			return nil, t, l.fail(n.line, "the directive %q has no end: a \";\" is missing", n.name())
		}
		var err error
		if t, err = l.next(); err != nil {
			return nil, t, err
		}
	}
}

func (l *lexer) body(n *node, depth int) error {
	if strings.HasSuffix(n.name(), "_by_lua_block") {
		var err error
		if n.lua, err = l.lua(); err != nil {
			return err
		}
		l.pos++
		return nil
	}
	b, last, err := l.block(depth + 1)
	if err != nil {
		return err
	}
	if last.kind == end {
		return l.fail(n.line, "the block %q that begins here has no end: a \"}\" is missing", n.name())
	}
	n.body = b
	return nil
}

func (n *node) name() string { return n.arg(0) }

// arg gives a word as nginx understands it; empty if there is none.
func (n *node) arg(i int) string {
	if i >= len(n.words) {
		return ""
	}
	return unquote(n.words[i].raw)
}

func (n *node) args() []string {
	out := make([]string, 0, len(n.words))
	for i := 1; i < len(n.words); i++ {
		out = append(out, n.arg(i))
	}
	return out
}

func (n *node) isBlock() bool { return n.term == "{" }

// unquote takes quotes and escapes off, as nginx does.
func unquote(raw string) string {
	if len(raw) >= 2 && (raw[0] == '"' || raw[0] == '\'') {
		raw = raw[1 : len(raw)-1]
	}
	if !strings.Contains(raw, `\`) {
		return raw
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' && i+1 < len(raw) {
			switch raw[i+1] {
			case '"', '\'', '\\':
				i++
			case 't':
				b.WriteByte('\t')
				i++
				continue
			case 'r':
				b.WriteByte('\r')
				i++
				continue
			case 'n':
				b.WriteByte('\n')
				i++
				continue
			}
		}
		b.WriteByte(raw[i])
	}
	return b.String()
}

// quote makes a word that nginx understands as the text.
func quote(text string) string {
	if text != "" && !strings.ContainsAny(text, " \t\r\n;{}\"'\\#$") {
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\t", `\t`, "\r", `\r`, "\n", `\n`).Replace(text) + `"`
}
