package main

import (
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// unknown stands in a word for what depends on the environment of haproxy,
// which this process does not have.
const unknown = "\x00"

// splitWords splits a line of the configuration as haproxy does: quotes, weak
// and strong, escapes, and a comment from the first bare "#" on.
func splitWords(line string) []string {
	var out []string
	var now strings.Builder
	started := false
	end := func() {
		if started {
			out = append(out, now.String())
		}
		now.Reset()
		started = false
	}
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == 0 {
			continue // it would be taken for unknown
		}
		switch {
		case quote == 0 && (c == ' ' || c == '\t' || c == '\r' || c == '\n'):
			end()
			continue
		case quote == 0 && c == '#':
			end()
			return out
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == c:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(line):
			text, skip := escape(line[i:], quote)
			now.WriteString(text)
			i += skip
		case c == '$' && quote == '"':
			now.WriteString(unknown)
			i += variable(line[i:])
		default:
			now.WriteByte(c)
		}
		started = true
	}
	end()
	return out
}

// escape gives what a backslash and what follows it stand for, and how many
// bytes beyond the backslash that is.
func escape(text string, quote byte) (string, int) {
	next := text[1]
	if quote == '"' {
		if strings.IndexByte(`\"$`, next) >= 0 {
			return string(next), 1
		}
		return `\`, 0
	}
	switch next {
	case 'n':
		return "\n", 1
	case 'r':
		return "\r", 1
	case 't':
		return "\t", 1
	case 'x':
		if len(text) >= 4 {
			if n, err := strconv.ParseUint(text[2:4], 16, 8); err == nil && n != 0 {
				return string([]byte{byte(n)}), 3
			}
		}
	case ' ', '\\', '#', '\'', '"':
		return string(next), 1
	}
	return `\`, 0
}

// variable gives the length of $NAME or ${NAME} less one.
func variable(text string) int {
	if strings.HasPrefix(text, "${") {
		if end := strings.IndexByte(text, '}'); end > 0 {
			return end
		}
		return 1
	}
	n := 1
	for n < len(text) && (text[n] == '_' || isAlphanumeric(text[n])) {
		n++
	}
	return n - 1
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

var (
	// hostPattern is a condition on the name that a client asks for, with
	// converters that leave it a name.
	hostPattern = regexp.MustCompile(`(?i)^(?:(?:(?:req\.)?hdr\(host(?:,-?1)?\))|ssl_fc_sni|req\.ssl_sni|req_ssl_sni)` +
		`(?:,lower|,host_only|,field\(1,:\))*$`)
	namePattern = regexp.MustCompile(`^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$`)
)

// hostNames gives the names that a line compares the asked one with: in an acl,
// or in the condition of a rule.
func hostNames(words []string) []string {
	var out []string
	for n := 0; n < len(words); n++ {
		if !hostPattern.MatchString(words[n]) {
			continue
		}
		names, last := patterns(words, n+1)
		out = append(out, names...)
		n = last
	}
	return out
}

// patterns reads flags and values of a condition, up to its end.
func patterns(words []string, n int) (names []string, last int) {
	exact, flags := true, true
	for ; n < len(words) && words[n] != "}"; n++ {
		switch w := words[n]; {
		case flags && w == "-m":
			n++
			exact = exact && word(words, n) == "str"
		case flags && w == "-f":
			n++ // values from a file
		case flags && (w == "-i" || w == "-n" || w == "-u"):
		case flags && w == "--":
			flags = false
		default:
			flags = false
			if name := nameOf(w); name != "" {
				names = append(names, name)
			}
		}
	}
	if !exact {
		names = nil
	}
	return names, n
}

// nameOf gives a name in lower case without its port; empty: it is none that a
// certificate could be for.
func nameOf(text string) string {
	name := strings.ToLower(text)
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	name = strings.TrimSuffix(name, ".")
	if !namePattern.MatchString(name) || net.ParseIP(name) != nil || slices.Contains([]string{"localhost"}, name) {
		return ""
	}
	return name
}
