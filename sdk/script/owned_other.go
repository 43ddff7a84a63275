//go:build !linux

package script

import "syscall"

// owned gives a command a process group of its own.
func owned() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
