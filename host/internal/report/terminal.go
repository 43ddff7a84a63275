// Package report tells the user: the story on stderr while it happens, the
// result on stdout, as text or as JSON lines.
//
// Rules of the text: stdout is the result and nothing else; stderr is the
// story; no capitals at the start of a message and no final stop; a name comes
// first; an error says what was attempted, why it failed and, after "hint:",
// what to do.
package report

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/certwright/certwright/sdk"
)

// Terminal is where a run talks to its user. It may be used from several
// goroutines; what they write never mixes within a line.
type Terminal struct {
	// In answers asks; nil: nobody can be asked.
	In io.Reader
	// Out is for results, Err for the story.
	Out io.Writer
	Err io.Writer
	// Interactive says that asks may be put to In.
	Interactive bool
	// TTY says that In is a person: only a person is given choices.
	TTY bool
	// JSON makes results JSON lines; what plugins say goes to Err then.
	JSON bool
	// Verbose shows more of the story; Quiet shows warnings only.
	Verbose bool
	Quiet   bool
	// Redact masks secrets in everything that is written; nil: as it is.
	Redact func(string) string

	// given says that an instance has Out to itself.
	given bool

	mu sync.Mutex
	// warnings that were shown.
	warnings []string
	// asking holds one value while a question is open; unlike a mutex it can
	// be waited for until a context is done.
	asking chan struct{}
	// lines of In; closed at its end.
	lines chan string
}

func (t *Terminal) clean(text string) string {
	if t.Redact == nil {
		return text
	}
	return t.Redact(text)
}

func (t *Terminal) write(w io.Writer, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// A terminal that is gone cannot be told so.
	_, _ = io.WriteString(w, t.clean(text))
}

// Story gives a place to write whole lines of the story to.
func (t *Terminal) Story() io.Writer { return storyWriter{t} }

type storyWriter struct{ terminal *Terminal }

func (w storyWriter) Write(line []byte) (int, error) {
	w.terminal.write(w.terminal.Err, string(line))
	return len(line), nil
}

func prefixed(lineage, format string, args []any) string {
	text := fmt.Sprintf(format, args...)
	if lineage != "" {
		text = lineage + ": " + text
	}
	return text
}

// Tell adds a line to the story.
func (t *Terminal) Tell(lineage, format string, args ...any) {
	if !t.Quiet {
		t.write(t.Err, prefixed(lineage, format, args)+"\n")
	}
}

// Detail adds a line that only those see who asked for more.
func (t *Terminal) Detail(lineage, format string, args ...any) {
	if t.Verbose {
		t.write(t.Err, prefixed(lineage, format, args)+"\n")
	}
}

// Warn adds a line that is always shown.
func (t *Terminal) Warn(lineage, format string, args ...any) {
	t.remember(prefixed(lineage, format, args))
	t.write(t.Err, "warning: "+prefixed(lineage, format, args)+"\n")
}

// remembered is how many warnings are kept for those who ask for them at the
// end.
const remembered = 100

func (t *Terminal) remember(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.warnings) < remembered {
		t.warnings = append(t.warnings, t.clean(text))
	}
}

// Warnings gives what was warned of so far.
func (t *Terminal) Warnings() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.warnings)
}

// WarnError shows an error, with its hint, that ends nothing.
func (t *Terminal) WarnError(err error) {
	t.remember(err.Error())
	text := "warning: " + err.Error() + "\n"
	if hint := Hint(err); hint != "" {
		text += "hint: " + hint + "\n"
	}
	t.write(t.Err, text)
}

// Error shows an error with its hint.
func (t *Terminal) Error(lineage string, err error) {
	text := "error: " + prefixed(lineage, "%v", []any{err}) + "\n"
	if hint := Hint(err); hint != "" {
		text += "hint: " + hint + "\n"
	}
	t.write(t.Err, text)
}

// GiveAway leaves Out to what plugins say; results go to Err from then on.
func (t *Terminal) GiveAway() { t.given = true }

// Print writes text to the result.
func (t *Terminal) Print(text string) {
	if t.given {
		t.write(t.Err, text)
		return
	}
	t.write(t.Out, text)
}

// Ask puts one question and waits for one line. Questions are put one at a
// time.
func (t *Terminal) Ask(ctx context.Context, text string) (string, error) {
	if !t.Interactive || t.In == nil {
		return "", sdk.ErrNotInteractive
	}
	asking, lines := t.startReading()
	select {
	case asking <- struct{}{}:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { <-asking }()
	t.write(t.Err, text)
	select {
	case line, more := <-lines:
		if !more {
			t.write(t.Err, "\n") // the line of the question is ended by nobody else
			return "", io.EOF
		}
		return line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// startReading starts the one reader of In. A read from a terminal cannot be
// given up, so the reader ends with the input or with the process.
func (t *Terminal) startReading() (asking chan struct{}, lines <-chan string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines != nil {
		return t.asking, t.lines
	}
	read := make(chan string)
	t.asking, t.lines = make(chan struct{}, 1), read
	in := bufio.NewReader(t.In)
	go func() {
		defer close(read)
		for {
			text, err := in.ReadString('\n')
			if text != "" {
				read <- strings.TrimRight(text, "\r\n")
			}
			if err != nil {
				return
			}
		}
	}()
	return t.asking, t.lines
}

// Confirm asks a question that is answered by yes or no.
func (t *Terminal) Confirm(ctx context.Context, question string) (bool, error) {
	if !t.TTY {
		return false, sdk.ErrNotInteractive
	}
	for {
		answer, err := t.Ask(ctx, question+" [y/n] ")
		if errors.Is(err, io.EOF) {
			return false, sdk.ErrNotInteractive
		}
		if err != nil {
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return true, nil
		case "n", "no":
			return false, nil
		}
	}
}

// Reporter gives a plugin its voice.
func (t *Terminal) Reporter(lineage, instance string) sdk.Reporter {
	return &voice{terminal: t, lineage: lineage, instance: instance}
}

type voice struct {
	terminal *Terminal
	lineage  string
	instance string
}

func (v *voice) Progress(subject, message string) {
	if subject != "" {
		message = subject + ": " + message
	}
	v.terminal.Tell(v.lineage, "%s: %s", v.instance, message)
}

func (v *voice) Say(to sdk.Stream, text string) {
	w := v.terminal.Out
	if to == sdk.Stderr || v.terminal.JSON {
		w = v.terminal.Err
	}
	v.terminal.write(w, text)
}

func (v *voice) Ask(ctx context.Context, text string) (string, error) {
	return v.terminal.Ask(ctx, text)
}

func (v *voice) Result(sdk.Result) {}

// Hint finds the advice that an error carries.
func Hint(err error) string {
	var own interface{ Hint() string }
	if errors.As(err, &own) {
		if h := own.Hint(); h != "" {
			return h
		}
	}
	var p *sdk.Problem
	if errors.As(err, &p) {
		return p.Hint
	}
	return ""
}
