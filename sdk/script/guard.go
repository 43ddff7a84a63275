package script

import (
	"context"
	"os"
	"os/exec"
	"syscall"
)

// guard is a process in a command's group that ends the group when this process
// dies, however it dies: what a shell has started would go on otherwise.
type guard struct {
	cmd  *exec.Cmd
	line *os.File
}

// watch starts a guard. If that is not possible, because the command has ended
// already, there is nothing to guard.
func watch(group int) *guard {
	read, write, err := os.Pipe()
	if err != nil {
		return nil
	}
	defer read.Close()
	// The end of the line without a word on it is the death of this process.
	cmd := exec.CommandContext(context.Background(), shell, "-c", "read -r word || kill -KILL 0")
	cmd.Stdin = read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	if err := cmd.Start(); err != nil {
		write.Close()
		return nil
	}
	return &guard{cmd, write}
}

// release lets the guard go, and nothing else of its group.
func (g *guard) release() {
	if g == nil {
		return
	}
	_, _ = g.line.WriteString("done\n") // it may have been ended with the group
	g.line.Close()
	_ = g.cmd.Wait()
}
