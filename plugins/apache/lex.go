package main

import "strings"

// line is a logical line: what httpd joins to one by a backslash at the end.
type line struct {
	// number of its first line in the file, from 1.
	number int
	// raw is every byte of it, with its newlines; text what httpd reads.
	raw  string
	text string
}

const bom = "\xef\xbb\xbf"

// logicalLines cuts a file as ap_cfg_getline does. A comment goes on after a
// backslash too, and a backslash before the end of the file is only itself.
func logicalLines(data string) []line {
	var out []line
	number := 1
	for start := 0; start < len(data); {
		l := line{number: number}
		var text strings.Builder
		pos := start
		for {
			end := strings.IndexByte(data[pos:], '\n')
			if end < 0 {
				text.WriteString(data[pos:])
				pos = len(data)
				break
			}
			part := strings.TrimSuffix(data[pos:pos+end], "\r")
			pos += end + 1
			number++
			joined, more := strings.CutSuffix(part, `\`)
			text.WriteString(joined)
			if !more {
				break
			}
		}
		l.raw = data[start:pos]
		l.text = strings.Trim(text.String(), spaces)
		if start == 0 {
			l.text = strings.Trim(strings.TrimPrefix(l.text, bom), spaces)
		}
		out = append(out, l)
		start = pos
	}
	return out
}

// spaces are those of isspace in the C locale.
const spaces = " \t\n\v\f\r"

// nextWord takes a word off the front of a line as ap_getword_conf does: quotes
// of either kind hold one together, and within them a backslash saves a quote or
// a backslash. A quote that is not closed ends with the line.
func nextWord(text string) (word, rest string) {
	text = strings.TrimLeft(text, spaces)
	if text == "" {
		return "", ""
	}
	if quote := text[0]; quote == '"' || quote == '\'' {
		var out strings.Builder
		i := 1
		for ; i < len(text) && text[i] != quote; i++ {
			if text[i] == '\\' && i+1 < len(text) && (text[i+1] == quote || text[i+1] == '\\') {
				i++
			}
			out.WriteByte(text[i])
		}
		if i < len(text) {
			i++
		}
		return out.String(), strings.TrimLeft(text[i:], spaces)
	}
	end := strings.IndexAny(text, spaces)
	if end < 0 {
		return text, ""
	}
	return text[:end], strings.TrimLeft(text[end:], spaces)
}

// words splits the arguments of a directive.
func words(text string) []string {
	var out []string
	for text != "" {
		var word string
		word, text = nextWord(text)
		out = append(out, word)
	}
	return out
}

// quoted writes a word so that httpd reads it as one.
func quoted(word string) string {
	if word != "" && !strings.ContainsAny(word, spaces+`"'\`) {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

// expand replaces ${NAME} as ap_resolve_env does: what is not defined stays.
func expand(word string, lookup func(string) (string, bool)) string {
	var out strings.Builder
	for {
		start := strings.Index(word, "${")
		if start < 0 {
			break
		}
		length := strings.IndexByte(word[start:], '}')
		if length < 0 {
			break
		}
		out.WriteString(word[:start])
		if value, ok := lookup(word[start+2 : start+length]); ok {
			out.WriteString(value)
		} else {
			out.WriteString(word[start : start+length+1])
		}
		word = word[start+length+1:]
	}
	out.WriteString(word)
	return out.String()
}
