package main

import (
	"iter"
	"regexp"
	"strings"
)

// token is a word, a string, or a single character of VCL.
type token struct {
	start, end int
	// quoted is a string, with delimiters of this length.
	quoted    bool
	delimiter int
}

func (t token) text(all string) string {
	if t.quoted {
		return ""
	}
	return all[t.start:t.end]
}

func (t token) value(all string) string { return all[t.start+t.delimiter : t.end-t.delimiter] }

// delimiters of strings and of C code; VCL knows no escapes in them.
var delimiters = []struct {
	open, close string
	code        bool
}{
	{`"""`, `"""`, false}, {`{"`, `"}`, false}, {`"`, `"`, false}, {`C{`, `}C`, true},
}

// lex gives the tokens of a VCL. White space, comments and C code are left out.
// varnishd has compiled the text; of one that it would refuse, what is not
// ended ends with the text.
func lex(text string) iter.Seq[token] {
	return func(yield func(token) bool) {
		for p := 0; p < len(text); {
			end := skip(text, p)
			if end > p {
				p = end
				continue
			}
			t := next(text, p)
			p = t.end
			if t.delimiter >= 0 && !yield(t) {
				return
			}
		}
	}
}

// skip gives the end of white space or a comment at p.
func skip(text string, p int) int {
	to := func(mark string, from int) int {
		if n := strings.Index(text[from:], mark); n >= 0 {
			return from + n + len(mark)
		}
		return len(text)
	}
	switch {
	case strings.IndexByte(" \t\r\n\v\f", text[p]) >= 0:
		return p + 1
	case text[p] == '#' || strings.HasPrefix(text[p:], "//"):
		return to("\n", p)
	case strings.HasPrefix(text[p:], "/*"):
		return to("*/", p+2)
	}
	return p
}

// next gives the token at p; one of C code or a BLOB has a negative delimiter.
func next(text string, p int) token {
	for _, d := range delimiters {
		if !strings.HasPrefix(text[p:], d.open) {
			continue
		}
		from := p + len(d.open)
		n := strings.Index(text[from:], d.close)
		if n < 0 {
			return token{start: p, end: len(text), delimiter: -1}
		}
		t := token{start: p, end: from + n + len(d.close), quoted: true, delimiter: len(d.open)}
		if d.code {
			t.delimiter = -1
		}
		return t
	}
	if blob := blobPattern.FindString(text[p:]); blob != "" {
		return token{start: p, end: p + len(blob), delimiter: -1}
	}
	end := p
	for end < len(text) && isWord(text[end]) {
		end++
	}
	return token{start: p, end: max(end, p+1)}
}

// blobPattern is a BLOB, whose slashes begin no comment.
var blobPattern = regexp.MustCompile(`^:[A-Za-z0-9+/]*={0,2}:`)

func isWord(c byte) bool {
	return c == '_' || c == '-' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
