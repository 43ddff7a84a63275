package script

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// guard is a process that leads the group which a command joins, and ends the
// group when this process dies, however it dies: what a shell has started would
// go on otherwise. It is there before the command, so that nothing runs without.
type guard struct {
	cmd  *exec.Cmd
	line *os.File
}

func watch() (*guard, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer read.Close()
	// It heeds no signal that is meant for the others, and says when that is so:
	// a command that signals its group would end a guard that has only begun. The
	// end of the line without a word on it is the death of this process.
	cmd := exec.CommandContext(context.Background(), shell, "-c", "trap '' HUP INT TERM; echo; read -r word || kill -KILL 0")
	cmd.Stdin = read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ready, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("start the process that guards it: %w", err)
	}
	g := &guard{cmd, write}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		g.release()
		return nil, fmt.Errorf("start the process that guards it: it ended at once: %w", err)
	}
	return g, nil
}

// group is the process group of the guard and of what it guards.
func (g *guard) group() int { return g.cmd.Process.Pid }

// release lets the guard go, and nothing else of its group.
func (g *guard) release() {
	_, _ = g.line.WriteString("done\n") // it may have been ended with the group
	g.line.Close()
	_ = g.cmd.Wait()
}
