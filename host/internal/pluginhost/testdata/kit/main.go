//go:build linux

// Command kit is a plugin that does what a plugin must not do, on request: the
// token of a challenge names the act, its key authorization what it is done to.
// It reports how that went as progress: "did it: …", or the name of the error.
// What it is granted is decided by the name of its binary, certwright-plugin-NAME.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Secret  sdk.Secret `setting:"secret" doc:"a secret"`
	Connect []string   `setting:"connect" doc:"ports that it may connect to"`
	Write   string     `setting:"write" doc:"a directory that it may write to"`
}

type kit struct {
	settings settings
	stateDir string
}

func main() {
	if os.Getenv("KIT_VICTIM") != "" {
		beTraced()
		return
	}
	// Who is over the limit of a file's size gets an error, and the signal.
	signal.Ignore(unix.SIGXFSZ)
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	name := strings.TrimPrefix(filepath.Base(self), "certwright-plugin-")
	k := &kit{}
	connect := []sdk.Value{sdk.FromSetting("connect")}
	granted := map[string]sdk.Permissions{
		"kit":          {},
		"kit-net":      {ConnectTCP: connect},
		"kit-udp":      {ConnectTCP: connect, UDP: true},
		"kit-children": {Children: true},
		"kit-read":     {Read: []sdk.Value{sdk.Literal("/")}},
		"kit-write":    {Write: []sdk.Value{sdk.FromSetting("write")}},
	}[name]
	sdk.Serve(sdk.Plugin{
		Name: name, Version: "1.0.0", Summary: "does what it must not", Settings: &k.settings,
		Authenticator: k, ChallengeTypes: []string{sdk.HTTP01}, Permissions: granted,
	})
}

func (k *kit) Configure(_ context.Context, i sdk.Instance) error {
	k.stateDir = i.StateDir
	return nil
}

func (k *kit) Perform(_ context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	for _, c := range challenges {
		if c.Token == "message" {
			n, err := strconv.Atoi(c.KeyAuthorization)
			if err != nil {
				return err
			}
			r.Result(sdk.Result{Subject: c.ID, Diff: strings.Repeat("m", n)})
			continue
		}
		act := k.acts()[c.Token]
		if act == nil {
			return fmt.Errorf("unknown act %q", c.Token)
		}
		detail, err := act(c.KeyAuthorization)
		var errno unix.Errno
		switch {
		case err == nil:
			r.Progress(c.Token, "did it: "+detail)
		case errors.As(err, &errno):
			r.Progress(c.Token, unix.ErrnoName(errno))
		default:
			r.Progress(c.Token, "failed: "+err.Error())
		}
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}

func (k *kit) Cleanup(context.Context, []sdk.Challenge, sdk.Reporter) error { return nil }

func (k *kit) acts() map[string]func(string) (string, error) {
	return map[string]func(string) (string, error){
		"nothing": func(string) (string, error) { return "", nil },
		"read":    read,
		"list": func(path string) (string, error) {
			entries, err := os.ReadDir(path)
			return fmt.Sprint(len(entries)), err
		},
		"write":    func(path string) (string, error) { return "", os.WriteFile(path, []byte("the kit was here"), 0o600) },
		"truncate": func(path string) (string, error) { return "", os.Truncate(path, 0) },
		"remove":   func(path string) (string, error) { return "", os.Remove(path) },
		"chmod":    func(path string) (string, error) { return "", os.Chmod(path, 0o666) },
		"chmod open": func(path string) (string, error) {
			f, err := os.Open(path)
			if err != nil {
				return "", err
			}
			defer f.Close()
			return "", f.Chmod(0o666)
		},
		"take": func(path string) (string, error) { return "", os.Rename(path, filepath.Join(k.stateDir, "taken")) },
		"replace": func(path string) (string, error) {
			if err := os.WriteFile(path+".new", []byte("#!/bin/false\n"), 0o700); err != nil {
				return "", err
			}
			return "", os.Rename(path+".new", path)
		},
		"hard link": func(path string) (string, error) {
			link := filepath.Join(k.stateDir, "hard")
			if err := os.Link(path, link); err != nil {
				return "", err
			}
			return read(link)
		},
		"symlink": func(path string) (string, error) {
			link := filepath.Join(k.stateDir, "soft")
			if err := os.Symlink(path, link); err != nil {
				return "", fmt.Errorf("make the link: %v", err)
			}
			return read(link)
		},
		"connect": func(to string) (string, error) { return "", connect(to) },
		"listen":  listen,
		"execute": func(path string) (string, error) { return "", exec.Command(path).Run() },
		"signal":  func(pid string) (string, error) { return "", unix.Kill(number(pid), unix.SIGUSR1) },
		"limit": func(pid string) (string, error) {
			return "", unix.Prlimit(number(pid), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 77, Max: 77}, nil)
		},
		"listen without bind": listenUnbound,
		"letter":              letter,
		"trace":               trace,
		"peek":                peek,
		"signal by":           signalBy,
		"grow": func(size string) (string, error) {
			f, err := os.Create(filepath.Join(k.stateDir, "large"))
			if err != nil {
				return "", err
			}
			defer f.Close()
			return "", f.Truncate(int64(number(size)))
		},
		"allocate": func(size string) (string, error) {
			memory, err := unix.Mmap(-1, 0, number(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
			if err != nil {
				return "", err
			}
			return "", unix.Munmap(memory)
		},
		"flood": func(size string) (string, error) {
			line := []byte(strings.Repeat("f", 16<<10-1) + "\n")
			for left := number(size); left > 0; left -= len(line) {
				if _, err := os.Stderr.Write(line); err != nil {
					return "", err
				}
			}
			return "", nil
		},
		"namespace": func(string) (string, error) {
			runtime.LockOSThread() // never unlocked: the thread ends with this
			return "", unix.Unshare(unix.CLONE_NEWUTS)
		},
		"keyring": func(string) (string, error) {
			_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
			return "", err
		},
		"core": func(string) (string, error) {
			var limit unix.Rlimit
			err := unix.Getrlimit(unix.RLIMIT_CORE, &limit)
			return fmt.Sprint(limit.Cur, " ", limit.Max), err
		},
	}
}

// beTraced lets every process trace this one where Yama would allow it to ancestors
// only, says when it does, and stays until its standard input is closed.
func beTraced() {
	if err := unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) { // no Yama
		fmt.Fprintln(os.Stderr, "let everybody trace this:", err)
	}
	fmt.Print("r")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<16))
	return string(text), err
}

// open makes a socket for what is written as "KIND ADDRESS".
func open(text string) (fd int, to unix.Sockaddr, err error) {
	kind, address, _ := strings.Cut(text, " ")
	family, typ, protocol := unix.AF_INET, unix.SOCK_STREAM, 0
	switch kind {
	case "mptcp":
		protocol = unix.IPPROTO_MPTCP
	case "udp":
		typ = unix.SOCK_DGRAM
	case "unix", "abstract":
		family, to = unix.AF_UNIX, &unix.SockaddrUnix{Name: strings.Replace(address, "abstract:", "@", 1)}
	}
	if to == nil {
		resolved, err := net.ResolveTCPAddr("tcp4", address) // no name: nobody is asked
		if err != nil {
			return -1, nil, err
		}
		to = &unix.SockaddrInet4{Port: resolved.Port, Addr: [4]byte(resolved.IP.To4())}
	}
	fd, err = unix.Socket(family, typ|unix.SOCK_CLOEXEC, protocol)
	return fd, to, err
}

// connect says "kit" to somebody.
func connect(text string) error {
	fd, to, err := open(text)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte("kit!"))
	return err
}

// letter sends a datagram to a unix socket, by one of a pair.
func letter(path string) (string, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	return "", unix.Sendto(pair[0], []byte("kit!"), 0, &unix.SockaddrUnix{Name: path})
}

// listen gives the address where it listens from now on.
func listen(text string) (string, error) {
	fd, at, err := open(text)
	if err != nil {
		return "", err
	}
	if err := unix.Bind(fd, at); err != nil {
		return "", err
	}
	if !strings.HasPrefix(text, "udp") {
		if err := unix.Listen(fd, 1); err != nil {
			return "", err
		}
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", bound.(*unix.SockaddrInet4).Port), nil
}

// signalBy has the kernel send a signal, because a pipe is ready to be read.
func signalBy(pid string) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	defer w.Close()
	for _, command := range [][2]int{{unix.F_SETSIG, int(unix.SIGUSR1)}, {unix.F_SETOWN, number(pid)}, {unix.F_SETFL, unix.O_ASYNC | unix.O_NONBLOCK}} {
		if _, err := unix.FcntlInt(r.Fd(), command[0], command[1]); err != nil {
			return "", err
		}
	}
	_, err = w.WriteString("x")
	return "", err
}

// listenUnbound listens without having bound.
func listenUnbound(text string) (string, error) {
	fd, _, err := open(text)
	if err != nil {
		return "", err
	}
	if err := unix.Listen(fd, 1); err != nil {
		return "", err
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port), nil
}

// trace becomes the tracer of a process, from a thread that stays.
func trace(pid string) (string, error) {
	result := make(chan unix.Errno)
	go func() {
		runtime.LockOSThread()
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(number(pid)), 0, 0, 0, 0)
		result <- errno
		select {}
	}()
	if errno := <-result; errno != 0 {
		return "", errno
	}
	return "", nil
}

// peek asks for memory of another process; where nothing is, it says so.
func peek(pid string) (string, error) {
	buffer := make([]byte, 8)
	local := []unix.Iovec{{Base: unsafe.SliceData(buffer), Len: 8}}
	_, err := unix.ProcessVMReadv(number(pid), local, []unix.RemoteIovec{{Base: 4096, Len: 8}}, 0)
	if errors.Is(err, unix.EFAULT) {
		return "it may look, and nothing is there", nil
	}
	return "", err
}
