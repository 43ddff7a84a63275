//go:build slow

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The plugin, or the host with it, is killed at every step of everything that
// changes the disk or the server. Afterwards, and after the next run has mended
// what there is to mend, the configuration is as it was or as it was to be, byte
// for byte; the server shows a pair that fits it, and answers no challenge.
func TestKilledAtEveryStep(t *testing.T) {
	prefix := install(t)
	for _, kind := range []string{"plugin", "host", "break-plugin", "break-host"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			l := newLane(t, prefix)
			hits := 0
			for n := 1; ; n++ {
				if !l.killedAt(t, kind, n) {
					break
				}
				hits++
				if t.Failed() {
					t.Fatalf("killed the %s at step %d", kind, n)
				}
			}
			if least := map[bool]int{true: 5, false: 60}[strings.HasPrefix(kind, "break")]; hits < least {
				t.Errorf("there were %d steps only", hits)
			}
		})
	}
}

// lane is one server that is put back to its start for each round.
type lane struct {
	web   *web
	host  *host
	start map[string]string
	// after is what the configuration is to be, without times.
	after map[string]string
}

func newLane(t *testing.T, prefix string) *lane {
	t.Helper()
	w := running(t, debian)
	l := &lane{web: w, host: startHost(t, prefix, w)}
	l.host.faulty(t)
	l.start = contents(w.tree(t))
	l.host.do(t, "run", "--nginx", "-d", "a.test,b.test,none.test")
	l.after = contents(w.tree(t))
	return l
}

// contents leaves out what a rewritten file cannot have again.
func contents(tree map[string]string) map[string]string {
	out := map[string]string{}
	for path, text := range tree {
		if head, body, ok := strings.Cut(text, "\n"); ok && !strings.HasPrefix(text, "-> ") {
			mode, _, _ := strings.Cut(head, " ")
			text = mode + "\n" + body
		}
		out[path] = text
	}
	return out
}

// reset makes everything as it was at the start.
func (l *lane) reset(t *testing.T) {
	t.Helper()
	must(t, os.RemoveAll(l.host.state()))
	for path := range l.web.tree(t) {
		if _, ok := l.start[path]; !ok {
			must(t, os.Remove(path))
		}
	}
	for path, text := range l.start {
		if _, body, ok := strings.Cut(text, "\n"); ok && !strings.HasPrefix(text, "-> ") {
			if now := read(t, path); now != body {
				must(t, os.WriteFile(path, []byte(body), 0o644))
			}
		}
	}
	must(t, l.web.plugin(t, t.TempDir()).Restart(t.Context(), &recorder{}))
	for _, name := range []string{"fault", "fault.hit"} {
		if err := os.Remove(filepath.Join(l.host.plugins, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// killedAt gives false if there are not so many steps.
func (l *lane) killedAt(t *testing.T, kind string, n int) bool {
	t.Helper()
	l.reset(t)
	before := l.web.tree(t)
	l.host.fault(t, fmt.Sprint(kind, " ", n))
	out, err := l.host.try(t, "run", "--nginx", "-d", "a.test,b.test,none.test")
	if _, missed := os.Stat(filepath.Join(l.host.plugins, "fault.hit")); missed != nil {
		if err != nil && !strings.HasPrefix(kind, "break") {
			t.Errorf("nothing was killed, and it failed: %v\n%s", err, out)
		}
		return false
	}
	tokens := l.tokens(t)
	if code, _, err := get(both(l.web.http)[0], "a.test", "/"); err != nil || code != 200 {
		t.Errorf("after the kill: %d %v", code, err)
	}
	mended, err := l.host.try(t, "renew")
	if err != nil {
		t.Errorf("renew: %v\n%s\nbefore that:\n%s", err, mended, out)
	}
	tree := l.web.tree(t)
	switch {
	case cmp.Equal(before, tree):
		if got, err := served(both(l.web.https)[0], "b.test"); err != nil || got.Subject.CommonName != "old.test" {
			t.Errorf("all is as before, but b.test shows %v %v", got, err)
		}
	case cmp.Equal(l.after, contents(tree)):
		leaf := l.host.leaf(t, "deployed/nginx/a.test")
		for _, name := range []string{"a.test", "b.test", "none.test"} {
			wantLeaf(t, leaf, both(l.web.https)[1], name)
		}
	default:
		t.Errorf("it is neither as before nor as after:\n%s\n%s\n%s", cmp.Diff(l.after, contents(tree)), out, mended)
	}
	for _, token := range tokens {
		for _, name := range []string{"a.test", "b.test", "none.test"} {
			if code, body, err := get(both(l.web.http)[0], name, challengePrefix+token); err == nil && code == 200 && strings.HasPrefix(body, token+".") {
				t.Errorf("the challenge %s of %s is still answered\n%s\n%s", token, name, out, mended)
			}
		}
	}
	if left, err := os.ReadDir(filepath.Join(l.host.state(), "plugins", "nginx", "checkpoints", "open")); err == nil && len(left) > 0 {
		t.Errorf("%d checkpoints are unfinished", len(left))
	}
	const often = 8
	if n%often == 0 {
		l.host.do(t, "run", "--nginx", "-d", "a.test,b.test,none.test")
		equal(t, l.after, contents(l.web.tree(t)))
		wantLeaf(t, l.host.leaf(t, "live/a.test"), both(l.web.https)[0], "none.test")
	}
	return true
}

var tokenPattern = regexp.MustCompile(regexp.QuoteMeta(challengePrefix) + `([A-Za-z0-9_-]{20,})`)

// tokens are those of the journal.
func (l *lane) tokens(t *testing.T) []string {
	t.Helper()
	var out []string
	must(t, filepath.WalkDir(filepath.Join(l.host.state(), "journal"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range tokenPattern.FindAllStringSubmatch(string(data), -1) {
			out = append(out, m[1])
		}
		return err
	}))
	return out
}
