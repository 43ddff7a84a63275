package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/certwright/certwright/sdk"
)

// attempts bounds how often a directory that vanishes is made again.
const attempts = 50

// place writes the files below a root. Another instance that shares the root
// may remove a directory, as empty, at any moment; then it is made again.
func place(ctx context.Context, root string, files []file, book *openBook, r sdk.Reporter) error {
	var err error
	for range attempts {
		if err = ctx.Err(); err != nil {
			return err
		}
		if err = placeOnce(ctx, root, files, book, r); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return explain(err, root)
}

func placeOnce(ctx context.Context, root string, files []file, book *openBook, r sdk.Reporter) error {
	d, err := prepare(root, book, r)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.write(f); err != nil {
			return err
		}
	}
	return nil
}

// prepare opens the directory of the files and makes what is missing, which is
// in the book before it is made.
func prepare(root string, book *openBook, r sdk.Reporter) (dir, error) {
	missing, err := missingLevels(root)
	if err != nil {
		return dir{}, err
	}
	page := book.page(root)
	page.own(missing)
	if err := book.save(); err != nil {
		return dir{}, err
	}
	d, err := openRoot(root)
	for _, level := range levels {
		if err != nil {
			return dir{}, err
		}
		outer, name := d, filepath.Base(level)
		d, err = outer.below(name)
		if slices.Contains(missing, level) {
			if errors.Is(err, fs.ErrNotExist) {
				d, err = outer.make(name, r)
			} else {
				page.disown(level) // somebody else has made it meanwhile
			}
			if errors.Is(err, fs.ErrExist) { // or has now
				page.disown(level)
				d, err = outer.below(name)
			}
		}
		_ = outer.Close()
	}
	return d, err
}

// make makes one directory in d, open to the web server whatever the umask is.
func (d dir) make(name string, r sdk.Reporter) (dir, error) {
	if err := d.Mkdir(name, 0o755); err != nil {
		return dir{}, err
	}
	made, err := d.below(name)
	if err != nil {
		return dir{}, err
	}
	if err := d.hand(made, r); err != nil {
		return dir{}, errors.Join(err, made.Close())
	}
	return made, nil
}

// hand opens what was made to the web server. In its sandbox it may change what
// it can open, and not what it can name.
func (d dir) hand(made dir, r sdk.Reporter) error {
	open, err := made.Open(".")
	if err != nil {
		return err
	}
	defer open.Close()
	if err := open.Chmod(0o755); err != nil {
		return err
	}
	info, err := open.Stat()
	if err != nil {
		return err
	}
	if is, want := statOf(info), d.owner; is.Uid != want.Uid || is.Gid != want.Gid {
		if err := open.Chown(int(want.Uid), int(want.Gid)); err != nil {
			r.Progress("", fmt.Sprintf("%s belongs to %d:%d, not to %d:%d as its webroot: %v", made.path, is.Uid, is.Gid, want.Uid, want.Gid, err))
		}
	}
	return nil
}

// write puts one file in place; nobody ever reads half of it.
func (d dir) write(f file) error {
	temp := tempName(f.token)
	if err := d.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a crash
		return err
	}
	out, err := d.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(f.body)
	if err == nil {
		err = out.Chmod(0o644)
	}
	err = errors.Join(err, out.Close())
	if err == nil {
		err = d.Rename(temp, f.token)
	}
	if err != nil {
		_ = d.Remove(temp) // Cleanup does it again
	}
	return err
}

// tempName cannot be a token, and Cleanup knows it too.
func tempName(token string) string { return "." + token + ".new" }

// explain says what the user can do about a root that cannot be written to.
func explain(err error, root string) error {
	at := filepath.Join(root, levels[len(levels)-1])
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		err = sdk.WithCode(fmt.Errorf("write to %s: %w", at, err), sdk.PermissionDenied)
		return sdk.Hint(sdk.Permanent(err), "let the user that runs certwright write to %s, or run certwright as root", at)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		err = sdk.WithCode(fmt.Errorf("write to %s: %w", at, err), sdk.Unavailable)
		return sdk.Hint(err, "free some space on the file system of %s", root)
	case errors.Is(err, syscall.EROFS):
		err = sdk.WithCode(fmt.Errorf("write to %s: %w", at, err), sdk.PermissionDenied)
		return sdk.Hint(err, "make the file system of %s writable", root)
	}
	err = fmt.Errorf("write to %s: %w", at, err)
	if errors.Is(err, errNowhere) {
		return sdk.Hint(err, "create the directory that the link names, or remove the link")
	}
	return err
}
