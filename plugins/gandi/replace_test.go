package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// withoutReplacing is a server that renames to no name that there is already.
func (s *sshd) withoutReplacing(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(s.conf)
	must(t, err)
	must(t, os.WriteFile(s.conf, []byte(strings.Replace(string(text), "internal-sftp", "internal-sftp -P posix-rename", 1)), 0o600))
}

// errCut is what a connection that is cut at a step ends with.
var errCut = errors.New("cut")

// cut has a step of what is done end everything, as a kill does; false: there
// are less steps.
func cut(t *testing.T, g *gandi, at int, do func(*testing.T, *gandi)) (was bool) {
	t.Helper()
	n := 0
	g.step = func(string) {
		if n++; n == at {
			panic(errCut)
		}
	}
	defer func() {
		if r := recover(); r != nil {
			err, _ := r.(error)
			if was = errors.Is(err, errCut); !was {
				panic(r)
			}
		}
	}()
	do(t, g)
	return false
}

// At both kinds of server, what is cut anywhere is brought back by one Cleanup,
// also if another challenge comes between.
func TestFilesCutAtEveryStep(t *testing.T) {
	for name, plain := range map[string]bool{"replaces": false, "does not replace": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSSH(t, t.TempDir())
			if plain {
				s.withoutReplacing(t)
			}
			docs := mkdirs(t, s.dir, "vhosts/a.test/htdocs")
			must(t, os.WriteFile(filepath.Join(mkdirs(t, docs, ".well-known"), ".htaccess"), []byte("his rules"), 0o640))
			before := tree(t, s.dir)
			one, two := challenge("a.test", "one"), challenge("a.test", "two")
			for n := 1; ; n++ {
				was := cut(t, configured(t, s.settings(), t.TempDir()), n, func(t *testing.T, g *gandi) {
					must(t, perform(t, g, one))
					must(t, perform(t, g, one)) // again
					must(t, cleanup(t, g, one))
				})
				next := configured(t, s.settings(), t.TempDir())
				must(t, perform(t, next, two))
				if got := served(t, docs, two); got != "two.thumbprint" {
					t.Errorf("step %d: served is %q", n, got)
				}
				must(t, cleanup(t, next, two))
				must(t, cleanup(t, next, one))
				if after := tree(t, s.dir); after != before {
					t.Fatalf("step %d: before\n%s\nafter\n%s", n, before, after)
				}
				if !was {
					if n < 15 {
						t.Errorf("only %d steps", n-1)
					}
					return
				}
			}
		})
	}
}

// The new file is gone when it is to take the place of the old one: the old one
// stays.
func TestAReplacementThatFails(t *testing.T) {
	for name, plain := range map[string]bool{"replaces": false, "does not replace": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSSH(t, t.TempDir())
			if plain {
				s.withoutReplacing(t)
			}
			dir := mkdirs(t, s.dir, "vhosts/a.test/htdocs/.well-known")
			must(t, os.WriteFile(filepath.Join(dir, ".htaccess"), []byte("his rules"), 0o640))
			g := configured(t, s.settings(), t.TempDir())
			g.step = func(what string) {
				if what == "rename" {
					must(t, os.Remove(filepath.Join(dir, tempPrefix+"one")))
				}
			}
			err := perform(t, g, challenge("a.test", "one"))
			wantProblem(t, err, sdk.Internal, "write the file .htaccess")
			got, err := os.ReadFile(filepath.Join(dir, ".htaccess"))
			if string(got) != "his rules" {
				t.Errorf("%q is left (%v)", got, err)
			}
		})
	}
}
