//go:build unix && !linux

package pluginhost

import "os/exec"

// waitUntilDead waits for the process. Its number could be another group's by
// the time the rest of its group is killed; these systems give no way to wait
// without that, and their numbers are not used again soon.
func waitUntilDead(cmd *exec.Cmd) { _ = cmd.Wait() }
