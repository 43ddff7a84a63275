// Package sandbox starts a plugin's program as a process that cannot outlive
// or harm its host.
//
// On Linux the host re-executes itself in a hidden mode, the launcher, which
// reads a [Policy] from an inherited descriptor, restricts itself and then
// becomes the plugin: a restriction taken on there cannot be undone by the
// program that follows. These are the signal that ends the plugin with its
// host, the resource limits, the capabilities that a root plugin does without,
// Landlock (files, TCP ports, signals, abstract sockets) and a seccomp filter
// (kinds of sockets, processes, and what no plugin has a use for).
//
// [Kernel] says what this machine can enforce, and [Kernel.Shortfalls] what of a
// [Confinement] it cannot. The launcher enforces exactly what the policy says,
// or fails: what is left out is left out by the host, who tells.
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
	// User that the program runs as; nil: the host's.
	User *User `json:"user,omitempty"`
	// Confinement is all that the program may do; nil: all that its user may.
	Confinement *Confinement `json:"confinement,omitempty"`
	// Kernel is what the confinement is enforced with.
	Kernel Kernel `json:"kernel,omitzero"`
	// Limits of the process and of each of its children.
	Limits Limits `json:"limits,omitzero"`
}

// User is another user that a program runs as.
type User struct {
	Name string `json:"name"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	// Reads and Writes are paths that the plugin cannot do without.
	Reads  []string `json:"reads,omitempty"`
	Writes []string `json:"writes,omitempty"`
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
