package pluginhost

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/go-hclog"
)

// maxPairs bounds what one JSON line may add to a log entry.
const maxPairs = 32

// logLine is one line of a plugin's log.
type logLine struct {
	level   hclog.Level
	message string
	// pairs are keys and values in turn, as hclog takes them; all strings.
	pairs []any
}

// parseLogLine reads a line of standard error. Lines of hclog's JSON form keep
// their level and pairs, whatever the types of their fields; anything else is a
// plain message. Control characters are made harmless: this ends up on
// somebody's terminal.
func parseLogLine(line string) logLine {
	if strings.HasPrefix(line, "{") {
		if out, ok := parseJSONLine(line); ok {
			return out
		}
	}
	return logLine{level: plainLevel(line), message: printable(line)}
}

func parseJSONLine(line string) (logLine, bool) {
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(line), &object) != nil {
		return logLine{}, false
	}
	message, ok := object["@message"]
	if !ok {
		return logLine{}, false
	}
	out := logLine{level: hclog.LevelFromString(textOf(object["@level"])), message: printable(textOf(message))}
	if out.level == hclog.NoLevel {
		out.level = hclog.Info
	}
	var keys []string
	for k := range object {
		// @module is the plugin's own name; the entry is named by instance.
		if !slices.Contains([]string{"@message", "@level", "@timestamp", "@module", "@caller"}, k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys[:min(len(keys), maxPairs)] {
		out.pairs = append(out.pairs, printable(k), printable(textOf(object[k])))
	}
	return out, true
}

// textOf gives a JSON string's text, and any other value as it is written.
func textOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// plainLevel goes by the marks that programs commonly use.
func plainLevel(line string) hclog.Level {
	switch {
	case isPanic(line):
		return hclog.Error
	case strings.HasPrefix(line, "["):
		mark, _, _ := strings.Cut(line[1:], "]")
		if level := hclog.LevelFromString(mark); level != hclog.NoLevel {
			return level
		}
	}
	return hclog.Info
}

// panicLine begins a panic of Go, or a death by a signal that Go reports.
var panicLine = regexp.MustCompile(`^(panic: |fatal error: |SIG[A-Z]+: )`)

// traceLine is one of the stack trace that follows: positions, functions, the
// heads of goroutines, and registers.
var traceLine = regexp.MustCompile(`^(\t|goroutine \d|created by |\[signal |PC=|\[?recovered|\.\.\.|[a-z0-9]+ +0x[0-9a-f]+$|[\w./*()\[\]-]+\(.*\)$)`)

func isPanic(line string) bool { return panicLine.MatchString(line) }

func isTrace(line string) bool { return traceLine.MatchString(line) }

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), r == unicode.ReplacementChar:
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// String is the line as it stands in an error.
func (l logLine) String() string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(l.message))
	for i := 0; i+1 < len(l.pairs); i += 2 {
		fmt.Fprintf(&b, " %v=%v", l.pairs[i], l.pairs[i+1])
	}
	return b.String()
}
