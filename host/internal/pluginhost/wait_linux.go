package pluginhost

import (
	"errors"
	"os/exec"

	"golang.org/x/sys/unix"
)

// waitUntilDead returns when the process has ended, but leaves it to be waited
// for, so that its number is not used again.
func waitUntilDead(cmd *exec.Cmd) {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
