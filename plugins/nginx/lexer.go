package main

import (
	"fmt"
	"strings"
)

// lexer splits a configuration the way nginx's ngx_conf_read_token does, but
// keeps what is between the tokens: together they are the input, byte for byte.
type lexer struct {
	src  string
	pos  int
	line int
}

type kind int

const (
	word kind = iota
	semicolon
	opening
	closing
	end
)

// token with the white space and comments before it.
type token struct {
	kind kind
	lead string
	raw  string
	line int
}

// syntaxError says where a file cannot be understood.
type syntaxError struct {
	line int
	text string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

func (l *lexer) fail(line int, format string, args ...any) error {
	return &syntaxError{line: line, text: fmt.Sprintf(format, args...)}
}

const byteOrderMark = "\ufeff"

func (l *lexer) next() (token, error) {
	start := l.pos
	l.skip()
	t := token{lead: l.src[start:l.pos], line: l.line}
	if l.pos == len(l.src) {
		t.kind = end
		return t, nil
	}
	begin := l.pos
	var err error
	switch l.src[l.pos] {
	case ';':
		t.kind = semicolon
		l.pos++
	case '{':
		t.kind = opening
		l.pos++
	case '}':
		t.kind = closing
		l.pos++
	case '"', '\'':
		err = l.quoted()
	default:
		l.plain()
	}
	t.raw = l.src[begin:l.pos]
	return t, err
}

// skip passes white space and comments, and a byte order mark at the start.
func (l *lexer) skip() {
	if l.pos == 0 && strings.HasPrefix(l.src, byteOrderMark) {
		l.pos = len(byteOrderMark)
	}
	comment := false
	for ; l.pos < len(l.src); l.pos++ {
		switch c := l.src[l.pos]; {
		case c == '\n':
			l.line++
			comment = false
		case comment || c == ' ' || c == '\t' || c == '\r':
		case c == '#':
			comment = true
		default:
			return
		}
	}
}

// quoted passes a string. What follows it must be able to follow a word.
func (l *lexer) quoted() error {
	quote, line := l.src[l.pos], l.line
	for l.pos++; ; l.pos++ {
		if l.pos >= len(l.src) {
			l.pos = len(l.src)
			return l.fail(line, "a string that begins here with %c has no end", quote)
		}
		c := l.src[l.pos]
		if c == '\n' {
			l.line++
		}
		if c == '\\' {
			if l.pos++; l.pos < len(l.src) && l.src[l.pos] == '\n' {
				l.line++
			}
			continue
		}
		if c == quote {
			break
		}
	}
	l.pos++
	if l.pos < len(l.src) && !strings.ContainsRune(" \t\r\n;{)", rune(l.src[l.pos])) {
		return l.fail(l.line, "unexpected %q after a string", l.src[l.pos])
	}
	return nil
}

// plain passes a word without quotes: a brace after a dollar sign, closing braces
// and number signs are part of it.
func (l *lexer) plain() {
	variable := false
	for ; l.pos < len(l.src); l.pos++ {
		c := l.src[l.pos]
		if c == '{' && variable {
			variable = false
			continue
		}
		variable = c == '$'
		switch c {
		case ' ', '\t', '\r', '\n', ';', '{':
			return
		case '\\':
			if l.pos+1 < len(l.src) {
				if l.pos++; l.src[l.pos] == '\n' {
					l.line++
				}
			}
		}
	}
}

// lua passes the body of a *_by_lua_block: its braces are counted by Lua's
// rules, up to the one that ends it, which is not passed.
func (l *lexer) lua() (string, error) {
	begin, line, depth := l.pos, l.line, 0
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		switch c := rest[0]; {
		case c == '{':
			depth++
			l.pos++
		case c == '}' && depth == 0:
			return l.src[begin:l.pos], nil
		case c == '}':
			depth--
			l.pos++
		case strings.HasPrefix(rest, "--"):
			l.pos += 2
			if size := longBracket(l.src[l.pos:]); size > 0 {
				l.advance(size)
			} else if n := strings.IndexByte(rest, '\n'); n >= 0 {
				l.advance(n - 2)
			} else {
				l.pos = len(l.src)
			}
		case c == '[':
			l.advance(max(longBracket(rest), 1))
		case c == '"' || c == '\'':
			l.advance(luaString(rest))
		default:
			l.advance(1)
		}
	}
	return "", l.fail(line, "the Lua block that begins here has no end")
}

func (l *lexer) advance(n int) {
	n = min(n, len(l.src)-l.pos)
	l.line += strings.Count(l.src[l.pos:l.pos+n], "\n")
	l.pos += n
}

// longBracket gives the length of a string in brackets, [==[ … ]==], or 0.
func longBracket(s string) int {
	level := len(s) - len(strings.TrimLeft(strings.TrimPrefix(s, "["), "=")) - 1
	if level < 0 || !strings.HasPrefix(s, "[") || !strings.HasPrefix(s[level+1:], "[") {
		return 0
	}
	ending := "]" + strings.Repeat("=", level) + "]"
	n := strings.Index(s[level+2:], ending)
	if n < 0 {
		return len(s)
	}
	return level + 2 + n + len(ending)
}

// luaString gives the length of a string in quotes; one that does not end on
// its line is left to Lua to complain about.
func luaString(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '\n':
			return i
		case s[0]:
			return i + 1
		}
	}
	return len(s)
}
