package plugintest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// suite is the final check over the output of the whole suite, in a tree of its
// own; it gives what passes, what it says, and its status.
func suite(t *testing.T, tree, script string, args ...string) (passed, says string, status int) {
	t.Helper()
	text, err := os.ReadFile("../../.ci/unseen")
	if err != nil {
		t.Fatal(err)
	}
	check := filepath.Join(tree, ".ci", "unseen")
	if err := errors.Join(os.MkdirAll(filepath.Dir(check), 0o700), os.WriteFile(check, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{check, "/bin/sh", "-c", script, "sh"}, args...)...)
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), told.String(), cmd.ProcessState.ExitCode()
}

// make test runs everything through the final check: it sees all that Leak sees.
func TestUnseen(t *testing.T) {
	tree := t.TempDir()
	forms := map[string]string{"a secret, whole": Secret("x"), PrivateKey: privateKeyForm}
	for what, form := range leaks {
		forms[what] = form
	}
	for what, form := range forms {
		passed, says, status := suite(t, tree, `printf 'ok one\n'; printf 'x%sx\n' "$1" >&2; printf 'ok three\n'`, form)
		if status != 1 || passed != "ok one\nx"+form+"x\nok three\n" || !strings.Contains(says, "line 2\n") || strings.Contains(says, form) {
			t.Errorf("%s: status %d, it says %q after\n%q", what, status, says, passed)
		}
	}
	for _, c := range []struct {
		script string
		status int
	}{{"echo ok", 0}, {"echo FAIL; exit 3", 3}, {"echo " + Secret("x") + "; exit 3", 3}} {
		if passed, says, status := suite(t, tree, c.script); status != c.status || (says == "") != (Leak([]byte(c.script)) == "") {
			t.Errorf("%s: status %d, it says %q after\n%s", c.script, status, says, passed)
		}
	}
	if _, says, status := suite(t, tree, `: >"$1/core.12"; mkdir "$1/core"; : >"$1/core/core.go"`, tree); status != 1 || !strings.HasSuffix(says, tree+"/core.12\n") ||
		strings.Contains(says, "core.go") {
		t.Errorf("with a core file: status %d, it says %q", status, says)
	}
}
