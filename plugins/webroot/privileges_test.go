package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// foreignRoot names a webroot of root's, for the test run as nobody.
const foreignRoot = "WEBROOT_TEST_FOREIGN_ROOT"

// Root may do everything, so root runs this test once more as nobody.
func TestWithoutPrivileges(t *testing.T) {
	if os.Geteuid() == 0 {
		asNobody(t)
		return
	}
	root := realDir(t)
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	w := configured(t, settings{Path: root}, t.TempDir())
	c := challenge("a.example", "token")
	p := failed(t, w, c)
	if p.Code != sdk.PermissionDenied || p.Retry != sdk.RetryNever ||
		!strings.Contains(p.Error(), root) || !strings.Contains(p.Hint, root) {
		t.Errorf("the problem is %+v", p)
	}
	cleaned(t, w, "", c)
	if foreign := os.Getenv(foreignRoot); foreign != "" {
		foreignOwner(t, foreign)
	}
}

// foreignOwner checks that directories that cannot be given to the owner of the
// webroot serve all the same, and that it is told.
func foreignOwner(t *testing.T, root string) {
	w := configured(t, settings{Path: root}, t.TempDir())
	c := challenge("a.example", "token")
	r := &recorder{}
	if err := w.Perform(t.Context(), []sdk.Challenge{c}, r); err != nil {
		t.Fatal(err)
	}
	if err := r.result(t, c.ID).Err; err != nil {
		t.Fatal(err)
	}
	if got := served(t, root, c); got != c.KeyAuthorization {
		t.Errorf("served as %q", got)
	}
	want := fmt.Sprintf("belongs to %d:%d, not to 0:0", os.Geteuid(), os.Getegid())
	if len(r.progress) != 2 || !strings.Contains(r.progress[0], want) {
		t.Errorf("the story is %q, want %q for each directory", r.progress, want)
	}
	cleaned(t, w, "", c)
	if got := tree(t, root); got != "" {
		t.Errorf("left over: %s", got)
	}
}

func asNobody(t *testing.T) {
	const nobody = 65534
	base := t.TempDir()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	binary, foreign, temp := filepath.Join(base, "webroot.test"), mkdirs(t, base, "foreign"), mkdirs(t, base, "tmp")
	for _, err := range []error{
		os.Chmod(filepath.Dir(base), 0o755), os.WriteFile(binary, self, 0o600), os.Chmod(binary, 0o755),
		os.Chmod(foreign, 0o777), os.Chown(temp, nobody, nobody),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.run=^TestWithoutPrivileges$", "-test.v")
	cmd.Dir, cmd.Env = temp, []string{"TMPDIR=" + temp, foreignRoot + "=" + foreign}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestWithoutPrivileges") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}
