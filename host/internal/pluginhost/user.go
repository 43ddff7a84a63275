package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/sdk"
)

// userOf finds the user that an instance is to run as; nil: the host's.
func userOf(d sdk.Description, s Spec) (*sandbox.User, error) {
	if s.User == "" {
		return nil, nil //nolint:nilnil // nobody else is asked for
	}
	fail := func(err error) (*sandbox.User, error) {
		return nil, fmt.Errorf("instance %s cannot run as user %s: %w", s.Name, s.User, err)
	}
	if slices.Contains(d.Roles, sdk.RoleInstaller) {
		return fail(fmt.Errorf("plugin %s is an installer, which needs the rights of certwright itself; user is for authenticators", d.Name))
	}
	if !slices.Contains(d.Roles, sdk.RoleAuthenticator) {
		return fail(fmt.Errorf("plugin %s is no authenticator; user is for authenticators", d.Name))
	}
	if os.Geteuid() != 0 {
		return fail(errors.New("only root can start processes of other users; run certwright as root, or remove user from the instance"))
	}
	u, err := user.Lookup(s.User)
	if err != nil {
		return fail(errors.New("there is no such user; make it with: useradd --system " + s.User))
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return fail(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return fail(err)
	}
	return &sandbox.User{Name: s.User, UID: uint32(uid), GID: uint32(gid)}, nil
}

// passable lets another user through a directory to his own, and shows him no
// names.
func passable(dir string) error {
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm()&0o011 == 0o011 {
		return err
	}
	return os.Chmod(dir, info.Mode().Perm()|0o011) //nolint:gosec // what is in it has modes of its own
}

// hand gives a directory and what is in it to the user of an instance, or back to
// the host's. The directory belongs to one of them; so what is in it may have been
// put there to have something else given away.
func hand(dir string, u *sandbox.User) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid := 0, 0
	if u != nil {
		uid, gid = int(u.UID), int(u.GID)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if owner, _ := ids(info); int(owner) == uid {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	// The directory comes last: if this is interrupted, it is done again.
	var dirs []string
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			dirs = append(dirs, path)
			return nil
		}
		info, err := root.Lstat(path)
		if err != nil {
			return err
		}
		if links(info) > 1 {
			return fmt.Errorf("%s has a second name elsewhere; remove it", filepath.Join(dir, path))
		}
		return root.Lchown(path, uid, gid)
	})
	for _, path := range slices.Backward(dirs) {
		if err == nil {
			err = root.Lchown(path, uid, gid)
		}
	}
	return err
}
