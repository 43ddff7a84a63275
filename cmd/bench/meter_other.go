//go:build unix && !linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}

// scatter is for ext4.
func scatter(string) {}

// meter runs a command to its end. These systems do not say what a process took
// without its children, nor whether there were any.
func meter(path string, args []string) (r reading, err error) {
	cmd := &exec.Cmd{Path: path, Args: args, Stdout: os.Stdout, Stderr: os.Stderr}
	began := time.Now()
	err = cmd.Run()
	r.Wall = time.Since(began).Seconds()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return r, err
	}
	r.Exit = cmd.ProcessState.ExitCode()
	r.All = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	r.Own = r.All
	if used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.Peak = int64(used.Maxrss)
		if runtime.GOOS != "darwin" {
			r.Peak *= 1024 // darwin counts bytes, others kilobytes
		}
	}
	return r, nil
}
