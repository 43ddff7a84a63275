//go:build !linux

package script

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// ended says that a process has ended and was reaped.
func ended(t *testing.T, pid string) bool {
	t.Helper()
	err := process(t, pid).Signal(syscall.Signal(0))
	return errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH)
}
