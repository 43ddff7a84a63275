package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/certwright/certwright/sdk"
)

// levels lead from a webroot to the files (RFC 8555 section 8.3), outermost
// first.
var levels = []string{".well-known", ".well-known/acme-challenge"}

// errNowhere is a symbolic link without a target. It is not fs.ErrNotExist,
// because nothing can be made in its place.
var errNowhere = errors.New("the symbolic link leads nowhere")

// dir is an open directory: what is done in it cannot be led elsewhere by
// whoever may write to the webroot.
type dir struct {
	*os.Root
	path string // for messages
	// owner is whom new directories below belong to.
	owner *syscall.Stat_t
}

func openRoot(path string) (dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return dir{}, err
	}
	info, err := root.Stat(".")
	if err != nil {
		return dir{}, errors.Join(err, root.Close())
	}
	return dir{Root: root, path: path, owner: statOf(info)}, nil
}

func statOf(info fs.FileInfo) *syscall.Stat_t {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return &syscall.Stat_t{} // not on the systems that this is built for
	}
	return stat
}

// below opens a directory in d.
func (d dir) below(name string) (dir, error) {
	path := filepath.Join(d.path, name)
	info, err := d.Lstat(name)
	if err != nil {
		return dir{}, err
	}
	link := info.Mode()&fs.ModeSymlink != 0
	if target, err := d.Stat(name); err == nil {
		info = target // a link that stays in d, or no link
	} else if link {
		return d.follow(name, info)
	}
	if !info.IsDir() {
		err := sdk.Problemf(sdk.Conflict, "%s is in the way: it is not a directory", path)
		return dir{}, sdk.Hint(err, "remove or rename %s", path)
	}
	root, err := d.OpenRoot(name)
	if err != nil {
		return dir{}, err
	}
	return dir{Root: root, path: path, owner: d.owner}, nil
}

// follow opens a directory that a link out of d names. Many machines keep the
// challenges of all sites in one place in this way. The link must belong to
// root or to us, so that whoever merely owns the site cannot make us write
// elsewhere; and new directories belong to the owner of where it leads.
func (d dir) follow(name string, info fs.FileInfo) (dir, error) {
	path := filepath.Join(d.path, name)
	target, err := d.Readlink(name)
	if err != nil {
		return dir{}, err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(d.path, target)
	}
	if uid := statOf(info).Uid; !trusted(uid) {
		err := sdk.Problemf(sdk.Conflict, "%s is a symbolic link out of its directory, made by user %d, and is not followed", path, uid)
		return dir{}, sdk.Hint(err, "make the link %s as root, or set path to a directory that needs none", path)
	}
	at, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir{}, fmt.Errorf("follow %s to %s: %w", path, target, errNowhere)
	case err != nil:
		return dir{}, err
	case !at.IsDir():
		err := sdk.Problemf(sdk.Conflict, "%s is in the way: it is not a directory", target)
		return dir{}, sdk.Hint(err, "correct the symbolic link %s", path)
	}
	out, err := openRoot(target)
	out.path = path
	return out, err
}

func trusted(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// descend opens the directory of a level; an empty level is the webroot.
func descend(root, level string) (dir, error) {
	d, err := openRoot(root)
	for name := range strings.SplitSeq(level, "/") {
		if name == "" || err != nil {
			break
		}
		outer := d
		d, err = outer.below(name)
		_ = outer.Close()
	}
	return d, err
}

// missingLevels says which levels would have to be made.
func missingLevels(root string) ([]string, error) {
	for i, level := range levels {
		d, err := descend(root, level)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if _, err := os.Stat(root); err != nil {
				return nil, err
			}
			return levels[i:], nil
		case err != nil:
			return nil, err
		}
		_ = d.Close()
	}
	return nil, nil
}
