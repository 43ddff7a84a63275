// Package doctor looks for what will go wrong: files that others can read, a
// disk that does not keep locks, a clock that is off, a CA or resolver that does
// not answer. It changes nothing.
package doctor

import "fmt"

// Level says whether somebody has to do something.
type Level string

// Levels of a finding.
const (
	OK Level = "ok"
	// Warning may be meant as it is.
	Warning Level = "warning"
	// Problem needs a hand.
	Problem Level = "problem"
)

// Finding is what was found of one thing.
type Finding struct {
	// Check is what was looked at: "plugins", "lock", "state", "clock", ...
	Check string
	Level Level
	// Text says what was found, Hint what to do.
	Text string
	Hint string
}

func ok(check, format string, args ...any) Finding {
	return Finding{Check: check, Level: OK, Text: fmt.Sprintf(format, args...)}
}

func bad(check, hint, format string, args ...any) Finding {
	return Finding{Check: check, Level: Problem, Text: fmt.Sprintf(format, args...), Hint: hint}
}

func odd(check, hint, format string, args ...any) Finding {
	return Finding{Check: check, Level: Warning, Text: fmt.Sprintf(format, args...), Hint: hint}
}
