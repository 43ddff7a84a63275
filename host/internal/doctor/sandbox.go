package doctor

import (
	"slices"
	"strings"
)

// Kernel tells what the sandbox of plugins is made of here.
func Kernel(landlock int, seccomp bool) Finding {
	const check = "sandbox"
	switch {
	case landlock == 0 && !seccomp:
		return odd(check, "use a kernel with Landlock (Linux 6.7 or newer), enabled by lsm=", "this system cannot confine plugins: neither Landlock nor seccomp filters")
	case landlock == 0:
		return odd(check, "enable it: add landlock to the kernel's lsm= list, or use Linux 6.7 or newer", "this kernel has seccomp filters and no Landlock of ABI 2 or newer")
	case !seccomp:
		return odd(check, "allow the seccomp system call, if a container refuses it", "this kernel has Landlock ABI %d and no seccomp filter", landlock)
	}
	return ok(check, "this kernel has Landlock ABI %d and seccomp filters", landlock)
}

// Sandbox tells how an instance is confined: the level that was asked for, why it
// has no sandbox, if it has none, and what it can do although it should not.
func Sandbox(instance, level, unconfined string, can []string) Finding {
	const check = "sandbox"
	switch {
	case level == "off":
		return odd(check, "remove sandbox: off when you have found what is in its way", "%s has no sandbox: it is switched off", instance)
	case unconfined != "":
		return ok(check, "%s has no sandbox: %s", instance, unconfined)
	case len(can) > 0:
		return ok(check, "%s is confined (%s); on this kernel it can still %s", instance, level, strings.Join(can, "; "))
	}
	return ok(check, "%s is confined (%s)", instance, level)
}

// Box is how an instance is confined with the settings that a certificate uses.
type Box struct {
	Instance string
	// For is the first certificate; empty: none uses it.
	For string
	Finding
}

// Boxes tells of each instance once, unless certificates use it with settings that
// make a difference: then it says for which.
func Boxes(boxes []Box) []Finding {
	var different []Box
	ways := map[string]int{}
	for _, b := range boxes {
		if !slices.ContainsFunc(different, func(d Box) bool { return d.Finding == b.Finding }) {
			different = append(different, b)
			ways[b.Instance]++
		}
	}
	var out []Finding
	for _, b := range different {
		if ways[b.Instance] > 1 {
			b.Text += " (as " + b.For + " uses it)"
		}
		out = append(out, b.Finding)
	}
	return out
}
