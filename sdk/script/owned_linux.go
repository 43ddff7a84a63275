package script

import "syscall"

// owned makes a command join a process group, and die when this process dies.
func owned(group int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pgid: group, Pdeathsig: syscall.SIGKILL}
}
