package sandbox

import (
	"sync"
	"unsafe"

	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// ThisKernel asks what can be enforced here. Container runtimes may hide what
// the kernel has.
var ThisKernel = sync.OnceValue(func() Kernel {
	var k Kernel
	if abi, err := llsys.LandlockGetABIVersion(); err == nil {
		k.Landlock = usable(abi)
	}
	k.Seccomp = auditArch != 0 && canFilter()
	return k
})

// usable gives the version of Landlock that is used where the kernel has this one:
// of what comes later nothing is known here.
func usable(abi int) int {
	if abi < abiFiles {
		return 0
	}
	return min(abi, len(landlockConfigs))
}

// canFilter says whether a seccomp filter can refuse a system call.
func canFilter() bool {
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}
