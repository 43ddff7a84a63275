package main

import (
	"strings"
)

// crtList is a crt-list file. Printing it gives back every byte.
type crtList struct {
	// lines with their ends.
	lines []string
}

// crtEntry is a line that names a certificate.
type crtEntry struct {
	file string
	// rest is what follows, options and filters, without the line's end.
	rest string
	// filters are the names that it is for; empty: those of the certificate.
	filters []string
}

func parseCrtList(data []byte) crtList {
	var l crtList
	for line := range strings.Lines(string(data)) {
		l.lines = append(l.lines, line)
	}
	return l
}

func (l crtList) bytes() []byte { return []byte(strings.Join(l.lines, "")) }

// entries gives the certificates, in order.
func (l crtList) entries() []crtEntry {
	var out []crtEntry
	for _, line := range l.lines {
		if e, ok := parseCrtLine(line); ok {
			out = append(out, e)
		}
	}
	return out
}

// isCrtSpace is C's isspace, which haproxy uses here.
func isCrtSpace(r rune) bool { return strings.ContainsRune(" \t\r\n\v\f", r) }

// parseCrtLine reads FILE [OPTIONS] FILTER...; false: a comment or an empty
// line. There are no quotes and no escapes in a crt-list.
func parseCrtLine(line string) (crtEntry, bool) {
	line = strings.TrimFunc(line, isCrtSpace)
	if line == "" || line[0] == '#' {
		return crtEntry{}, false
	}
	end := strings.IndexFunc(line, func(r rune) bool { return isCrtSpace(r) || r == '[' || r == ']' })
	switch {
	case end < 0:
		return crtEntry{file: line}, true
	case end == 0:
		return crtEntry{}, false // haproxy refuses the list
	}
	e := crtEntry{file: line[:end], rest: strings.TrimFunc(line[end:], isCrtSpace)}
	filters := e.rest
	if strings.HasPrefix(filters, "[") {
		_, filters, _ = strings.Cut(filters, "]")
	}
	e.filters = strings.FieldsFunc(filters, isCrtSpace)
	return e, true
}

// find gives the entries of a certificate.
func (l crtList) find(file string, absolute func(string) string) []crtEntry {
	var out []crtEntry
	for _, e := range l.entries() {
		if samePath(absolute(e.file), file) {
			out = append(out, e)
		}
	}
	return out
}

// add gives the list with one more line, ended as the others are. Haproxy takes
// no list whose last line has no end.
func (l crtList) add(file string) crtList {
	out := crtList{lines: append([]string{}, l.lines...)}
	end := "\n"
	if len(out.lines) > 0 && strings.HasSuffix(out.lines[0], "\r\n") {
		end = "\r\n"
	}
	if last := len(out.lines) - 1; last >= 0 && !strings.HasSuffix(out.lines[last], "\n") {
		out.lines[last] += end
	}
	out.lines = append(out.lines, file+end)
	return out
}

// names gives what the entries are for, without those that a filter excludes.
func (l crtList) names() []string {
	var out []string
	for _, e := range l.entries() {
		for _, f := range e.filters {
			if strings.HasPrefix(f, "!") {
				continue
			}
			if name := nameOf(f); name != "" {
				out = append(out, name)
			}
		}
	}
	return out
}
