package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// State looks at the permissions of the state directory: keys are for their
// owner alone.
func State(dir string) []Finding {
	const check = "state"
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{ok(check, "%s does not exist yet", dir)}
	case err != nil:
		return []Finding{bad(check, "run doctor as the user that runs certwright", "%s cannot be read: %v", dir, err)}
	case !info.IsDir():
		return []Finding{bad(check, "move it away", "%s is not a directory", dir)}
	}
	var out []Finding
	keys := 0
	for _, pattern := range []string{"accounts/*/key*.pem", "archive/*/*/privkey.pem", "archive/*/.order-*/privkey.pem"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return append(out, bad(check, "", "look for keys in %s: %v", dir, err))
		}
		for _, path := range paths {
			keys++
			info, err := os.Stat(path)
			switch {
			case errors.Is(err, fs.ErrNotExist): // gone meanwhile
			case err != nil:
				out = append(out, bad(check, "run doctor as the user that runs certwright", "the key %s cannot be read: %v", path, err))
			case info.Mode().Perm()&0o077 != 0:
				out = append(out, bad(check, "run: chmod 600 "+path, "the key %s can be used by others (mode %04o)", path, info.Mode().Perm()))
			}
		}
	}
	if uid := owner(info); uid >= 0 && uid != os.Geteuid() {
		out = append(out, odd(check, fmt.Sprintf("run certwright as user %d, always as the same", uid), "%s belongs to user %d, not to this one", dir, uid))
	}
	if info.Mode().Perm()&0o022 != 0 {
		out = append(out, bad(check, "run: chmod go-w "+dir, "%s can be written by others (mode %04o)", dir, info.Mode().Perm()))
	}
	if len(out) == 0 {
		out = append(out, ok(check, "%s: %d keys, readable by their owner only", dir, keys))
	}
	return out
}

func owner(info fs.FileInfo) int {
	if st, isStat := info.Sys().(*syscall.Stat_t); isStat {
		return int(st.Uid)
	}
	return -1
}

// FileSystem says whether the disk keeps kernel locks and renames as they must
// be kept.
func FileSystem(dir string) Finding {
	const check = "disk"
	kind, network, err := fileSystem(nearest(dir))
	switch {
	case err != nil:
		return odd(check, "", "the kind of file system of %s is not known: %v", dir, err)
	case network:
		return bad(check, "keep the state directory on a local disk",
			"%s is on %s: locks and renames are not reliable there", dir, kind)
	}
	return ok(check, "%s is on %s", dir, kind)
}

// nearest is the directory, or the lowest above it that exists.
func nearest(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// Journal tells what interrupted runs have left.
func Journal(pending []string, err error) Finding {
	const check = "journal"
	switch {
	case err != nil:
		return bad(check, "run: certwright renew", "%v", err)
	case len(pending) > 0:
		return bad(check, "run: certwright renew", "an interrupted run has left: %s", strings.Join(pending, "; "))
	}
	return ok(check, "nothing is left of interrupted runs")
}

// Clock holds this machine's time against the newest certificate: one from the
// future means that the clock was set back.
func Clock(now, newest time.Time) Finding {
	const check = "clock"
	if ahead := newest.Sub(now); ahead > time.Hour {
		return bad(check, "set the clock: nothing is renewed until then",
			"it is %s here, %s before the newest certificate was issued", now.UTC().Format(time.RFC3339), ahead.Round(time.Minute))
	}
	return ok(check, "it is %s", now.UTC().Format(time.RFC3339))
}
