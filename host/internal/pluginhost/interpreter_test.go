package pluginhost

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestInterpreter: what a script's first line names opens its interpreter, and no
// more than programs beside it.
func TestInterpreter(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"venv/bin", "secret", "plugins"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/bin/sh", filepath.Join(base, "venv/bin/python")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/bin/sh", filepath.Join(base, "secret/python")); err != nil {
		t.Fatal(err)
	}
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(base, "plugins")
	for line, want := range map[string][]string{
		"#!/bin/sh":                              {own, sh, "/usr"},
		"#!/proc/self/root/bin/sh":               {own, sh, "/usr"},
		"#!" + base + "/venv/bin/python -u":      {own, sh, "/usr", filepath.Join(base, "venv")},
		"#!" + base + "/secret/python":           {own, sh, "/usr"},
		"#!" + base + "/secret/../venv/bin/sh":   {own},
		"#!python":                               {own},
		"#!/etc":                                 {own},
		"#!":                                     {own},
		"#! " + base + "/venv/bin/../bin/python": {own, sh, "/usr", filepath.Join(base, "venv")},
	} {
		path := filepath.Join(own, "script")
		if err := os.WriteFile(path, []byte(line+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got := (&binary{file: f, path: path, script: true}).interpreter()
		_ = f.Close()
		slices.Sort(got)
		slices.Sort(want)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
