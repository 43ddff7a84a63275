package sandbox

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const allow = uint32(unix.SECCOMP_RET_ALLOW)

// verdict runs a filter as the kernel would. The machine of package bpf loads
// words as they are on the network; so they are laid out like that.
func verdict(t *testing.T, f *filter, arch, number uint32, args ...uint64) uint32 {
	t.Helper()
	var raw []bpf.RawInstruction
	for _, i := range *f {
		raw = append(raw, bpf.RawInstruction{Op: i.Code, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	program, whole := bpf.Disassemble(raw)
	if !whole {
		t.Fatal("an instruction is unknown")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64) // struct seccomp_data
	binary.BigEndian.PutUint32(data[offsetNumber:], number)
	binary.BigEndian.PutUint32(data[offsetArch:], arch)
	for i, arg := range args {
		binary.BigEndian.PutUint32(data[offsetArgs+8*i:], uint32(arg)) //nolint:gosec // the lower half
		binary.BigEndian.PutUint32(data[offsetArgs+8*i+4:], uint32(arg>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got) //nolint:gosec // as it was
}

// TestFilter: what is refused, to whom, and with which answer.
func TestFilter(t *testing.T) {
	const pid = 4711
	none, children, signals := Confinement{}, Confinement{Children: true}, Confinement{Signals: true}
	tcp := Confinement{Connect: Ports{List: []uint16{443}}}
	udp := Confinement{UDP: true}
	socket := Confinement{UnixSockets: []string{"/run/x"}}
	attribute := Confinement{Attributes: true}
	type call struct {
		number uint32
		args   []uint64
	}
	of := func(number uint32, args ...uint64) call { return call{number, args} }
	for _, test := range []struct {
		name string
		c    Confinement
		call call
		want uint32
	}{
		{"an everyday call", none, of(unix.SYS_READ), allow},
		{"exec", none, of(unix.SYS_EXECVE), allow},
		{"a thread", none, of(unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_THREAD|unix.CLONE_SIGHAND), allow},
		{"a process", none, of(unix.SYS_CLONE, uint64(unix.SIGCHLD)), eperm},
		{"a process like vfork", none, of(unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_VFORK|uint64(unix.SIGCHLD)), eperm},
		{"a process of one with children", children, of(unix.SYS_CLONE, uint64(unix.SIGCHLD)), allow},
		{"a namespace", children, of(unix.SYS_CLONE, unix.CLONE_NEWUSER|uint64(unix.SIGCHLD)), eperm},
		{"a thread with a namespace", none, of(unix.SYS_CLONE, unix.CLONE_THREAD|unix.CLONE_NEWNET), eperm},
		{"clone3", children, of(unix.SYS_CLONE3), nosys},
		{"another group", none, of(unix.SYS_SETPGID), eperm},
		{"another group with children", children, of(unix.SYS_SETPGID), allow},
		{"its own limits", none, of(unix.SYS_PRLIMIT64, 0), allow},
		{"its own limits, by number", none, of(unix.SYS_PRLIMIT64, pid), allow},
		{"another's limits", none, of(unix.SYS_PRLIMIT64, 1), eperm},
		{"another's limits, with children", children, of(unix.SYS_PRLIMIT64, 1), eperm},
		{"another's limits, with signals", signals, of(unix.SYS_PRLIMIT64, 1), eperm},
		{"another's priority", none, of(unix.SYS_SETPRIORITY), eperm},
		{"shared memory", none, of(unix.SYS_SHMGET), eperm},
		{"to outlive the host", none, of(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG), eperm},
		{"a thread's name", none, of(unix.SYS_PRCTL, unix.PR_SET_NAME), allow},
		{"to signal itself", none, of(unix.SYS_KILL, pid, 15), allow},
		{"to signal its thread", none, of(unix.SYS_TGKILL, pid, 4712, 23), allow},
		{"to signal another", none, of(unix.SYS_KILL, 1, 15), eperm},
		{"to signal everybody", none, of(unix.SYS_KILL, ^uint64(0), 15), eperm},
		{"to signal its group", none, of(unix.SYS_KILL, 0, 15), eperm},
		{"to signal another's thread", none, of(unix.SYS_TGKILL, 1, 1, 15), eperm},
		{"to signal any thread", none, of(unix.SYS_TKILL, 1, 15), eperm},
		{"to signal by descriptor", none, of(unix.SYS_PIDFD_SEND_SIGNAL), eperm},
		{"to have a descriptor signal another", none, of(unix.SYS_FCNTL, 3, unix.F_SETOWN, 1), eperm},
		{"to have it signal a thread", none, of(unix.SYS_FCNTL, 3, unix.F_SETOWN_EX, 0), eperm},
		{"to choose its signal", none, of(unix.SYS_FCNTL, 3, unix.F_SETSIG, 9), eperm},
		{"an upper half of a command", none, of(unix.SYS_FCNTL, 3, 1<<32|unix.F_SETOWN, 1), eperm},
		{"to have a descriptor signal by ioctl", none, of(unix.SYS_IOCTL, 3, fioSetOwn, 0), eperm},
		{"to have a socket signal by ioctl", none, of(unix.SYS_IOCTL, 3, unix.SIOCSPGRP, 0), eperm},
		{"to have a descriptor signal with children, which Landlock judges", children, of(unix.SYS_FCNTL, 3, unix.F_SETOWN, 1), allow},
		{"to have a descriptor signal, granted", signals, of(unix.SYS_FCNTL, 3, unix.F_SETOWN, 1), allow},
		{"to copy a descriptor", none, of(unix.SYS_FCNTL, 3, unix.F_DUPFD_CLOEXEC, 0), allow},
		{"to wait for a descriptor", none, of(unix.SYS_FCNTL, 3, unix.F_SETFL, unix.O_NONBLOCK), allow},
		{"to ask a terminal", none, of(unix.SYS_IOCTL, 1, unix.TCGETS, 0), allow},
		{"to signal with children, which Landlock judges", children, of(unix.SYS_KILL, 1, 15), allow},
		{"to signal, granted", signals, of(unix.SYS_KILL, 1, 15), allow},
		{"an upper half that the kernel does not see", none, of(unix.SYS_SOCKET, 1<<32|unix.AF_INET, unix.SOCK_STREAM, 0), eacces},
		{"TCP", tcp, of(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0), allow},
		{"TCP 6", tcp, of(unix.SYS_SOCKET, unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP), allow},
		{"TCP without", none, of(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0), eacces},
		{"MPTCP", tcp, of(unix.SYS_SOCKET, unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_MPTCP), noproto},
		{"MPTCP without", none, of(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP), noproto},
		{"SMC", tcp, of(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 256), eacces},
		{"DCCP", tcp, of(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DCCP, unix.IPPROTO_DCCP), eacces},
		{"UDP with TCP", tcp, of(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM, 0), eacces},
		{"UDP", udp, of(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP), allow},
		{"raw", udp, of(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP), eacces},
		{"unix", none, of(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0), allow},
		{"unix packets", none, of(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_SEQPACKET, 0), eacces},
		{"unix packets, granted", socket, of(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_SEQPACKET, 0), allow},
		{"a pair", none, of(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0), allow},
		{"a pair with children", children, of(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0), allow},
		{"a pair of datagrams", none, of(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0), eacces},
		{"a raw pair, which is of datagrams", none, of(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_RAW, 0), eacces},
		{"a pair of packets", tcp, of(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_SEQPACKET, 0), eacces},
		{"a pair of datagrams with children", children, of(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_DGRAM, 0), eacces},
		{"a pair of datagrams, granted", socket, of(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_DGRAM, 0), allow},
		{"routes", udp, of(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE), allow},
		{"netfilter", udp, of(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER), eacces},
		{"Bluetooth", udp, of(unix.SYS_SOCKET, unix.AF_BLUETOOTH, unix.SOCK_STREAM, 0), eacces},
		{"connect", none, of(unix.SYS_CONNECT), eacces},
		{"connect with TCP", tcp, of(unix.SYS_CONNECT), allow},
		{"connect with a socket", socket, of(unix.SYS_CONNECT), allow},
		{"accept", none, of(unix.SYS_ACCEPT4), allow},
		{"send", none, of(unix.SYS_SENDTO, 3, 0, 0, 0), allow},
		{"send, not waiting", tcp, of(unix.SYS_SENDMSG, 3, 0, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL), allow},
		{"fast open by sendto", tcp, of(unix.SYS_SENDTO, 3, 0, 0, msgFastOpen), eacces},
		{"fast open by sendmsg", tcp, of(unix.SYS_SENDMSG, 3, 0, msgFastOpen), eacces},
		{"fast open by sendmmsg", tcp, of(unix.SYS_SENDMMSG, 3, 0, 1, msgFastOpen|unix.MSG_DONTWAIT), eacces},
		{"a mode", none, of(unix.SYS_FCHMODAT), eperm},
		{"a mode by the newest call", none, of(unix.SYS_FCHMODAT2), eperm},
		{"a mode of an open file", none, of(unix.SYS_FCHMOD), eperm},
		{"a mode of an open file, granted", attribute, of(unix.SYS_FCHMOD), allow},
		{"a mode by path, granted for open files", attribute, of(unix.SYS_FCHMODAT), eperm},
		{"a mode by path, granted with children", Confinement{Attributes: true, Children: true}, of(unix.SYS_FCHMODAT), allow},
		{"a setuid file", none, of(unix.SYS_OPENAT, 3, 0, unix.O_CREAT|unix.O_WRONLY, 0o4755), eperm},
		{"a setgid file", children, of(unix.SYS_OPENAT, 3, 0, unix.O_CREAT, 0o2755), eperm},
		{"a setuid file without a name", none, of(unix.SYS_OPENAT, 3, 0, unix.O_TMPFILE|unix.O_RDWR, 0o4700), eperm},
		{"a file", none, of(unix.SYS_OPENAT, 3, 0, unix.O_CREAT|unix.O_TRUNC, 0o1777), allow},
		{"a directory to read, and a register that is not used", none, of(unix.SYS_OPENAT, 3, 0, unix.O_DIRECTORY, 0o4755), allow},
		{"a file by openat2", children, of(unix.SYS_OPENAT2), nosys},
		{"a setgid directory", none, of(unix.SYS_MKDIRAT, 3, 0, 0o2755), eperm},
		{"a directory", none, of(unix.SYS_MKDIRAT, 3, 0, 0o755), allow},
		{"a setuid file by mknod", none, of(unix.SYS_MKNODAT, 3, 0, unix.S_IFREG|0o4755), eperm},
		{"a set-id mode of an open file, granted", attribute, of(unix.SYS_FCHMOD, 3, 0o4755), eperm},
		{"a set-id mode by path, granted", Confinement{Attributes: true, Children: true}, of(unix.SYS_FCHMODAT, 3, 0, 0o2755), eperm},
		{"another mode of an open file, granted", attribute, of(unix.SYS_FCHMOD, 3, 0o644), allow},
	} {
		if got := verdict(t, newFilter(test.c, pid), auditArch, test.call.number, test.call.args...); got != test.want {
			t.Errorf("%s: %#x, want %#x", test.name, got, test.want)
		}
	}
}

// TestFilterForever: what is refused whatever was granted.
func TestFilterForever(t *testing.T) {
	everything := Confinement{
		Connect: Ports{Any: true}, Bind: Ports{Any: true}, UDP: true, UnixSockets: []string{"@x", "/run/x"},
		Children: true, Signals: true, Attributes: true,
	}
	f := newFilter(everything, 1)
	for _, number := range slices.Concat(never, neverHere) {
		if got := verdict(t, f, auditArch, number); got != eperm {
			t.Errorf("system call %d: %#x", number, got)
		}
	}
	const kill = uint32(unix.SECCOMP_RET_KILL_PROCESS)
	if got := verdict(t, f, unix.AUDIT_ARCH_I386, 3); got != kill {
		t.Errorf("another architecture: %#x", got)
	}
	if foreignNumbers != 0 {
		if got := verdict(t, f, auditArch, foreignNumbers|unix.SYS_READ); got != kill {
			t.Errorf("numbers of x32: %#x", got)
		}
	}
}

// TestFilterFits: jumps over a block have eight bits, and a filter 4096
// instructions (BPF_MAXINSNS).
func TestFilterFits(t *testing.T) {
	for _, c := range []Confinement{{}, {UDP: true, Connect: Ports{Any: true}}, {Children: true}} {
		f := newFilter(c, 1<<22)
		if len(*f) > 4096 {
			t.Errorf("%d instructions", len(*f))
		}
		for i, at := range *f {
			if i+1+int(max(at.Jt, at.Jf)) >= len(*f) && at.Code&7 == unix.BPF_JMP {
				t.Errorf("instruction %d jumps out", i)
			}
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a block that is too long was taken")
		}
	}()
	new(filter).when(1, func(f *filter) { *f = make(filter, 300) })
}
