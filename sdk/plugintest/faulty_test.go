package plugintest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// work is what the test binary does as the plugin "victim": five steps, and a
// file that says whether it came to its end.
func work(steps *Steps) {
	steps.Fault = func(kind, rest, step string) bool {
		return kind == "spoil" && step == "step 2" && os.WriteFile(rest, []byte("spoilt"), 0o600) == nil
	}
	for n := range 5 {
		steps.At(fmt.Sprintf("step %d", n+1))
	}
	fmt.Println("done")
}

// asHost runs the victim as a host does, from a process that is killed with it.
func asHost(t *testing.T, f *Faulty) (string, error) {
	t.Helper()
	host := exec.CommandContext(t.Context(), "/bin/sh", "-c", `"$0"; exit $?`, filepath.Join(f.Dir, binaryPrefix+"victim"))
	out, err := host.CombinedOutput()
	return string(out), err
}

func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Each step has its round, in which the victim dies and nobody else, and one more
// round ends well.
func TestEveryStep(t *testing.T) {
	for _, victim := range []string{"plugin", "host"} {
		f := NewFaulty(t, filepath.Join(t.TempDir(), "plugins"), "victim")
		var ends []bool
		rounds, mended := 0, 0
		f.EveryStep(t, victim, 5, Kill{
			Before: func() { rounds++ },
			Work: func() (string, error) {
				out, err := asHost(t, f)
				ends = append(ends, err == nil && out == "done\n")
				if (victim == "host") != killed(err) && rounds <= 5 {
					t.Errorf("%s, round %d: %v", victim, rounds, err)
				}
				return out, err
			},
			Next:   func() (string, error) { return asHost(t, f) },
			Mended: func() { mended++ },
		})
		if rounds != 6 || mended != 5 || fmt.Sprint(ends) != "[false false false false false true]" {
			t.Errorf("%s: %d rounds, %d mended, ends %v", victim, rounds, mended, ends)
		}
	}
}

// What EveryStep must not take for success.
func TestEveryStepFails(t *testing.T) {
	for name, test := range map[string]struct {
		least int
		work  func() (string, error)
	}{
		"too few steps": {1, func() (string, error) { return "", nil }},
		"no success":    {0, func() (string, error) { return "", os.ErrInvalid }},
	} {
		seen := &failing{TB: t}
		NewFaulty(t, filepath.Join(t.TempDir(), "plugins"), "victim").EveryStep(seen, "plugin", test.least, Kill{Work: test.work})
		if seen.errors != 1 {
			t.Errorf("%s: %d errors", name, seen.errors)
		}
	}
}

type failing struct {
	testing.TB
	errors int
}

func (f *failing) Errorf(string, ...any) { f.errors++ }

// The other faults happen once, at their step.
func TestFaults(t *testing.T) {
	f := NewFaulty(t, filepath.Join(t.TempDir(), "plugins"), "victim")
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	if err := os.WriteFile(from, []byte("copied"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]struct{ hit, text string }{
		"copy " + from + " " + to + " step 4": {"4 step 4", "copied"},
		"spoil " + to:                         {"2 step 2", "spoilt"},
		"unknown " + to:                       {"", ""},
		"copy " + from:                        {"", ""},
		"plugin 6":                            {"", ""},
	} {
		f.Set(t, "%s", line)
		if out, err := asHost(t, f); err != nil || out != "done\n" {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		if got := f.Hit(t); got != want.hit {
			t.Errorf("%s: hit is %q, want %q", line, got, want.hit)
		}
		text, err := os.ReadFile(to)
		if string(text) != want.text || err == nil && os.Remove(to) != nil {
			t.Errorf("%s: the file has %q, want %q", line, text, want.text)
		}
		if _, err := os.Stat(filepath.Join(f.Dir, faultFile)); err == nil {
			t.Errorf("%s: it would happen again", line)
		}
	}
}

// Steps that come side by side are counted one by one.
func TestStepsSideBySide(t *testing.T) {
	s := &Steps{path: filepath.Join(t.TempDir(), faultFile)}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { s.At("a step") })
	}
	all.Wait()
	if s.count != 50 {
		t.Errorf("50 steps are counted as %d", s.count)
	}
}
