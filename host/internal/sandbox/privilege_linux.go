package sandbox

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// capabilities (capabilities(7)) that a confined program keeps if it has them:
// they are about files and its own work. The others are for changing the machine.
func (c Confinement) capabilities() uint64 {
	keep := []int{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID}
	if c.Bind.privileged() {
		keep = append(keep, unix.CAP_NET_BIND_SERVICE)
	}
	if c.Signals {
		keep = append(keep, unix.CAP_KILL)
	}
	if c.Children {
		// Servers that test their configuration become their own user.
		keep = append(keep, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_NET_BIND_SERVICE, unix.CAP_KILL)
	}
	var mask uint64
	for _, capability := range keep {
		mask |= 1 << capability
	}
	return mask
}

// keepCapabilities keeps those of the mask and drops the others, which with
// no_new_privs exec cannot bring back. Exec gives root again what is permitted;
// somebody else gets nothing but what is ambient.
func keepCapabilities(mask uint64, root bool) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read the capabilities: %w", err)
	}
	for i := range data {
		keep := uint32(mask >> (32 * i)) //nolint:gosec // one half at a time
		data[i].Permitted &= keep
		data[i].Effective, data[i].Inheritable = data[i].Permitted, data[i].Permitted
		if root {
			data[i].Inheritable = 0
		}
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("drop the capabilities: %w", err)
	}
	for capability := range 64 {
		if data[capability/32].Inheritable&(1<<(capability%32)) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(capability), 0, 0); err != nil {
			return fmt.Errorf("keep capability %d: %w", capability, err)
		}
	}
	return nil
}

// become runs this thread as another user, who keeps what it takes to listen on
// a port that is for root and was granted.
func become(u User, ports bool) error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	// These system calls are of one thread; package syscall has them for all.
	for _, call := range []struct {
		number  uintptr
		a, b, c uintptr
	}{
		{sysSetgroups, 0, 0, 0},
		{sysSetresgid, uintptr(u.GID), uintptr(u.GID), uintptr(u.GID)},
		{sysSetresuid, uintptr(u.UID), uintptr(u.UID), uintptr(u.UID)},
	} {
		if _, _, errno := unix.RawSyscall(call.number, call.a, call.b, call.c); errno != 0 {
			return fmt.Errorf("become user %s: %w", u.Name, errno)
		}
	}
	var mask uint64
	if ports {
		mask = 1 << unix.CAP_NET_BIND_SERVICE
	}
	return keepCapabilities(mask, false)
}

// reaches says which of the paths that the plugin needs its user cannot use.
func (u User) reaches() error {
	check := func(what string, mode uint32, paths []string) error {
		for _, path := range paths {
			err := unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("the plugin needs to %s %s, and user %s cannot (%w); let that user, or run the instance without user", what, path, u.Name, err)
			}
		}
		return nil
	}
	if err := check("read", unix.R_OK, u.Reads); err != nil {
		return err
	}
	return check("write to", unix.W_OK, u.Writes)
}
