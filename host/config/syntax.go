package config

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntaxError gives the place of what is no YAML. Tabs, which look like spaces,
// are named: the parser's own words leave everybody guessing.
func syntaxError(file string, data []byte, err error) error {
	p := Pos{File: file, Line: 1, Col: 1}
	text := err.Error()
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		_, _ = fmt.Sscan(m[1], &p.Line)
		text = strings.TrimPrefix(text, m[0])
	}
	if line, col := tab(data); line > 0 && strings.Contains(text, "cannot start any token") {
		p.Line, p.Col = line, col
		return errorAt(p, "a tab stands here: YAML is indented with spaces, tabs are not allowed")
	}
	return errorAt(p, "not YAML: %s", strings.TrimPrefix(text, "yaml: "))
}

// tab finds the first one in the indentation of a line; 0: there is none.
func tab(data []byte) (line, col int) {
	for text := range bytes.Lines(data) {
		line++
		indent := len(text) - len(bytes.TrimLeft(text, " \t"))
		if at := bytes.IndexByte(text[:indent], '\t'); at >= 0 {
			return line, at + 1
		}
	}
	return 0, 0
}
