package sandbox

import (
	"fmt"
	"slices"
	"strings"
)

// Kernel is what a confinement is enforced with.
type Kernel struct {
	// Landlock is the version of its interface that is used; 0: none that can be.
	Landlock int `json:"landlock,omitempty"`
	// Seccomp filters can be used.
	Seccomp bool `json:"seccomp,omitempty"`
}

// Versions of the Landlock interface (the kernel's
// Documentation/userspace-api/landlock.rst) that brought what is used here, and
// the first Linux with each.
const (
	// abiFiles is the first that is used. ABI 1 knows files, too, and refuses to
	// move one to another directory whatever the rules say: no plugin could keep
	// its checkpoints.
	abiFiles    = 2
	abiTruncate = 3
	abiTCP      = 4
	abiDevices  = 5
	abiScopes   = 6
	abiLog      = 7
	abiSockets  = 9
)

// Shortfall is what a confinement forbids and this kernel allows.
type Shortfall struct {
	// What the plugin can do nevertheless, to be read after "it can".
	What string `json:"what"`
	// Needs is what would prevent it.
	Needs string `json:"needs"`
}

func (s Shortfall) String() string { return s.What + " (needs " + s.Needs + ")" }

// Shortfalls compares a confinement with what the kernel can enforce.
func (k Kernel) Shortfalls(c Confinement) []Shortfall {
	var out []Shortfall
	landlock := func(abi int, what string) {
		if k.Landlock < abi {
			out = append(out, Shortfall{what, fmt.Sprintf("Landlock ABI %d", abi)})
		}
	}
	seccomp := func(what string) {
		if !k.Seccomp {
			out = append(out, Shortfall{what, "seccomp filters"})
		}
	}
	landlock(abiFiles, "use every file that its user can use")
	landlock(abiTruncate, "empty files that its user can write to")
	if c.network() && (!c.Connect.Any || !c.Bind.Any) {
		landlock(abiTCP, "use TCP ports that it does not name")
	}
	landlock(abiDevices, "control devices that it may open")
	if !c.Signals && (c.Children || !k.Seccomp) {
		landlock(abiScopes, "send signals to other processes of its user")
	}
	if !c.abstract() && (c.dials() || !k.Seccomp) {
		landlock(abiScopes, "connect to abstract unix sockets")
	}
	if c.dials() || !k.Seccomp {
		landlock(abiSockets, "connect to unix sockets that its user can reach")
	}
	switch listens := "listen at TCP ports that the kernel chooses"; {
	case !c.network() && k.Landlock < abiTCP:
		seccomp("use the network")
	case c.Bind.Any || slices.Contains(c.Bind.List, 0):
	case c.network():
		// listen(2) binds a socket that was not bound, and no rule speaks of it.
		out = append(out, Shortfall{listens, "a Landlock that there is not yet"})
	default:
		seccomp(listens)
	}
	seccomp("get around the rules for TCP with other protocols")
	if !c.UDP {
		seccomp("use UDP")
	}
	if !c.Children {
		seccomp("start other programs that it may execute")
	}
	if !c.Attributes || !c.Children {
		seccomp("change modes and owners of its user's files")
	}
	seccomp("make the kernel work for it in ways that plugins have no use for")
	return out
}

// Level says how much of a confinement must be enforced.
type Level string

// Levels of an instance.
const (
	// Required refuses the start unless Landlock restricts files and TCP and the
	// seccomp filter is active.
	Required Level = "required"
	// BestEffort enforces what the kernel can.
	BestEffort Level = "best-effort"
	// Off does not confine.
	Off Level = "off"
)

// Levels are all of them.
func Levels() []Level { return []Level{Required, BestEffort, Off} }

// Missing says what the level required lacks on this kernel; empty: nothing.
func (k Kernel) Missing() string {
	var lacks []string
	switch {
	case k.Landlock == 0:
		lacks = append(lacks, fmt.Sprintf("Landlock is not there, not enabled or of ABI 1 (it wants %d, Linux 6.7)", abiTCP))
	case k.Landlock < abiTCP:
		lacks = append(lacks, fmt.Sprintf("its Landlock has ABI %d (it wants %d, Linux 6.7)", k.Landlock, abiTCP))
	}
	if !k.Seccomp {
		lacks = append(lacks, "it has no seccomp filter for this processor")
	}
	return strings.Join(lacks, ", and ")
}
