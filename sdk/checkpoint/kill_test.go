package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// The tests in this file run the test binary again as a process that kills
// itself with SIGKILL at the n-th step, for every n.
const killEnv = "CHECKPOINT_TEST_KILL"

type victim struct {
	Work  string // one of works
	State string
	Tree  string
	// KillAt is the number of a step, or KillOn how the text of one begins.
	KillAt int
	KillOn string
}

var works = map[string]func(context.Context, *Store, string) error{
	"write": func(ctx context.Context, s *Store, tree string) error {
		_, err := writeAll(ctx, s, tree, "new")
		return err
	},
	"finalise": func(ctx context.Context, s *Store, tree string) error {
		d, err := writeAll(ctx, s, tree, "new")
		if err == nil {
			_, err = d.Finalise(ctx, "new")
		}
		return err
	},
	"discard": func(ctx context.Context, s *Store, tree string) error {
		d, err := writeAll(ctx, s, tree, "new")
		if err == nil {
			err = d.Discard(ctx)
		}
		return err
	},
	"rollback": func(ctx context.Context, s *Store, _ string) error {
		_, err := s.Rollback(ctx, 2, Scope{})
		return err
	},
	"recover": func(ctx context.Context, s *Store, _ string) error { return s.Recover(ctx) },
}

func writeAll(ctx context.Context, s *Store, tree, text string) (*Draft, error) {
	d, err := s.Begin(ctx, "label")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"public.pem", "link.pem", "fresh.pem", "public.pem"} {
		if err := d.WriteFile(ctx, filepath.Join(tree, name), []byte(text+" "+name), Attributes{}); err != nil {
			return d, err
		}
	}
	return d, errors.Join(
		d.Undo(ctx, "/bin/true"), d.Mkdir(ctx, filepath.Join(tree, "fresh"), 0o755),
		d.Symlink(ctx, "../public.pem", filepath.Join(tree, "fresh", "link")), d.Remove(ctx, filepath.Join(tree, "fresh.pem")),
	)
}

func TestMain(m *testing.M) {
	if work := os.Getenv(killEnv); work != "" {
		os.Exit(runVictim(work))
	}
	goleak.VerifyTestMain(m)
}

func runVictim(work string) int {
	var v victim
	err := json.Unmarshal([]byte(work), &v)
	if err == nil {
		var s *Store
		if s, err = Open(v.State); err == nil {
			n := 0
			s.Step = func(what string) {
				if n++; n == v.KillAt || v.KillOn != "" && strings.HasPrefix(what, v.KillOn) {
					fmt.Fprint(os.Stderr, what)
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
					select {} // the signal is on its way
				}
			}
			err = works[v.Work](context.Background(), s, v.Tree)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run gives the step that the process was killed at; done: it got to its end.
func (v victim) run(t *testing.T) (step string, done bool) {
	t.Helper()
	work, err := json.Marshal(v)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+string(work))
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	said, err := io.ReadAll(stderr)
	must(t, err)
	err = cmd.Wait()
	if err == nil {
		return "", true
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("%s, step %d: %v\n%s", v.Work, v.KillAt, err, said)
	}
	return string(said), false
}

func TestKilledAtEveryStep(t *testing.T) {
	for _, tt := range []struct {
		work string
		// prepare makes what was there before.
		prepare func(t *testing.T, v victim)
		// least steps there must be, so that no step is lost unnoticed.
		least int
		// changes: at the end the tree is another one.
		changes bool
	}{
		{"write", func(*testing.T, victim) {}, 30, false},
		{"finalise", func(*testing.T, victim) {}, 32, true},
		{"discard", func(*testing.T, victim) {}, 40, false},
		{"rollback", finalisedTwice, 20, true},
	} {
		t.Run(tt.work, func(t *testing.T) {
			t.Parallel()
			changed := false
			for n := 1; ; n++ {
				tree, state := t.TempDir(), t.TempDir()
				v := victim{Work: tt.work, State: state, Tree: tree, KillAt: n}
				sow(t, tree)
				tt.prepare(t, v)
				before := look(t, tree, true)
				step, done := v.run(t)
				must(t, open(t, state).Recover(t.Context()))
				after := look(t, tree, true)
				same := sameTree(before, after)
				switch {
				case same && changed:
					t.Fatalf("step %d (%s): the tree is as before again", n, step)
				case !same && !tt.changes:
					equal(t, before, after)
					t.Fatalf("step %d (%s): the tree is not as before", n, step)
				case !same:
					changed = true
					whole(t, tt.work, n, step, after)
				}
				clean(t, state)
				if done {
					if n <= tt.least || changed != tt.changes {
						t.Fatalf("only %d steps, changed: %v", n-1, changed)
					}
					return
				}
			}
		})
	}
}

func finalisedTwice(t *testing.T, v victim) {
	t.Helper()
	s := open(t, v.State)
	for _, text := range []string{"first", "second"} {
		d, err := writeAll(t.Context(), s, v.Tree, text)
		must(t, err)
		_, err = d.Finalise(t.Context(), text)
		must(t, err)
	}
}

func sameTree(a, b tree) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if a[k] != b[k] {
			return false
		}
	}
	return true
}

// whole compares a tree that is not as before with what the work makes of it.
func whole(t *testing.T, work string, n int, step string, got tree) {
	t.Helper()
	dir := t.TempDir()
	sow(t, dir)
	if work == "rollback" { // everything as it was in the beginning
		if want := look(t, dir, true); !sameTree(want, got) {
			equal(t, want, got)
			t.Fatalf("step %d (%s): the tree is neither as before nor rolled back", n, step)
		}
		return
	}
	d, err := writeAll(t.Context(), open(t, t.TempDir()), dir, "new")
	must(t, err)
	want := look(t, dir, false)
	must(t, d.Discard(t.Context()))
	for path, text := range want {
		if len(got[path]) < len(text) || got[path][:len(text)] != text { // but for the time of writing
			t.Fatalf("step %d (%s): %s is %q, want %q", n, step, path, got[path], text)
		}
	}
	equal(t, len(want), len(got))
}

// clean checks that nothing unfinished is left in the store.
func clean(t *testing.T, state string) {
	t.Helper()
	s := open(t, state)
	for _, dir := range []string{s.openDir(), s.trashDir()} {
		left, err := os.ReadDir(dir)
		must(t, err)
		if len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
	if pathExists(t, filepath.Join(s.dir, undoName)) {
		t.Error("a rollback is not completed")
	}
}

// A recovery may itself be killed, at every step, again and again.
func TestRecoverKilledAtEveryStep(t *testing.T) {
	for work, killOn := range map[string]string{
		"finalise": "finalise: rename", // everything is written
		"rollback": "remove: clear",    // the newest of two is restored
	} {
		t.Run(work, func(t *testing.T) {
			t.Parallel()
			steps := 0
			for n := 1; ; n++ {
				tree, state := t.TempDir(), t.TempDir()
				sow(t, tree)
				want := look(t, tree, true)
				v := victim{Work: work, State: state, Tree: tree}
				if work == "rollback" {
					finalisedTwice(t, v)
				}
				v.KillOn = killOn
				killed, done := v.run(t)
				if done {
					t.Fatal("it was not killed")
				}
				v.Work, v.KillOn, v.KillAt = "recover", "", n
				step, done := v.run(t)
				if !done {
					steps++
					v.KillAt = max(1, n-1)
					v.run(t)
				}
				must(t, open(t, state).Recover(t.Context()))
				if got := look(t, tree, true); !sameTree(want, got) {
					equal(t, want, got)
					t.Fatalf("killed at %q, then recovery at step %d (%s)", killed, n, step)
				}
				clean(t, state)
				if done {
					if steps < 8 {
						t.Fatalf("only %d steps", steps)
					}
					return
				}
			}
		})
	}
}
