// Package disk is what the store and the journal both know of disks: how
// something is made durable, how a file is locked, and what a failure means to
// the user.
package disk

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/sdk"
)

// Sync makes the entries of directories durable, all at once: a disk takes no
// longer for what comes together.
func Sync(dirs ...string) error {
	var group errgroup.Group
	for _, dir := range dirs[1:] {
		group.Go(func() error { return syncDir(dir) })
	}
	return errors.Join(syncDir(dirs[0]), group.Wait())
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return Error("sync the directory", dir, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return Error("sync the directory", dir, err)
	}
	return nil
}

// Flock is flock(2), which a signal does not end.
func Flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Error says what was attempted on what, and what to do about the causes that a
// user can mend. The path that the kernel complained of is left out: it is the
// same one, or that of a temporary file.
func Error(doing, path string, err error) error {
	var errno syscall.Errno
	cause := err
	if errors.As(err, &errno) {
		cause = errno
	}
	wrapped := fmt.Errorf("%s %s: %w", doing, path, cause)
	switch errno {
	case unix.ENOSPC, unix.EDQUOT, unix.EFBIG:
		return sdk.Hint(wrapped, "free some space (or raise the quota or file size limit) where %s is, and run the same command again", path)
	case unix.EACCES, unix.EPERM, unix.EROFS:
		return sdk.WithCode(sdk.Hint(wrapped, "run as a user who may do that, or choose another place with --state-dir"), sdk.PermissionDenied)
	case unix.ENOTDIR:
		return sdk.Hint(wrapped, "move away the file that is in the way, or choose another place with --state-dir")
	}
	return wrapped
}
