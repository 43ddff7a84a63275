//go:build linux && (386 || arm)

package sandbox

import "golang.org/x/sys/unix"

// The calls without a 32 have numbers of users with 16 bits: user 65536 would be
// root.
const (
	sysSetgroups = unix.SYS_SETGROUPS32
	sysSetresgid = unix.SYS_SETRESGID32
	sysSetresuid = unix.SYS_SETRESUID32
)
