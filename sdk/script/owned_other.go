//go:build !linux

package script

import "syscall"

// owned makes a command join a process group.
func owned(group int) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true, Pgid: group} }
