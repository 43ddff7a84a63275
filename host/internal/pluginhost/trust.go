package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// RefusedError says that a binary is not trusted, and what to do about it.
type RefusedError struct {
	// Path is the plugin's binary as it was found.
	Path string
	// At is the file, directory or link that is wrong.
	At string
	// Owner and Group of At, by number, and its mode.
	Owner, Group uint32
	Mode         fs.FileMode
	// Reason says what is wrong with At, Fix what to do.
	Reason, Fix string
}

func (e *RefusedError) Error() string {
	what := "it"
	if e.At != e.Path {
		what = e.At
	}
	return fmt.Sprintf("plugin binary %s is not trusted: %s (owner %s, group %s, mode %s) %s; %s",
		e.Path, what, name(e.Owner, user.LookupId, userName), name(e.Group, user.LookupGroupId, groupName),
		e.Mode, e.Reason, e.Fix)
}

func userName(u *user.User) string   { return u.Username }
func groupName(g *user.Group) string { return g.Name }

func name[T any](id uint32, lookup func(string) (T, error), text func(T) string) string {
	number := strconv.FormatUint(uint64(id), 10)
	if found, err := lookup(number); err == nil {
		return text(found)
	}
	return number
}

// trustRule is the rule for one user; see the package comment.
type trustRule struct{ uid, gid uint32 }

func currentRule() trustRule {
	return trustRule{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
}

// isNotDirectory: a part of a path is a file, so nothing can be below it.
func isNotDirectory(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// maxLinks is the kernel's own limit (path_resolution(7)).
const maxLinks = 40

// resolve follows an absolute path one step at a time and gives the real path
// of its last part. It checks every directory that it goes through and every
// link that it follows, because whoever could change one of them could lead the
// path elsewhere. The last part itself is the caller's to check.
func (t trustRule) resolve(path string) (string, error) {
	refuse := func(at string, fi fs.FileInfo, reason, fix string) error {
		return newRefusedError(path, at, fi, reason, fix)
	}
	enter := func(dir string) error {
		fi, err := os.Lstat(dir)
		if err != nil {
			return fmt.Errorf("check the directories of plugin binary %s: %w", path, err)
		}
		if !fi.IsDir() {
			return refuse(dir, fi, "is not a directory", "correct the path")
		}
		if reason, fix := t.fault(dir, fi); reason != "" {
			return refuse(dir, fi, reason, fix)
		}
		return nil
	}
	todo, dir, links := split(path), "/", 0
	if err := enter(dir); err != nil {
		return "", err
	}
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		if part == ".." {
			dir = filepath.Dir(dir)
			continue
		}
		next := filepath.Join(dir, part)
		fi, err := os.Lstat(next)
		switch {
		case err != nil:
			return "", fmt.Errorf("find plugin binary %s: %w", path, err)
		case fi.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return "", fmt.Errorf("find plugin binary %s: too many symbolic links; remove the loop", path)
			}
			// The mode of a link means nothing; who owns it may change it.
			if reason, fix := t.wrongOwner(next, fi); reason != "" {
				return "", refuse(next, fi, reason, fix)
			}
			target, err := os.Readlink(next)
			if err != nil {
				return "", fmt.Errorf("find plugin binary %s: %w", path, err)
			}
			if filepath.IsAbs(target) {
				dir = "/"
			}
			todo = append(split(target), todo...)
		case len(todo) == 0:
			return next, nil
		default:
			if err := enter(next); err != nil {
				return "", err
			}
			dir = next
		}
	}
	return dir, nil
}

// split gives the parts of a path; ".." is kept because of links.
func split(path string) []string {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}

// fault says why a file or directory breaks the rule, or nothing.
func (t trustRule) fault(path string, fi fs.FileInfo) (reason, fix string) {
	if reason, fix := t.wrongOwner(path, fi); reason != "" {
		return reason, fix
	}
	if fi.IsDir() && fi.Mode()&fs.ModeSticky != 0 {
		return "", "" // entries belong to their owners
	}
	if fi.Mode().Perm()&0o002 != 0 {
		return "can be written by everyone", "run: chmod o-w " + path
	}
	_, gid := ids(fi)
	own := gid == 0 || t.uid != 0 && gid == t.gid
	if fi.Mode().Perm()&0o020 != 0 && !own {
		return "can be written by its group", "run: chmod g-w " + path
	}
	return "", ""
}

func (t trustRule) wrongOwner(path string, fi fs.FileInfo) (reason, fix string) {
	uid, _ := ids(fi)
	switch {
	case uid == 0 || uid == t.uid:
		return "", ""
	case t.uid == 0:
		return "does not belong to root, as which certwright runs", "if you trust it, run: chown -h root " + path
	}
	return "belongs neither to root nor to you", "install your own copy of the plugin, or have root own it: chown -h root " + path
}

func ids(fi fs.FileInfo) (uid, gid uint32) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Uid, st.Gid
	}
	// Not a file system that we know: nobody is trusted.
	return ^uint32(0), ^uint32(0)
}

func links(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink) //nolint:unconvert // another type on other systems
	}
	return 0
}

func newRefusedError(path, at string, fi fs.FileInfo, reason, fix string) *RefusedError {
	uid, gid := ids(fi)
	return &RefusedError{Path: path, At: at, Owner: uid, Group: gid, Mode: fi.Mode(), Reason: reason, Fix: fix}
}

// binary is an open file that the trust rule allows.
type binary struct {
	file *os.File
	// path is the real one.
	path   string
	script bool
}

// open finds out whether a binary is trusted and keeps it open, so that what is
// executed is what was checked.
func (h *Host) open(path string) (*binary, error) {
	if h.isDev(path) {
		return h.openDev(path)
	}
	target, err := h.rule.resolve(path)
	if err != nil {
		return nil, err
	}
	// O_NONBLOCK: a pipe of that name must not make us wait.
	f, err := os.OpenFile(target, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open plugin binary %s: %w; make it readable for the user that runs certwright", path, err)
	}
	b := &binary{file: f, path: target}
	if err := h.check(b, path); err != nil {
		_ = f.Close()
		return nil, err
	}
	return b, nil
}

func (h *Host) check(b *binary, found string) error {
	fi, err := b.file.Stat()
	if err != nil {
		return fmt.Errorf("check plugin binary %s: %w", found, err)
	}
	reason, fix := h.rule.fault(b.path, fi)
	switch {
	case !fi.Mode().IsRegular():
		reason, fix = "is not a regular file", "put the plugin's binary there"
	case reason == "" && fi.Mode().Perm()&0o111 == 0:
		reason, fix = "is not executable", "run: chmod +x "+b.path
	}
	if reason != "" {
		return newRefusedError(found, b.path, fi, reason, fix)
	}
	b.script = isScript(b.file)
	if h.opts.Lock != nil {
		if err := h.opts.Lock.Verify(strings.TrimPrefix(filepath.Base(found), binaryPrefix), b.file); err != nil {
			return fmt.Errorf("plugin binary %s is refused: %w", found, err)
		}
	}
	return nil
}

func isScript(f *os.File) bool {
	magic := make([]byte, 2)
	n, _ := f.ReadAt(magic, 0)
	return n == 2 && string(magic) == "#!"
}
