package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// The pages of docs/plugins are those of the plugins as they are, one for each.
func TestReferencePages(t *testing.T) {
	mains, err := filepath.Glob("../../plugins/*/main.go")
	if err != nil || len(mains) == 0 {
		t.Fatalf("plugins: %v, %v", mains, err)
	}
	written := t.TempDir()
	args := []string{"plugins", "pages", written, "--config-dir", t.TempDir()}
	for _, main := range mains {
		args = append(args, filepath.Base(filepath.Dir(main)))
	}
	if out, err := exec.CommandContext(t.Context(), filepath.Join(prefix, "bin/certwright"), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const committed = "../../docs/plugins"
	want, have := pagesOf(t, written), pagesOf(t, committed)
	if len(want) != len(mains)+1 {
		t.Errorf("%d plugins have the pages %v", len(mains), want)
	}
	for _, page := range want {
		if !slices.Contains(have, page) {
			t.Errorf("docs/plugins/%s is missing: run make docs", page)
			continue
		}
		fresh, err := os.ReadFile(filepath.Join(written, page))
		if err != nil {
			t.Fatal(err)
		}
		stale, err := os.ReadFile(filepath.Join(committed, page))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fresh, stale) {
			t.Errorf("docs/plugins/%s is not what the plugin says of itself: run make docs\n%s", page, fresh)
		}
	}
	for _, page := range have {
		if !slices.Contains(want, page) {
			t.Errorf("docs/plugins/%s is of no plugin that there is: remove it", page)
		}
	}
}

func pagesOf(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
