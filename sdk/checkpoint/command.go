package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	commandLimit = time.Minute
	commandPath  = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// runUndo runs the commands of a checkpoint, the latest first.
func (s *Store) runUndo(entries []entry) error {
	var errs []error
	for _, e := range slices.Backward(entries) {
		if e.Kind != undoCommand {
			continue
		}
		s.step("undo: run %s", e.Command[0])
		if err := run(e.Command); err != nil {
			errs = append(errs, fmt.Errorf("undo by %s: %w", strings.Join(e.Command, " "), err))
		}
	}
	return errors.Join(errs...)
}

func run(command []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = "/", []string{commandPath}
	// Its children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("it did not end within %s", commandLimit)
	}
	if err == nil {
		return nil
	}
	const most = 1024
	if out = bytes.TrimSpace(out); len(out) > most {
		out = out[len(out)-most:]
	}
	if len(out) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, out)
}
