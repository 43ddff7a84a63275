package plugintest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// faultFile is beside the plugin: one line that says what is to happen to it. What
// has happened is in a file with [hitSuffix] then.
const (
	faultFile = "fault"
	hitSuffix = ".hit"
)

// Faulty is a directory of plugins for a host under test, with one in it to which
// something happens in the middle of its work. The plugin is the test binary
// itself: see [StartedAs].
type Faulty struct {
	// Dir is what the host is given as --plugin-dir.
	Dir string
}

// NewFaulty makes a directory, which must not be there yet, and puts the test
// binary into it as the plugin of a name.
func NewFaulty(t testing.TB, dir, plugin string) *Faulty {
	t.Helper()
	if err := copySelf(dir, plugin); err != nil {
		t.Fatalf("make a plugin of the test binary: %v", err)
	}
	return &Faulty{Dir: dir}
}

func copySelf(dir, plugin string) error {
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // plugins are no secret
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(self)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(filepath.Join(dir, binaryPrefix+plugin), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755) //nolint:gosec // it is run
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// Set says what is to happen to the next process of the plugin; see [Steps].
func (f *Faulty) Set(t testing.TB, format string, args ...any) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.Dir, faultFile), fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Hit says at which step it happened, as "NUMBER STEP". Empty: it did not, and
// will not.
func (f *Faulty) Hit(t testing.TB) string {
	t.Helper()
	path := filepath.Join(f.Dir, faultFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path + hitSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err = errors.Join(err, os.Remove(path+hitSuffix)); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Kill is the work in which a plugin or its host is killed, and what mends it.
// Work and Next give what was printed, for the message of a test that fails.
type Kill struct {
	// Before prepares each round, in which nobody is killed; nil: there is nothing.
	Before func()
	// Work is what the victim is killed in.
	Work func() (string, error)
	// Next is the run after that. It must succeed.
	Next func() (string, error)
	// Mended fails the test unless all is well after Next.
	Mended func()
}

// mostSteps is more than any work has.
const mostSteps = 200

// EveryStep kills the victim, "plugin" or "host", at the first step of the work, in
// the next round at the second, and so on. It ends with a round that has no such
// step any more: that one must have succeeded, and come after more than least.
func (f *Faulty) EveryStep(t testing.TB, victim string, least int, k Kill) {
	t.Helper()
	for n := 1; n <= mostSteps; n++ {
		if k.Before != nil {
			k.Before()
		}
		f.Set(t, "%s %d", victim, n)
		out, err := k.Work()
		at := f.Hit(t)
		if at == "" {
			if err != nil || n <= least {
				t.Errorf("after %d steps: %v\n%s", n-1, err, out)
			}
			return
		}
		if again, err := k.Next(); err != nil {
			t.Errorf("the next run: %v\n%s\n%s", err, again, out)
		}
		k.Mended()
		if t.Failed() {
			t.Fatalf("killed at step %s\n%s", at, strings.TrimSpace(out))
		}
	}
	t.Errorf("more than %d steps", mostSteps)
}
