//go:build linux

// Command probe tries one thing that a sandbox may forbid, and prints "ok" or
// the name of the error.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var actions = map[string]func(args []string) error{
	// Files.
	"read":     func(a []string) error { return opened(a[0], unix.O_RDONLY) },
	"write":    func(a []string) error { return opened(a[0], unix.O_WRONLY) },
	"create":   func(a []string) error { return opened(a[0], unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL) },
	"setuid":   func(a []string) error { return setuid(a[0], number(a[1])) },
	"list":     func(a []string) error { _, err := os.ReadDir(a[0]); return err },
	"truncate": func(a []string) error { return unix.Truncate(a[0], 0) },
	"rename":   func(a []string) error { return unix.Rename(a[0], a[1]) },
	"link":     func(a []string) error { return unix.Link(a[0], a[1]) },
	"symlink":  func(a []string) error { return unix.Symlink("x", a[0]) },
	"unlink":   func(a []string) error { return unix.Unlink(a[0]) },
	"mkdir":    func(a []string) error { return unix.Mkdir(a[0], 0o700) },
	"rmdir":    func(a []string) error { return unix.Rmdir(a[0]) },
	"fifo":     func(a []string) error { return unix.Mkfifo(a[0], 0o600) },
	"device":   func(a []string) error { return unix.Mknod(a[0], unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) },
	"chmod":    func(a []string) error { return unix.Chmod(a[0], 0o600) },
	"fchmod":   fchmod,
	"chown":    func(a []string) error { return unix.Lchown(a[0], os.Getuid(), os.Getgid()) },
	"setxattr": func(a []string) error { return unix.Setxattr(a[0], "user.probe", []byte("x"), 0) },
	"exec":     func(a []string) error { return unix.Exec(a[0], a, nil) },
	"grow":     grow,
	"files":    files,

	// Sockets.
	"connect":  func(a []string) error { return dial(unix.AF_INET, unix.SOCK_STREAM, 0, inet(a[0])) },
	"bind":     func(a []string) error { return bound(unix.SOCK_STREAM, 0, inet(a[0])) },
	"mptcp":    func(a []string) error { return dial(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, inet(a[0])) },
	"fastopen": fastOpen,
	"udp":      datagram,
	"socket":   func(a []string) error { return made(number(a[0]), number(a[1]), number(a[2])) },
	"unix":     func(a []string) error { return dial(unix.AF_UNIX, unix.SOCK_STREAM, 0, &unix.SockaddrUnix{Name: a[0]}) },
	"serve":    func(a []string) error { return served(a[0]) },
	"pair":     func(a []string) error { _, err := unix.Socketpair(unix.AF_UNIX, number(a[0]), 0); return err },
	"send":     sendTo,

	// Processes.
	"fork":      func([]string) error { return cloned(uintptr(unix.SIGCHLD)) },
	"namespace": func([]string) error { return cloned(uintptr(unix.SIGCHLD | unix.CLONE_NEWUSER)) },
	"clone3":    func([]string) error { return called(unix.SYS_CLONE3, 0, 0, 0) },
	"thread":    thread,
	"kill":      func(a []string) error { return unix.Kill(number(a[0]), 0) },
	"own":       own,
	"killself":  func([]string) error { return unix.Kill(os.Getpid(), 0) },
	"ptrace":    func(a []string) error { return called(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(number(a[0])), 0) },
	"steal":     steal,
	"outlive":   func([]string) error { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) },
	"leave":     func([]string) error { _, err := unix.Setsid(); return err },
	"allocate":  allocate,
	"uring":     func([]string) error { return called(unix.SYS_IO_URING_SETUP, 1, 0, 0) },
	"limit":     limit,
	"status":    status,
}

func main() {
	action := actions[os.Args[1]]
	if action == nil {
		fmt.Println("no such action")
		return
	}
	err := action(os.Args[2:])
	var errno syscall.Errno
	switch {
	case err == nil:
		fmt.Println("ok")
	case errors.As(err, &errno):
		fmt.Println(unix.ErrnoName(errno))
	default:
		fmt.Println(err)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

func called(number, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(number, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

func opened(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// setuid makes a program that runs as its owner, by one call or by two.
func setuid(path string, call int) error {
	mode := uint32(0o755)
	if call == unix.SYS_OPENAT {
		mode = 0o4755
	}
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY, mode)
	if err == nil && call == unix.SYS_FCHMOD {
		err = unix.Fchmod(fd, 0o4755)
	}
	return err
}

func fchmod(a []string) error {
	fd, err := unix.Open(a[0], unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return unix.Fchmod(fd, 0o600)
}

// grow writes beyond a size, a megabyte at a time.
func grow(a []string) error {
	f, err := os.Create(a[0])
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for range number(a[1]) {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return f.Close()
}

func files(a []string) error {
	for range number(a[0]) {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
			return err
		}
	}
	return nil
}

func inet(port string) unix.Sockaddr {
	return &unix.SockaddrInet4{Port: number(port), Addr: [4]byte{127, 0, 0, 1}}
}

func made(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func dial(family, kind, protocol int, to unix.Sockaddr) error {
	fd, err := unix.Socket(family, kind, protocol)
	if err != nil {
		return err
	}
	return unix.Connect(fd, to)
}

func bound(kind, protocol int, at unix.Sockaddr) error {
	fd, err := unix.Socket(unix.AF_INET, kind, protocol)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Bind(fd, at)
}

// fastOpen connects by sending (RFC 7413).
func fastOpen(a []string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, inet(a[0]))
}

func datagram(a []string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("x"), 0, inet(a[0]))
}

// sendTo sends to a unix socket by one of a pair.
func sendTo(a []string) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Sendto(pair[0], []byte("x"), 0, &unix.SockaddrUnix{Name: a[0]})
}

// served listens on a unix socket, as every plugin does for its host.
func served(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return err
	}
	return unix.Listen(fd, 1)
}

// cloned makes a process that ends at once.
func cloned(flags uintptr) error {
	runtime.LockOSThread()
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	var status unix.WaitStatus
	_, err := unix.Wait4(int(pid), &status, 0, nil)
	return err
}

// own has a process signalled when a pipe is ready, which it never is.
func own(a []string) error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	_, err := unix.FcntlInt(uintptr(pipe[0]), unix.F_SETOWN, number(a[0]))
	return err
}

// thread needs another one: the first is kept.
func thread([]string) error {
	runtime.LockOSThread()
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(done)
	}()
	<-done
	return nil
}

// steal reads the memory of another process.
func steal(a []string) error {
	word := make([]byte, 8)
	local := unix.Iovec{Base: &word[0], Len: 8}
	// Whether something is there does not matter: EFAULT comes after the check.
	remote := unix.RemoteIovec{Base: uintptr(unsafe.Pointer(&word[0])), Len: 8}
	_, err := unix.ProcessVMReadv(number(a[0]), []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
	if errors.Is(err, unix.EFAULT) {
		return nil
	}
	return err
}

func allocate(a []string) error {
	size := number(a[0]) << 20
	_, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	return err
}

// limit prints one: number of the resource.
func limit(a []string) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(number(a[0]), &l); err != nil {
		return err
	}
	return fmt.Errorf("%d %d", l.Cur, l.Max)
}

// status prints a line of /proc/self/status.
func status(a []string) error {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, a[0]) {
			return errors.New(strings.TrimSpace(line))
		}
	}
	return errors.New("no such line")
}
