package sandbox

import (
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (seccomp(2)). Arguments have 64 bits, of which
// the kernel, too, looks at the lower 32 only where they are of type int.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
	// nosys answers that a system call does not exist, so that libraries fall
	// back to an older one.
	nosys = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	eperm = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	// eacces is what Landlock answers for sockets.
	eacces = unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)
	// noproto makes Go and others go on with plain TCP.
	noproto = unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)
)

// Numbers of the kernel that package unix lacks.
const (
	sysOpenTreeAttr = 467
	msgFastOpen     = 0x20000000
	tmpfile         = 0o20000000 // the bit of O_TMPFILE that is not O_DIRECTORY
	fioSetOwn       = 0x8901
	// newNamespaces are the CLONE_NEW flags that clone(2) knows.
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	socketTypeMask = 0xf // the rest are flags: SOCK_CLOEXEC, SOCK_NONBLOCK
)

// never are the system calls that no plugin has a use for: they reach into other
// processes, around the rules for files and sockets, or into the whole machine.
var never = []uint32{
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, sysOpenTreeAttr,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_FANOTIFY_INIT, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD,
	unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_SYSLOG, unix.SYS_VHANGUP,
}

// lonely are for programs that have processes beside them.
var lonely = []uint32{
	unix.SYS_SETPGID, unix.SYS_SETSID,
	unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_SET, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETATTR, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETSCHEDULER,
	unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_MSGGET, unix.SYS_SEMGET, unix.SYS_MQ_OPEN,
}

// owners are the commands that decide which process a descriptor signals, and by
// which signal.
var owners = map[uint32][]uint32{
	unix.SYS_FCNTL: {unix.F_SETOWN, unix.F_SETOWN_EX, unix.F_SETSIG},
	unix.SYS_IOCTL: {fioSetOwn, unix.SIOCSPGRP},
}

// openAttributes are modes, owners and extended attributes of a file that is open
// (one that is open by O_PATH only does not count), and so one that Landlock has
// let be opened.
var openAttributes = []uint32{unix.SYS_FCHMOD, unix.SYS_FCHOWN, unix.SYS_FSETXATTR, unix.SYS_FREMOVEXATTR}

// pathAttributes are those of any file.
var pathAttributes = append([]uint32{
	unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWNAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_SETXATTRAT,
	unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_REMOVEXATTRAT,
}, oldAttributes...)

// filter is a program for the kernel's BPF machine, in order: each piece returns
// or leads to the next.
type filter []unix.SockFilter

func (f *filter) add(code uint16, k uint32, yes, no uint8) {
	*f = append(*f, unix.SockFilter{Code: code, Jt: yes, Jf: no, K: k})
}

func (f *filter) load(offset uint32) { f.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset, 0, 0) }

// arg loads the lower half of an argument; both processors are little-endian.
func (f *filter) arg(n uint32) { f.load(offsetArgs + 8*n) }

func (f *filter) ret(action uint32) { f.add(unix.BPF_RET|unix.BPF_K, action, 0, 0) }

// ifEqual returns the action if what was loaded is the value.
func (f *filter) ifEqual(value, action uint32) {
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, value, 0, 1)
	f.ret(action)
}

// unlessEqual returns the action if what was loaded is not the value.
func (f *filter) unlessEqual(value, action uint32) {
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, value, 1, 0)
	f.ret(action)
}

// ifAny returns the action if one of the bits is set.
func (f *filter) ifAny(bits, action uint32) {
	f.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, bits, 0, 1)
	f.ret(action)
}

// unlessAny returns the action if none of the bits is set.
func (f *filter) unlessAny(bits, action uint32) {
	f.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, bits, 1, 0)
	f.ret(action)
}

func (f *filter) and(bits uint32) { f.add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, bits, 0, 0) }

// when runs a block for one value only. A block that is left allows.
func (f *filter) when(value uint32, block func(*filter)) {
	var body filter
	block(&body)
	body.ret(unix.SECCOMP_RET_ALLOW)
	if len(body) > math.MaxUint8 {
		panic("a block of the filter is longer than a jump")
	}
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, value, 0, uint8(len(body)))
	*f = append(*f, body...)
}

func (f *filter) refuse(action uint32, numbers ...uint32) {
	for _, number := range numbers {
		f.ifEqual(number, action)
	}
}

// newFilter makes the seccomp filter of a confinement, for a process with this
// number.
func newFilter(c Confinement, pid int) *filter {
	f := new(filter)
	// Another architecture has other numbers.
	f.load(offsetArch)
	f.unlessEqual(auditArch, unix.SECCOMP_RET_KILL_PROCESS)
	f.load(offsetNumber)
	if foreignNumbers != 0 {
		f.ifAny(foreignNumbers, unix.SECCOMP_RET_KILL_PROCESS)
	}
	f.refuse(eperm, never...)
	f.refuse(eperm, neverHere...)
	f.refuse(nosys, unix.SYS_CLONE3, unix.SYS_OPENAT2) // their flags are in memory, where a filter cannot look
	f.limits(pid)
	f.processes(c, pid)
	f.sockets(c)
	if !c.Attributes {
		f.refuse(eperm, openAttributes...)
	}
	if !c.Attributes || !c.Children { // programs of others do it by path
		f.refuse(eperm, pathAttributes...)
	}
	f.setID()
	f.ret(unix.SECCOMP_RET_ALLOW)
	return f
}

// limits keeps a process from setting those of others, which can end them; 0 is
// the process itself.
func (f *filter) limits(pid int) {
	f.when(unix.SYS_PRLIMIT64, func(f *filter) {
		f.arg(0)
		f.ifEqual(0, unix.SECCOMP_RET_ALLOW)
		f.unlessEqual(uint32(pid), eperm) //nolint:gosec // as below
	})
}

func (f *filter) processes(c Confinement, pid int) {
	f.when(unix.SYS_CLONE, func(f *filter) {
		f.arg(0)
		f.ifAny(newNamespaces, eperm)
		if !c.Children {
			f.unlessAny(unix.CLONE_THREAD, eperm)
		}
	})
	if c.Children {
		return
	}
	f.refuse(eperm, forks...)
	f.refuse(eperm, lonely...)
	f.when(unix.SYS_PRCTL, func(f *filter) { // it would outlive its host
		f.arg(0)
		f.ifEqual(unix.PR_SET_PDEATHSIG, eperm)
	})
	if c.Signals {
		return
	}
	for _, number := range []uint32{unix.SYS_KILL, unix.SYS_TGKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO} {
		f.when(number, func(f *filter) {
			f.arg(0)
			f.unlessEqual(uint32(pid), eperm) //nolint:gosec // the kernel's numbers have 22 bits
		})
	}
	f.refuse(eperm, unix.SYS_TKILL, unix.SYS_PIDFD_SEND_SIGNAL)
	// A descriptor that is ready signals whoever owns it.
	for number, commands := range owners {
		f.when(number, func(f *filter) {
			f.arg(1)
			f.refuse(eperm, commands...)
		})
	}
}

// modes are the calls that give a file a mode, and the argument that it is.
var modes = map[uint32]uint32{
	unix.SYS_FCHMOD: 1, unix.SYS_FCHMODAT: 2, unix.SYS_FCHMODAT2: 2, unix.SYS_MKDIRAT: 2, unix.SYS_MKNODAT: 2,
}

// opens are those that give one only if they make the file, and the argument that
// holds their flags; the mode is the next.
var opens = map[uint32]uint32{unix.SYS_OPENAT: 2}

// setID refuses to leave a program that runs as the plugin's user or group,
// whoever starts it.
func (f *filter) setID() {
	const bits = unix.S_ISUID | unix.S_ISGID
	for _, calls := range []map[uint32]uint32{modes, oldModes} {
		for number, mode := range calls {
			f.when(number, func(f *filter) {
				f.arg(mode)
				f.ifAny(bits, eperm)
			})
		}
	}
	for _, calls := range []map[uint32]uint32{opens, oldOpens} {
		for number, flags := range calls {
			f.when(number, func(f *filter) {
				f.arg(flags)
				f.unlessAny(unix.O_CREAT|tmpfile, unix.SECCOMP_RET_ALLOW)
				f.arg(flags + 1)
				f.ifAny(bits, eperm)
			})
		}
	}
}

func (f *filter) sockets(c Confinement) {
	f.when(unix.SYS_SOCKET, func(f *filter) {
		f.arg(2)
		f.ifEqual(unix.IPPROTO_MPTCP, noproto) // TCP to which Landlock's rules do not apply
		f.arg(0)
		f.when(unix.AF_UNIX, func(f *filter) { f.unix(c) })
		for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
			if c.network() {
				f.when(family, func(f *filter) { f.internet(c) })
			}
		}
		if c.network() {
			f.when(unix.AF_NETLINK, func(f *filter) { // interfaces and addresses
				f.arg(2)
				f.unlessEqual(unix.NETLINK_ROUTE, eacces)
			})
		}
		f.ret(eacces)
	})
	// One of a pair of datagrams sends to whatever it names.
	f.when(unix.SYS_SOCKETPAIR, func(f *filter) { f.unix(c) })
	if !c.dials() {
		f.refuse(eacces, unix.SYS_CONNECT)
	}
	// TCP Fast Open connects without connect(2), which Landlock did not always
	// see.
	for number, arg := range map[uint32]uint32{unix.SYS_SENDTO: 3, unix.SYS_SENDMSG: 2, unix.SYS_SENDMMSG: 3} {
		f.when(number, func(f *filter) {
			f.arg(arg)
			f.ifAny(msgFastOpen, eacces)
		})
	}
}

// unix allows streams, which have to connect before they send, and all kinds if a
// socket was granted.
func (f *filter) unix(c Confinement) {
	if len(c.UnixSockets) == 0 {
		f.arg(1)
		f.and(socketTypeMask)
		f.unlessEqual(unix.SOCK_STREAM, eacces)
	}
}

// internet allows TCP, and UDP if it was granted: SCTP and others know no ports
// that Landlock would look at.
func (f *filter) internet(c Confinement) {
	kind := func(kind, protocol uint32) {
		f.when(kind, func(f *filter) {
			f.arg(2)
			f.ifEqual(unix.IPPROTO_IP, unix.SECCOMP_RET_ALLOW) // the usual one of its kind
			f.ifEqual(protocol, unix.SECCOMP_RET_ALLOW)
			f.ret(eacces)
		})
	}
	f.arg(1)
	f.and(socketTypeMask)
	kind(unix.SOCK_STREAM, unix.IPPROTO_TCP)
	if c.UDP {
		kind(unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	}
	f.ret(eacces)
}

// install is for this thread alone, see ruleset.enforce. It wants no_new_privs.
func (f *filter) install() error {
	program := unix.SockFprog{Len: uint16(len(*f)), Filter: unsafe.SliceData(*f)} //nolint:gosec // TestFilterFits
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("install the seccomp filter: %w", errno)
	}
	return nil
}
