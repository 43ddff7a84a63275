package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/sdk"
)

// asNobody runs f on a thread whose file accesses are nobody's, so that root
// is refused like anyone else.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	setfsuid(65534)
	defer setfsuid(0)
	f()
}

func setfsuid(uid uintptr) { _, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uid, 0, 0) }

func TestUnwritable(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "state")
	s := open(t, dir)
	commit(t, s, testLineage(), "o1", 1)
	for path, mode := range map[string]fs.FileMode{filepath.Dir(base): 0o755, base: 0o555, dir: 0o555, s.path("lineages"): 0o555, s.path("archive"): 0o555} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(path, 0o755) })
	}
	asNobody(t, func() {
		for _, d := range []string{dir, filepath.Join(base, "other")} {
			_, err := Open(d)
			p := sdk.ProblemOf(err)
			if !errors.Is(err, fs.ErrPermission) || p.Error() != "use the state directory "+d+": permission denied" ||
				!strings.Contains(p.Hint, "--state-dir") || p.Code != sdk.PermissionDenied {
				t.Errorf("%v, hint %q", err, p.Hint)
			}
		}
		// What was open before is refused where it writes, and leaves nothing.
		if err := s.SaveLineage(testLineage()); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("save: %v", err)
		}
		if _, err := s.NewKey("other", "o1", ""); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("new key: %v", err)
		}
	})
	noTemp(t, dir)
	if live := sound(t, s); live != 1 {
		t.Errorf("live is %d", live)
	}
}
