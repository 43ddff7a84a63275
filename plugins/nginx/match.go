package main

import (
	"regexp"
	"strings"
)

// match is how a name of a server block matches: nginx's order is the exact
// name, the longest wildcard at its start, the longest at its end, the first
// regular expression. The zero value is none.
type match struct {
	class  int
	length int
}

const (
	noMatch = iota
	byRegexp
	byTrailing
	byLeading
	exactly
)

// better is strict, so that the first of equals wins.
func (m match) better(than match) bool {
	return m.class > than.class || m.class == than.class && m.length > than.length
}

func matches(pattern, name string) match {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	switch {
	case pattern == "" || name == "":
		return match{}
	case strings.HasPrefix(pattern, "~"):
		if re := compile(pattern[1:]); re != nil && re.MatchString(name) {
			return match{class: byRegexp}
		}
	case pattern == name:
		return match{class: exactly}
	case strings.HasPrefix(pattern, ".") && pattern[1:] == name:
		return match{class: exactly}
	case strings.HasPrefix(pattern, "*.") && strings.HasSuffix(name, pattern[1:]):
		return match{class: byLeading, length: len(pattern)}
	case strings.HasPrefix(pattern, ".") && strings.HasSuffix(name, pattern):
		return match{class: byLeading, length: len(pattern) + 1}
	case strings.HasSuffix(pattern, ".*") && strings.HasPrefix(name, pattern[:len(pattern)-1]):
		return match{class: byTrailing, length: len(pattern)}
	}
	return match{}
}

// compile gives nil for what only PCRE knows: then no name matches, and a block
// with the exact name, which wins over a regular expression, is made for it.
func compile(expression string) *regexp.Regexp {
	expression = strings.ReplaceAll(expression, "(?'", "(?P<")
	re, err := regexp.Compile("(?i)" + expression)
	if err != nil {
		return nil
	}
	return re
}

// covers says whether a name of a certificate covers a name of a block.
func covers(certified, name string) bool {
	if certified == name {
		return true
	}
	zone, isWildcard := strings.CutPrefix(certified, "*.")
	first, rest, ok := strings.Cut(name, ".")
	return isWildcard && ok && first != "" && first != "*" && rest == zone
}

// isPlainName tells names from "_", "", wildcards and regular expressions.
func isPlainName(name string) bool {
	return strings.Contains(name, ".") && !strings.ContainsAny(name, "~*_$\" ") &&
		!strings.HasPrefix(name, ".") && !strings.HasSuffix(name, ".")
}
