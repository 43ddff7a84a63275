// Package sandbox starts a plugin's program as a process that cannot outlive
// or harm its host.
//
// On Linux the host re-executes itself in a hidden mode, the launcher, which
// reads a [Policy] from an inherited descriptor, restricts itself and then
// becomes the plugin: a restriction taken on there cannot be undone by the
// program that follows. Today these are the resource limits and the signal
// that ends the plugin with its host; Landlock and seccomp belong between them
// and the exec, as further fields of Policy.
//
// [RunIfLauncher] MUST be the first statement of main in every program that
// starts plugins, and of TestMain in such tests. On other systems the program
// is executed directly, in its own process group and without restrictions.
package sandbox

import (
	"errors"
	"sync/atomic"
)

// Policy says what to execute and, on Linux, under which restrictions. It is
// data only; the host makes it and the launcher obeys it. It travels by
// descriptor, never by arguments or environment, which others can read.
type Policy struct {
	// Path is the real path of the program. Linux executes the open descriptor
	// and uses the path in messages only.
	Path string `json:"path"`
	// Args is the program's argv; the first is its real path.
	Args []string `json:"args"`
	// Script says that the program begins with "#!": its interpreter opens it
	// again by the descriptor, which must therefore stay open.
	Script bool `json:"script,omitempty"`
}

// launcherMode is the hidden first argument.
const launcherMode = "__launch-plugin"

// ready is set by RunIfLauncher. Without it a start would run the program's
// ordinary main again, and that one the next, without end.
var ready atomic.Bool

func checkReady() error {
	if !ready.Load() {
		return errors.New("start a plugin: sandbox.RunIfLauncher was not called first in main (a bug in this program)")
	}
	return nil
}
