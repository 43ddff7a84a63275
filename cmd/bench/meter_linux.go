package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// group puts the meter and its command into a process group that is asked to
// end as a whole.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}

// meter runs a command to its end and reads what the kernel knows of it while
// it is dead and not yet buried.
func meter(path string, args []string) (r reading, err error) {
	runtime.LockOSThread() // the death signal below is the thread's
	// The command decides when it ends; a handler, unlike ignoring, is not
	// inherited.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT)
	// A process that the command has started and left comes to us.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return r, fmt.Errorf("become the reaper: %w", err)
	}
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return r, err
	}
	began := time.Now()
	p, err := os.StartProcess(path, args, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{nothing, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return r, err
	}
	if err := again(func() error {
		return unix.Waitid(unix.P_PID, p.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
	}); err != nil {
		return r, fmt.Errorf("wait for %s: %w", path, err)
	}
	r.Wall = time.Since(began).Seconds()
	if r.Own, err = processTime(p.Pid); err != nil {
		return r, err
	}
	if r.Children, err = hadChildren(p.Pid); err != nil {
		return r, err
	}
	var status unix.WaitStatus
	var used unix.Rusage
	if err := again(func() error {
		_, err := unix.Wait4(p.Pid, &status, 0, &used)
		return err
	}); err != nil {
		return r, fmt.Errorf("wait for %s: %w", path, err)
	}
	r.Exit = status.ExitStatus()
	if status.Signaled() {
		r.Exit = 128 + int(status.Signal())
	}
	r.All = seconds(used.Utime) + seconds(used.Stime)
	r.Peak = used.Maxrss * 1024
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		r.Children = true // somebody was left to us
	}
	return r, nil
}

// processTime is the processor time of one process, without its children and
// not rounded to ticks: CPUCLOCK_SCHED of clock_gettime(2).
func processTime(pid int) (float64, error) {
	var t unix.Timespec
	clock := int32(^pid<<3 | 2)
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("read the clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()).Seconds(), nil
}

// hadChildren says whether a dead process has waited for a child: none runs
// without a page fault, and those of children are summed up in the eleventh
// field of proc_pid_stat(5), counted from the one after the name.
func hadChildren(pid int) (bool, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 12 {
		return false, fmt.Errorf("/proc/%d/stat is not understood: %s", pid, text)
	}
	return fields[8] != "0" || fields[10] != "0", nil
}

func seconds(t unix.Timeval) float64 { return time.Duration(t.Nano()).Seconds() }

func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
