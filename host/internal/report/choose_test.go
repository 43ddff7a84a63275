package report

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func TestChoose(t *testing.T) {
	for answers, want := range map[string][]int{
		"2\n": {1}, "3, 1\n": {2, 0}, "1 1,1\n": {0}, "\n": {0, 1, 2}, " , \n": {0, 1, 2},
		"0\n4\nx\n-1\n2\n": {1}, // until it is an answer
	} {
		s := newScreen(strings.NewReader(answers))
		s.TTY, s.Interactive = true, true
		got, err := s.Choose(t.Context(), "Which?", []string{"one", "two", "three"})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v; want %v", answers, got, err, want)
		}
		if text := s.err.String(); !strings.HasPrefix(text, "Which?\n   1: one\n   2: two\n   3: three\n") ||
			strings.Count(text, "is no number from 1 to 3; again: ") != strings.Count(answers, "\n")-1 {
			t.Errorf("%q: it says\n%s", answers, text)
		}
	}
}

// Nobody is there, or goes away.
func TestChooseNobody(t *testing.T) {
	for name, change := range map[string]func(*screen){
		"no person":       func(s *screen) { s.Interactive = true },
		"not interactive": func(s *screen) { s.TTY = true },
		"gone":            func(s *screen) { s.TTY, s.Interactive = true, true },
	} {
		s := newScreen(strings.NewReader(""))
		s.TTY, s.Interactive = false, false
		change(&s)
		if got, err := s.Choose(t.Context(), "Which?", []string{"one"}); !errors.Is(err, sdk.ErrNotInteractive) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestDiffsText(t *testing.T) {
	got := diffsText("a.test", map[string]string{"web": "-x\n+y\n", "mail": "", "ftp": "no end"})
	if want := "a.test: ftp would write\nno end\na.test: mail would write nothing new\na.test: web would write\n-x\n+y\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
