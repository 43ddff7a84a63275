//go:build unix && !linux

package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// StartThread names the goroutine that is never ended; here there is none.
const StartThread = ""

// RunIfLauncher returns at once: there is no launcher on this system.
func RunIfLauncher() { ready.Store(true) }

// Start executes the program at the policy's path in its own process group. It
// ends with its host by the lifeline only, which the caller keeps. cmd brings
// environment, directory and the three standard files, which MUST be *os.File.
// binary is not used: this system cannot execute a descriptor.
func Start(cmd *exec.Cmd, p Policy, _ *os.File) error {
	if err := checkReady(); err != nil {
		return err
	}
	cmd.Path, cmd.Args = p.Path, p.Args
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.User != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.User.UID, Gid: p.User.GID} // and no other groups
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Path, err)
	}
	return nil
}
