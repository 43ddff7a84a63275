package plugintest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// noting is a test that has its failures noted, and is ended by hand.
type noting struct {
	testing.TB
	failures []string
	cleanups []func()
}

func (n *noting) Helper()          {}
func (n *noting) Cleanup(f func()) { n.cleanups = append(n.cleanups, f) }

func (n *noting) Errorf(format string, args ...any) {
	n.failures = append(n.failures, fmt.Sprintf(format, args...))
}

func (n *noting) end() []string {
	for _, f := range n.cleanups {
		f()
	}
	slices.Sort(n.failures)
	return n.failures
}

func TestPrinted(t *testing.T) {
	n := &noting{TB: t}
	if text := Printed(n, []byte("one\ntoken "+Secret("x")+"\nthree")); len(n.failures) != 1 ||
		!strings.Contains(n.failures[0], "has printed a secret: token ") || !strings.HasPrefix(text, "one\n") {
		t.Errorf("%q of %q", n.failures, text)
	}
}

// What is written after the call is what counts.
func TestLeft(t *testing.T) {
	root, n := t.TempDir(), &noting{TB: t}
	Left(n, root, "secret-*", "plugins/*")
	const private = "-----BEGIN PRIVATE KEY-----"
	for name, text := range map[string]string{
		"state/accounts/x/key.pem": private, "state/archive/a.test/1/privkey.pem": private, "state/plugins/nginx/checkpoints/1/x": private,
		"state/archive/a.test/1/.privkey.pem.tmp-12": private, "state/accounts/x/account.json": private, "state/archive/a.test/1/fullchain.pem": private, "state/plugins/nginx/ledger": private,
		"state/journal/1": "token: " + Secret("x"), "state/journal/2": "nothing", "state/plugins/vpn/there/a.test.json": private + "token: " + Secret("x"), "archive/privkey.pem": private,
		"secret-1": Secret("x"), "etc/secret-1": Secret("x"), "plugins/q": Secret("x"), "plugins/p/core": "x",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"a private key is left in archive/privkey.pem", "a private key is left in state/accounts/x/account.json",
		"a private key is left in state/archive/a.test/1/fullchain.pem", "a private key is left in state/plugins/nginx/ledger",
		"a secret is left in etc/secret-1", "a secret is left in state/journal/1", "a secret is left in state/plugins/vpn/there/a.test.json", "the memory of a process is left in plugins/p/core",
	}
	if got := n.end(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
