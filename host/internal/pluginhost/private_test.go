package pluginhost

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAround(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc", "var/lib/state/accounts/ca", "var/lib/state/live", "var/lib/other", "srv"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"srv/up": base, "srv/keys": "../var/lib/state/accounts", "srv/key": "../var/lib/state/accounts/ca", "etc/fine": "../var/lib/other",
		"var/lib/up": "..", "var/lib/sideways": "other", "var/lib/gone": "nowhere", "var/lib/keys": "state/accounts", "state": "var/lib/state",
	} {
		if err := os.Symlink(target, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	// Named by a link, and one that is not there yet.
	real := realPaths{}
	private := []string{real.of(filepath.Join(base, "state", "accounts")), real.of(filepath.Join(base, "var/lib/state/journal"))}
	for _, test := range []struct {
		name string
		path string
		want []string
	}{
		{"all", "", []string{"etc", "srv", "var/lib/other", "var/lib/sideways", "var/lib/state/live"}},
		{"beside it", "etc", []string{"etc"}},
		{"above it", "var/lib", []string{"var/lib/other", "var/lib/sideways", "var/lib/state/live"}},
		{"above it, by a link", "srv/up/var/lib", []string{"var/lib/other", "var/lib/sideways", "var/lib/state/live"}},
		{"itself", "var/lib/state/accounts", nil},
		{"in it", "var/lib/state/accounts/ca", nil},
		{"in it, by a link", "srv/key", nil},
		{"a name that begins like it", "var/lib/state/accounts-of-others", []string{"var/lib/state/accounts-of-others"}},
		{"what will be private", "var/lib/state/journal/x", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var want []string
			for _, path := range test.want {
				want = append(want, filepath.Join(base, path))
			}
			if diff := cmp.Diff(want, realPaths{}.around([]string{filepath.Join(base, test.path)}, private)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestRealPaths(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(base, "a/b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, "a/file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"to-a": "a", "a/to-b": "../to-a/b", "absolute": filepath.Join(base, "to-a", "b"), "b": "a/b",
		"dangling": "nowhere", "loop": "loop", "to-file": "a/file",
	} {
		if err := os.Symlink(target, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	real := realPaths{}
	for _, test := range []struct{ path, want string }{
		{"a/b", "a/b"},
		{"to-a", "a"},
		{"to-a/b", "a/b"},
		{"to-a/to-b", "a/b"},
		{"to-a/to-b/later/still", "a/b/later/still"},
		{"absolute", "a/b"},
		{"to-file", "a/file"},
		{"dangling", "dangling"},
		{"dangling/x", "dangling/x"},
		{"a/file/x", "a/file/x"},
		{"to-file/x", "to-file/x"},
		{"loop", "loop"},
		{"loop/x", "loop/x"},
		{"b/../b", "a/b"}, // not b: the link is followed first
	} {
		for range 2 { // found out, and remembered
			if got := real.of(base + "/" + test.path); got != filepath.Join(base, test.want) {
				t.Errorf("%s is %s", test.path, got)
			}
		}
	}
	if got := real.of("/"); got != "/" {
		t.Errorf("/ is %s", got)
	}
}
