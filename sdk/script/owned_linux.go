package script

import "syscall"

// owned gives a command a process group of its own, and its death when this
// process dies.
func owned() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
