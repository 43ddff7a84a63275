package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start starts the program that is open as binary, in its own process group;
// it is killed when the host dies. cmd brings environment, directory and the
// three standard files, which MUST be *os.File; the rest of it is set here.
// The caller keeps binary, may close it when Start has returned, and waits.
func Start(cmd *exec.Cmd, p Policy, binary *os.File) error {
	if err := checkReady(); err != nil {
		return err
	}
	policy, err := policyFile(p)
	if err != nil {
		return fmt.Errorf("start %s: hand over the launch policy: %w", p.Path, err)
	}
	defer policy.Close()
	// In the child this is the running host, even if its file was replaced.
	cmd.Path = "/proc/self/exe"
	cmd.Args = []string{"certwright", launcherMode}
	cmd.ExtraFiles = []*os.File{policyFD - 3: policy, binaryFD - 3: binary}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := startOnThread(cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.Path, err)
	}
	return nil
}

// policyFile holds the policy in memory: unlike a pipe it takes any size
// without a reader.
func policyFile(p Policy) (*os.File, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("certwright-policy", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "policy")
	if _, err := f.Write(data); err != nil {
		return nil, closeAfter(f, err)
	}
	if _, err := f.Seek(0, 0); err != nil {
		return nil, closeAfter(f, err)
	}
	return f, nil
}

func closeAfter(f *os.File, err error) error {
	_ = f.Close()
	return err
}

// StartThread is the function in which the one goroutine waits that this
// package never ends, for tests that look for leaked goroutines.
const StartThread = "github.com/certwright/certwright/host/internal/sandbox.serveStarts"

type startRequest struct {
	cmd  *exec.Cmd
	done chan<- error
}

// startRequests begins the thread on first use.
var startRequests = sync.OnceValue(func() chan<- startRequest {
	requests := make(chan startRequest)
	go serveStarts(requests)
	return requests
})

// serveStarts forks every plugin of this process. The kernel sends the parent
// death signal when the THREAD that forked ends (prctl(2), PR_SET_PDEATHSIG),
// and Go ends threads as it likes; so this goroutine keeps one to itself and
// lives as long as the process.
func serveStarts(requests <-chan startRequest) {
	runtime.LockOSThread()
	for r := range requests {
		r.done <- r.cmd.Start()
	}
}

func startOnThread(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	startRequests() <- startRequest{cmd: cmd, done: done}
	return <-done
}
