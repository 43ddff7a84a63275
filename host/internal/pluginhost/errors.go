package pluginhost

import (
	"fmt"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// StartError says why an instance could not be started.
type StartError struct {
	Instance, Plugin string
	Reason           error
	// LastWords are the last lines that the process wrote.
	LastWords []string
}

func (e *StartError) Error() string {
	return fmt.Sprintf("start instance %s (plugin %s): %v%s", e.Instance, e.Plugin, e.Reason, quoteLastWords(e.LastWords))
}

// Unwrap gives the reason.
func (e *StartError) Unwrap() error { return e.Reason }

// DiedError says that a plugin's process ended by itself and broke a call.
type DiedError struct {
	Instance, Plugin string
	// Call that broke, as the client names it, and how the process ended.
	Call, Fate string
	LastWords  []string
	Err        error
}

func (e *DiedError) Error() string {
	return fmt.Sprintf("instance %s (plugin %s): %s: the plugin's process %s%s",
		e.Instance, e.Plugin, e.Call, e.Fate, quoteLastWords(e.LastWords))
}

// Unwrap gives the error of the call.
func (e *DiedError) Unwrap() error { return e.Err }

func quoteLastWords(lines []string) string {
	switch len(lines) {
	case 0:
		return "; it said nothing"
	case 1:
		return "; its last words: " + lines[0]
	}
	return fmt.Sprintf("; its last %d lines: %s", len(lines), strings.Join(lines, " | "))
}

// SettingsError has one problem for each setting of an instance that is wrong.
type SettingsError struct {
	Instance, Plugin string
	Problems         []*sdk.Problem
}

func (e *SettingsError) Error() string {
	var all []string
	for _, p := range e.Problems {
		all = append(all, p.Error())
	}
	return fmt.Sprintf("instance %s (plugin %s): %s; see `certwright plugins describe %s`",
		e.Instance, e.Plugin, strings.Join(all, "; "), e.Plugin)
}

// Usage marks a mistake in the configuration.
func (e *SettingsError) Usage() bool { return true }

// Unwrap gives the problems.
func (e *SettingsError) Unwrap() []error {
	out := make([]error, 0, len(e.Problems))
	for _, p := range e.Problems {
		out = append(out, p)
	}
	return out
}
