package main

import "strings"

// parseConf reads the assignments of a shell file without running it: NAME=value
// with the quotes that a shell takes. The lines that hold anything else, or a value
// that only a shell can tell, are given by number.
func parseConf(text string) (vars []variable, unread []int) {
	p := &confParser{rest: text, line: 1}
	for p.rest != "" {
		p.skip(" \t\r\n")
		if p.rest == "" {
			break
		}
		line := p.line
		if p.rest[0] == '#' {
			p.skipLine()
			continue
		}
		v, ok := p.assignment()
		if !ok {
			unread = append(unread, line)
			p.skipLine()
			continue
		}
		v.value = decoded(v.value)
		vars = append(vars, v)
	}
	return vars, unread
}

type confParser struct {
	rest string
	line int
}

func (p *confParser) advance(n int) string {
	taken := p.rest[:n]
	p.rest = p.rest[n:]
	p.line += strings.Count(taken, "\n")
	return taken
}

func (p *confParser) skip(chars string) {
	p.advance(len(p.rest) - len(strings.TrimLeft(p.rest, chars)))
}

func (p *confParser) skipLine() {
	if i := strings.IndexByte(p.rest, '\n'); i >= 0 {
		p.advance(i + 1)
		return
	}
	p.advance(len(p.rest))
}

func (p *confParser) assignment() (variable, bool) {
	if word, ok := strings.CutPrefix(p.rest, "export"); ok && word != "" && strings.ContainsRune(" \t", rune(word[0])) {
		p.advance(len("export"))
		p.skip(" \t")
	}
	end := 0
	for end < len(p.rest) && inName(p.rest[end]) {
		end++
	}
	name := p.rest[:end]
	if !identifier.MatchString(name) || end == len(p.rest) || p.rest[end] != '=' {
		return variable{}, false
	}
	p.advance(end + 1)
	value, ok := p.value()
	if !ok {
		return variable{}, false
	}
	p.skip(" \t\r;")
	if p.rest != "" && p.rest[0] != '\n' && p.rest[0] != '#' {
		return variable{}, false // a command with this variable
	}
	return variable{name, value}, true
}

// value reads up to the first blank outside of quotes.
func (p *confParser) value() (string, bool) {
	var out strings.Builder
	for p.rest != "" {
		switch c := p.rest[0]; c {
		case ' ', '\t', '\r', '\n', ';':
			return out.String(), true
		case '\'':
			end := strings.IndexByte(p.rest[1:], '\'')
			if end < 0 {
				return "", false
			}
			quoted := p.advance(end + 2)
			out.WriteString(quoted[1 : len(quoted)-1])
		case '"':
			text, ok := p.double()
			if !ok {
				return "", false
			}
			out.WriteString(text)
		case '\\':
			if len(p.rest) < 2 {
				return "", false
			}
			out.WriteString(strings.TrimSuffix(p.advance(2)[1:], "\n"))
		case '$', '`', '&', '|', '<', '>', '(', ')', '~', '*', '?', '[':
			return "", false
		default:
			out.WriteString(p.advance(1))
		}
	}
	return out.String(), true
}

// double reads what stands between double quotes.
func (p *confParser) double() (string, bool) {
	p.advance(1)
	var out strings.Builder
	for p.rest != "" {
		switch c := p.rest[0]; {
		case c == '"':
			p.advance(1)
			return out.String(), true
		case c == '$' || c == '`':
			return "", false
		case c == '\\' && len(p.rest) > 1 && strings.ContainsRune("\"\\$`\n", rune(p.rest[1])):
			out.WriteString(strings.TrimSuffix(p.advance(2)[1:], "\n"))
		default:
			out.WriteString(p.advance(1))
		}
	}
	return "", false
}
