package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// screen is a terminal whose output can be read.
type screen struct {
	*Terminal
	out, err *bytes.Buffer
}

func newScreen(in io.Reader) screen {
	var out, err bytes.Buffer
	return screen{&Terminal{In: in, Out: &out, Err: &err, Interactive: in != nil, TTY: in != nil}, &out, &err}
}

func TestStory(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(*Terminal)
		want string
	}{
		"usual":   {func(*Terminal) {}, "a.example: told 1\nwarning: a.example: warned\nerror: a.example: failed\n"},
		"verbose": {func(t *Terminal) { t.Verbose = true }, "a.example: told 1\nmore\nwarning: a.example: warned\nerror: a.example: failed\n"},
		"quiet":   {func(t *Terminal) { t.Quiet = true }, "warning: a.example: warned\nerror: a.example: failed\n"},
	} {
		s := newScreen(nil)
		tt.set(s.Terminal)
		s.Tell("a.example", "told %d", 1)
		s.Detail("", "more")
		s.Warn("a.example", "warned")
		s.Error("a.example", errors.New("failed"))
		if s.err.String() != tt.want || s.out.Len() > 0 {
			t.Errorf("%s: %q on stderr, %q on stdout; want %q", name, s.err, s.out, tt.want)
		}
	}
}

type advised struct{ hint string }

func (advised) Error() string  { return "advised" }
func (a advised) Hint() string { return a.hint }

func TestHint(t *testing.T) {
	problem := sdk.Hint(errors.New("x"), "restart it")
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"none":                 {errors.New("x"), ""},
		"nil":                  {nil, ""},
		"problem":              {problem, "restart it"},
		"wrapped problem":      {fmt.Errorf("deploy: %w", problem), "restart it"},
		"joined problem":       {errors.Join(errors.New("x"), problem), "restart it"},
		"own":                  {fmt.Errorf("a: %w", advised{"open port 80"}), "open port 80"},
		"own comes first":      {errors.Join(problem, advised{"open port 80"}), "open port 80"},
		"own without anything": {errors.Join(problem, advised{}), "restart it"},
		"problem without":      {sdk.Problemf(sdk.Internal, "x"), ""},
	} {
		if got := Hint(tt.err); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	s := newScreen(nil)
	s.Error("", problem)
	if got := s.err.String(); got != "error: x\nhint: restart it\n" {
		t.Errorf("%q", got)
	}
}

func TestAsk(t *testing.T) {
	ctx := t.Context()
	s := newScreen(strings.NewReader("one\r\ntwo\n\nlast"))
	for _, want := range []string{"one", "two", "", "last"} {
		if got, err := s.Ask(ctx, "? "); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	for range 2 {
		if got, err := s.Ask(ctx, "? "); !errors.Is(err, io.EOF) || got != "" {
			t.Errorf("at the end: %q, %v", got, err)
		}
	}
	if got := s.err.String(); got != strings.Repeat("? ", 4)+strings.Repeat("? \n", 2) || s.out.Len() > 0 {
		t.Errorf("questions: %q, on stdout: %q", got, s.out)
	}
	for name, in := range map[string]*Terminal{
		"not interactive": {In: strings.NewReader("x\n"), Err: io.Discard}, "no input": {Interactive: true, Err: io.Discard},
	} {
		if _, err := in.Ask(ctx, "? "); !errors.Is(err, sdk.ErrNotInteractive) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// asked tells when a question is on the screen.
type asked struct{ c chan string }

func (a asked) Write(p []byte) (int, error) {
	a.c <- string(p)
	return len(p), nil
}

// An ask ends with its context, while it waits for its turn too, and takes no
// line from the next one.
func TestAskEndsWithItsContext(t *testing.T) {
	in, write := io.Pipe()
	defer write.Close()
	shown := asked{make(chan string)}
	s := &Terminal{In: in, Out: io.Discard, Err: shown, Interactive: true}
	gone := errors.New("the call was given up")
	first, endFirst := context.WithCancelCause(t.Context())
	second, endSecond := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.Ask(first, "first? "); !errors.Is(err, gone) {
			t.Errorf("the open ask: %v", err)
		}
	})
	if got := <-shown.c; got != "first? " {
		t.Errorf("%q", got)
	}
	endSecond(gone)
	if _, err := s.Ask(second, "second? "); !errors.Is(err, gone) {
		t.Errorf("the ask in the queue: %v", err)
	}
	endFirst(gone)
	wg.Wait()
	wg.Go(func() {
		if got, err := s.Ask(t.Context(), "third? "); err != nil || got != "answer" {
			t.Errorf("the next ask: %q, %v", got, err)
		}
	})
	if got := <-shown.c; got != "third? " {
		t.Errorf("%q", got)
	}
	if _, err := io.WriteString(write, "answer\n"); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func TestConfirm(t *testing.T) {
	for in, want := range map[string]any{
		"y\n": true, "YES\n": true, "\tN\n": false, "no\n": false, "what\n\ny\n": true, "what\n": sdk.ErrNotInteractive, "": sdk.ErrNotInteractive,
	} {
		s := newScreen(strings.NewReader(in))
		got, err := s.Confirm(t.Context(), "Really?")
		if wantErr, failed := want.(error); failed {
			if !errors.Is(err, wantErr) || got {
				t.Errorf("%q: %v, %v", in, got, err)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
		if want := strings.Repeat("Really? [y/n] ", strings.Count(in, "\n")); s.err.String() != want {
			t.Errorf("%q: %q was asked, want %q", in, s.err, want)
		}
		// Read to the end, so that the reader ends.
		for err == nil {
			_, err = s.Ask(t.Context(), "")
		}
	}
	s := newScreen(strings.NewReader("y\n"))
	s.TTY = false // a program may answer asks, but is given no choices
	if ok, err := s.Confirm(t.Context(), "Really?"); ok || !errors.Is(err, sdk.ErrNotInteractive) || s.err.Len() > 0 {
		t.Errorf("without a person: %v, %v, %q", ok, err, s.err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	silent, write := io.Pipe()
	defer write.Close()
	if ok, err := newScreen(silent).Confirm(ctx, "Really?"); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("without an answer: %v, %v", ok, err)
	}
}

func TestReporter(t *testing.T) {
	s := newScreen(strings.NewReader("blue\n"))
	r := s.Reporter("a.example", "web")
	r.Progress("", "begins")
	r.Progress("c1", "is in place")
	r.Say(sdk.Stdout, "to stdout, ")
	r.Say(sdk.Stderr, "to stderr, ")
	r.Result(sdk.Result{Subject: "not shown"})
	if got, err := r.Ask(t.Context(), "colour? "); err != nil || got != "blue" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := r.Ask(t.Context(), ""); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if want := "a.example: web: begins\na.example: web: c1: is in place\nto stderr, colour? \n"; s.err.String() != want {
		t.Errorf("stderr: %q, want %q", s.err, want)
	}
	if s.out.String() != "to stdout, " {
		t.Errorf("stdout: %q", s.out)
	}
	s = newScreen(nil)
	s.JSON = true // stdout is for JSON alone
	s.Reporter("a.example", "web").Say(sdk.Stdout, "text")
	if s.out.Len() > 0 || s.err.String() != "text" {
		t.Errorf("stdout %q, stderr %q", s.out, s.err)
	}
}

func TestRedact(t *testing.T) {
	var secrets Secrets
	if got := secrets.Redact("nothing is known"); got != "nothing is known" {
		t.Errorf("%q", got)
	}
	for _, secret := range []string{"hunter2", "hunter2hunter2\n", "abc", "", "  ", "quo\"te<\\", "line one\nline two"} {
		secrets.Add([]byte(secret))
	}
	for text, want := range map[string]string{
		"the key hunter2, hunter2":              "the key [secret], [secret]",
		"hunter2hunter2":                        "[secret]", // not [secret][secret]
		"abc is too short":                      "abc is too short",
		"quo\"te<\\ and line one\nline two.":    "[secret] and [secret].",
		`{"e":"quo\"te<\\ line one\nline two"}`: `{"e":"[secret] [secret]"}`,
	} {
		if got := secrets.Redact(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	s := newScreen(strings.NewReader(""))
	s.Redact, s.Verbose = secrets.Redact, true
	s.Tell("hunter2", "hunter2")
	s.Detail("", "hunter2")
	s.Warn("", "hunter2")
	s.Error("", sdk.Hint(errors.New("hunter2"), "use hunter2"))
	s.Print("hunter2")
	s.Reporter("", "x").Say(sdk.Stdout, "hunter2")
	_, _ = s.Ask(t.Context(), "hunter2?")
	s.JSON = true
	s.Fatal(errors.New(`not quo"te<\`))
	if all := s.err.String() + s.out.String(); strings.Contains(all, "hunter2") || strings.Contains(all, "quo") || strings.Count(all, "[secret]") != 11 {
		t.Errorf("%s", all)
	}
}

// Lines of several goroutines never mix.
func TestLinesStayWhole(t *testing.T) {
	s := newScreen(nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				s.Tell(strings.Repeat(fmt.Sprint(i), 20), "%s", strings.Repeat(fmt.Sprint(i), 20))
			}
		})
	}
	wg.Wait()
	for line := range strings.Lines(s.err.String()) {
		if strings.Count(line, line[:1]) != 40 {
			t.Fatalf("mixed: %q", line)
		}
	}
}
