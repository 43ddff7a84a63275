package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_X86_64
	// foreignNumbers is the bit of the x32 ABI.
	foreignNumbers = 0x40000000
)

var (
	forks         = []uint32{unix.SYS_FORK, unix.SYS_VFORK}
	neverHere     = []uint32{unix.SYS_KEXEC_FILE_LOAD, unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT}
	oldModes      = map[uint32]uint32{unix.SYS_CHMOD: 1, unix.SYS_CREAT: 1, unix.SYS_MKDIR: 1, unix.SYS_MKNOD: 1}
	oldOpens      = map[uint32]uint32{unix.SYS_OPEN: 1}
	oldAttributes = []uint32{unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN}
)
