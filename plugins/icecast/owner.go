package main

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"github.com/certwright/certwright/sdk"
)

// packagedUser is whom the packages of Debian and others run Icecast as.
const packagedUser = "icecast2"

// owner of the bundle; nil leaves it as it is, or of a new file to the system.
type owner struct{ uid, gid *int }

// owner finds out who must be able to read the bundle: Icecast reads it after it
// has changed its user.
func (i *icecast) owner(d document) (owner, error) {
	if i.settings.Owner != "" {
		name, group, _ := strings.Cut(i.settings.Owner, ":")
		o, err := lookUp(name, group)
		if err != nil {
			err = sdk.Problemf(sdk.InvalidConfig, "setting owner: %w", err)
			err = sdk.Subject(sdk.Permanent(err), "owner")
		}
		return o, err
	}
	if chosen(i.settings.Bundle) || os.Geteuid() != 0 {
		return owner{}, nil // somebody has chosen one, or we cannot choose
	}
	if security := d.root.last("security"); security != nil {
		if c := security.last("changeowner"); c != nil && strings.TrimSpace(c.value("user")) != "" {
			o, err := lookUp(strings.TrimSpace(c.value("user")), strings.TrimSpace(c.value("group")))
			if err != nil {
				err = sdk.Problemf(sdk.InvalidConfig, "look up changeowner of %s: %w", i.settings.Config, err)
				err = sdk.Hint(err, "correct it, or set owner")
			}
			return o, err
		}
	}
	o, err := lookUp(packagedUser, "")
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		return owner{}, nil
	}
	return o, err
}

// chosen says whether a bundle has an owner that somebody has chosen. Root is none:
// Icecast does not run as root, and read that file by its group.
func chosen(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || stat.Uid != 0
}

// lookUp resolves a user and a group, each by name or number; without a group it
// is the user's own.
func lookUp(name, group string) (owner, error) {
	u, err := user.Lookup(name)
	if err != nil {
		var byNumber error
		if u, byNumber = user.LookupId(name); byNumber != nil {
			if _, bad := strconv.Atoi(name); bad != nil {
				return owner{}, err
			}
			u = &user.User{Uid: name, Gid: name}
		}
	}
	gid := u.Gid
	if group != "" {
		gid = group
		if g, err := user.LookupGroup(group); err == nil {
			gid = g.Gid
		}
	}
	var o owner
	for _, x := range []struct {
		text string
		to   **int
	}{{u.Uid, &o.uid}, {gid, &o.gid}} {
		n, err := strconv.Atoi(x.text)
		if err != nil {
			return owner{}, user.UnknownGroupError(x.text)
		}
		*x.to = &n
	}
	return o, nil
}

// has says whether a file has the mode and the owner that it is to have.
func (o owner) has(path string) bool {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != bundleMode {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || (o.uid == nil || int(stat.Uid) == *o.uid) && (o.gid == nil || int(stat.Gid) == *o.gid)
}
