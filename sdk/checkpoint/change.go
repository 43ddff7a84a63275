package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Symlink registers a path and makes it a symlink to target, in one atomic
// step; a file or symlink that is there is replaced.
func (d *Draft) Symlink(ctx context.Context, target, path string) error {
	return d.change(ctx, "make the symlink", path, func(path string, n int) error {
		temp := tempName(path, d.header.Token, n)
		if err := d.store.dropTemp(temp); err != nil {
			return err
		}
		d.store.step("symlink: create %s", temp)
		if err := os.Symlink(target, temp); err != nil {
			return err
		}
		d.store.step("symlink: rename to %s", path)
		if err := os.Rename(temp, path); err != nil {
			return errors.Join(err, os.Remove(temp))
		}
		return syncDir(filepath.Dir(path))
	})
}

// Remove registers a path and removes the file or symlink. What is not there is
// no error.
func (d *Draft) Remove(ctx context.Context, path string) error {
	return d.change(ctx, "remove", path, func(path string, _ int) error {
		d.store.step("remove: delete %s", path)
		if err := os.Remove(path); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		return syncDir(filepath.Dir(path))
	})
}

// Mkdir registers a directory and makes it, with exactly this mode, if it is
// not there. An undo removes it if it is empty then. Directories above it are
// not made.
func (d *Draft) Mkdir(ctx context.Context, path string, mode fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("make the directory %s: something else is in its place", path)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("make the directory %s: %w", path, err)
	}
	path, _, err = d.touchAs(ctx, path, noDirectory)
	if err == nil {
		d.store.step("mkdir: make %s", path)
		err = os.Mkdir(path, 0o700)
	}
	if err == nil {
		err = errors.Join(chmodDir(path, mode&modeBits), syncDir(filepath.Dir(path)))
	}
	if err != nil {
		return fmt.Errorf("make the directory %s: %w", path, err)
	}
	return nil
}

// chmodDir does it by an open directory: in its sandbox a plugin may change what
// it can open, and not what it can name.
func chmodDir(path string, mode fs.FileMode) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Chmod(mode), dir.Close())
}

func (d *Draft) change(ctx context.Context, what, path string, change func(path string, n int) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := ctx.Err()
	if err == nil {
		var n int
		if path, n, err = d.touch(ctx, path); err == nil {
			err = change(path, n)
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, path, err)
	}
	return nil
}

// Undo registers a command, a program by its absolute path and its arguments,
// that an undo runs before it puts files back: the latest first, with a limit of
// a minute, without input and with nothing but PATH in its environment. It MUST
// be called before what it undoes is done, and the command MUST do no harm if
// that never happened or is undone already. A command that fails is reported
// and does not stop the rest; it is not tried again.
func (d *Draft) Undo(ctx context.Context, command ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := ctx.Err()
	switch {
	case err != nil:
	case d.log == nil:
		err = ErrClosed
	case len(command) == 0:
		err = errors.New("there is none")
	default:
		d.store.step("undo: register %s", command[0])
		e := entry{Kind: undoCommand, Command: command}
		if err = appendRecord(d.log, record{Entry: &e}); err == nil {
			d.entries = append(d.entries, e)
		}
	}
	if err != nil {
		return fmt.Errorf("register a command for an undo: %w", err)
	}
	return nil
}
