package pluginhost

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSearchPath(t *testing.T) {
	dir := t.TempDir()
	executable := filepath.Join(dir, "opt", "bin", "certwright")
	if err := os.MkdirAll(filepath.Dir(executable), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(executable, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "certwright")
	if err := os.Symlink(executable, link); err != nil {
		t.Fatal(err)
	}
	beside, err := filepath.EvalSymlinks(filepath.Join(dir, "opt"))
	if err != nil {
		t.Fatal(err)
	}
	beside = filepath.Join(beside, "libexec/certwright/plugins")
	system := []string{"/usr/local/libexec/certwright/plugins", "/usr/libexec/certwright/plugins"}
	tests := []struct {
		name       string
		flags      []string
		env        string
		executable string
		want       []string
	}{
		{"nothing given", nil, "", "", system},
		{"all, in order", []string{"/f2", "/f1/"}, "/e1:/e2", link, append([]string{"/f2", "/f1", "/e1", "/e2", beside}, system...)},
		{"empty entries are not the working directory", []string{""}, ":/e1:", "", append([]string{"/e1"}, system...)},
		{"each once", []string{"/a"}, "/a:/b", "/usr/local/bin/certwright", append([]string{"/a", "/b"}, system...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, SearchPath(test.flags, test.env, test.executable)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFirstDirectoryWins: also when its binary is refused.
func TestFirstDirectoryWins(t *testing.T) {
	first, second := pluginDir(t, "good", "zz"), pluginDir(t, "good", "aa")
	h := New(Options{Dirs: []string{filepath.Join(first, "missing"), first, second}, StateDir: t.TempDir()})
	defer h.Close(context.Background())
	for _, extra := range []string{"certwright-plugin-Bad.bak", "certwright-plugin-", "other"} {
		if err := os.WriteFile(filepath.Join(first, extra), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(first, "certwright-plugin-dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	var names, paths []string
	for _, f := range h.List() {
		names, paths = append(names, f.Name), append(paths, f.Path)
		if f.Refused != nil {
			t.Errorf("%s: %v", f.Name, f.Refused)
		}
	}
	if diff := cmp.Diff([]string{"aa", "good", "zz"}, names); diff != "" {
		t.Error(diff)
	}
	if want := filepath.Join(first, "certwright-plugin-good"); paths[1] != want {
		t.Errorf("good is at %s", paths[1])
	}

	// A copy, because the binaries are links of one file.
	victim := filepath.Join(first, "certwright-plugin-good")
	if err := os.Remove(victim); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(victim, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(victim, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := h.Start(t.Context(), Spec{Name: "good", Plugin: "good"})
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Path != victim {
		t.Fatalf("error %v", err)
	}
	if pids := recordedPids(t, second); len(pids) != 0 {
		t.Errorf("the shadowed one was run: %v", pids)
	}
}

func TestNotFound(t *testing.T) {
	dir := pluginDir(t)
	h := New(Options{Dirs: []string{dir, "/no/such/dir"}})
	defer h.Close(context.Background())
	_, err := h.Describe(t.Context(), "nginx")
	var missing *NotFoundError
	if !errors.As(err, &missing) || missing.Plugin != "nginx" {
		t.Fatalf("error %v", err)
	}
	mention(t, err, "plugin nginx was not found", dir, "/no/such/dir")
	mention(t, errors.New(missing.Hint()), "--plugin-dir", "plugins list")
	_, err = h.Describe(t.Context(), "../nginx")
	mention(t, err, "cannot be the name of a plugin")
	_, err = New(Options{}).Describe(t.Context(), "nginx")
	mention(t, err, "no directory is searched")
}
