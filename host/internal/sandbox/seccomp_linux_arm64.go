package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch      = unix.AUDIT_ARCH_AARCH64
	foreignNumbers = 0
)

// This processor has system calls only that replace the older ones.
var (
	forks, oldAttributes []uint32
	oldModes, oldOpens   map[uint32]uint32
)

var neverHere = []uint32{unix.SYS_KEXEC_FILE_LOAD}
