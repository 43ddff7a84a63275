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
	if abi, err := llsys.LandlockGetABIVersion(); err == nil && abi > 0 {
		k.Landlock = min(abi, len(landlockConfigs)) // of what comes later nothing is known here
	}
	k.Seccomp = auditArch != 0 && canFilter()
	return k
})

// canFilter says whether a seccomp filter can refuse a system call.
func canFilter() bool {
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}
