package plugintest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Steps are those of a plugin that is a test binary, started by a host. A file
// beside it, written by [Faulty.Set], has one line that says what happens:
//
//	plugin N         at the N-th step the plugin is killed
//	host N           the same, and the host before it
//	copy FROM TO AT  before the first step that begins with AT, a file is copied
//
// or whatever else Fault knows. It happens once.
type Steps struct {
	// Fault is called before each step while there is a line of another kind, does
	// what that says if it is time, and says whether it has. May be nil.
	Fault func(kind, rest, step string) bool

	mu    sync.Mutex // steps come side by side
	path  string
	count int
}

// StartedAs gives the steps of this process if it is to be the plugin of a name,
// that is if it was started as one; nil: it is to run tests. TestMain asks it first:
//
//	if steps := plugintest.StartedAs("NAME"); steps != nil {
//		p := newPlugin()
//		p.step = steps.At
//		sdk.Serve(declaration(p))
//		os.Exit(0)
//	}
func StartedAs(plugin string) *Steps {
	self := os.Args[0]
	if filepath.Base(self) != binaryPrefix+plugin {
		return nil
	}
	return &Steps{path: filepath.Join(filepath.Dir(self), faultFile)}
}

// At is called by the plugin before each step that could be its last one, from
// any goroutine.
func (s *Steps) At(step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	line, err := os.ReadFile(s.path)
	if err != nil {
		return
	}
	kind, rest, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	switch kind {
	case "plugin", "host":
		if n, err := strconv.Atoi(rest); err != nil || n != s.count {
			return
		}
		s.hit(step)
		if kind == "host" {
			_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	case "copy":
		words := strings.SplitN(rest, " ", 3)
		if len(words) < 3 || !strings.HasPrefix(step, words[2]) {
			return
		}
		s.hit(step)
		if data, err := os.ReadFile(words[0]); err == nil {
			_ = os.WriteFile(words[1], data, 0o600)
		}
	default:
		if s.Fault != nil && s.Fault(kind, rest, step) {
			s.hit(step)
		}
	}
}

// hit notes it before it happens: a process that is killed notes nothing.
func (s *Steps) hit(step string) {
	_ = os.WriteFile(s.path+hitSuffix, fmt.Appendf(nil, "%d %s", s.count, step), 0o600)
	_ = os.Remove(s.path)
}
