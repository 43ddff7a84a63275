package structure

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// module is the import path of everything that is ours.
const module = "github.com/certwright/certwright"

// goPackage is what these checks read of `go list -json`.
type goPackage struct {
	ImportPath   string
	Dir          string
	Name         string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// root finds the top of the repository: tests run in their package's folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !strings.HasPrefix(string(text), "module "+module+"\n") {
		t.Fatalf("%s is not the top of the repository: %v", dir, err)
	}
	return dir
}

// modules gives the folders with a go.mod: the root, and each plugin or example
// that is a module of its own.
func modules(t *testing.T) []string {
	t.Helper()
	top := root(t)
	found := []string{top}
	for _, pattern := range []string{"plugins/*/go.mod", "examples/*/go.mod"} {
		files, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			found = append(found, filepath.Dir(file))
		}
	}
	return found
}

// packages lists every package of every module as goos sees it, by its folder
// below the root. Tests behind the slow tag are among them.
func packages(t *testing.T, goos string) map[string]goPackage {
	t.Helper()
	top := root(t)
	found := map[string]goPackage{}
	for _, dir := range modules(t) {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-tags", "slow",
			"-json=ImportPath,Dir,Name,Doc,Imports,TestImports,XTestImports", "./...")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list in %s for %s: %v\n%s", dir, goos, err, exit.Stderr)
		}
		if err != nil {
			t.Fatalf("go list in %s for %s: %v", dir, goos, err)
		}
		for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
			var p goPackage
			err := dec.Decode(&p)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("what go list printed in %s: %v", dir, err)
			}
			rel, err := filepath.Rel(top, p.Dir)
			if err != nil {
				t.Fatal(err)
			}
			found[filepath.ToSlash(rel)] = p
		}
	}
	return found
}

// files lists the files of the repository below the root, without what is
// generated into it and what tools keep in folders that start with a dot.
func files(t *testing.T) []string {
	t.Helper()
	var found []string
	top := os.DirFS(root(t))
	err := fs.WalkDir(top, ".", func(name string, entry fs.DirEntry, err error) error {
		switch base := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && base != ".ci" && (strings.HasPrefix(base, ".") || name == "build" || name == "vendor"):
			return fs.SkipDir
		case entry.Type().IsRegular():
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 20 {
		t.Fatalf("only %d files found: %q", len(found), found)
	}
	return found
}

// read gives the text of a file below the root.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
