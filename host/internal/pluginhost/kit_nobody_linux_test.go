package pluginhost

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is the user that owns nothing.
const nobody = 65534

// TestKitAsNobody has the kit tried by a host that is not root. Where the tests do
// not run as root, they all are.
func TestKitAsNobody(t *testing.T) {
	binary, err := buildKit()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		if os.Getenv(kitPrograms) != "" {
			t.Fatal("this test started itself")
		}
		return // TestKit has done it
	}
	// Short, for it holds sockets; and where nobody may go.
	dir, err := os.MkdirTemp("/tmp", "kit-") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "own")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(own, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests, kit := filepath.Join(dir, "tests"), filepath.Join(dir, "kit")
	for to, from := range map[string]string{tests: self, kit: binary} {
		program, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, program, 0o755); err != nil { //nolint:gosec // nobody is to execute it
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tests, "-test.run", "^TestKit(|IsGranted|LeavesNoCore|SendsTooMuch|Swaps)$", "-test.v")
	cmd.Dir = own
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + own, "TMPDIR=" + own, kitPrograms + "=" + kit}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("as uid %d: %v\n%s", nobody, err, out)
	}
	// Two levels of each act.
	if n, want := strings.Count(string(out), "        --- PASS: TestKit/"), 2*len(possible(nobody)); n != want {
		t.Errorf("%d acts were tried as uid %d, want %d:\n%s", n, nobody, want, out)
	}
}
