package structure

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// tooLong is where a file has to say why it was not split.
const tooLong = 500

func TestLongFilesSayWhy(t *testing.T) {
	for _, name := range files(t) {
		if path.Ext(name) != ".go" || strings.HasSuffix(name, ".pb.go") {
			continue
		}
		if wrong := longWithoutReason(name, read(t, name)); wrong != "" {
			t.Error(wrong)
		}
	}
}

func longWithoutReason(name, text string) string {
	if strings.Count(text, "\n") <= tooLong {
		return ""
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		return err.Error()
	}
	if len(file.Comments) > 0 && strings.Contains(file.Comments[0].Text(), "over 500 lines because") {
		return ""
	}
	return name + " is over 500 lines: split it, or say in its first comment that it is \"over 500 lines because\" of what"
}

func TestLongWithoutReason(t *testing.T) {
	body := strings.Repeat("\n", tooLong)
	for text, want := range map[string]bool{
		"package a\n":        false,
		"package a\n" + body: true,
		"// This is over 500 lines because it is a table.\n\npackage a\n" + body: false,
		"// Package a is long.\npackage a\n" + body:                              true,
	} {
		if got := longWithoutReason("a.go", text); (got != "") != want {
			t.Errorf("%.40q: got %q, want a complaint: %v", text, got, want)
		}
	}
}

func TestNoMachinePath(t *testing.T) {
	top := root(t)
	local := machinePaths(top, os.TempDir())
	for _, name := range files(t) {
		text := read(t, name)
		if strings.ContainsRune(text, 0) {
			continue // not a text
		}
		for i, line := range strings.Split(text, "\n") {
			if found := machinePath(local, line); found != "" {
				t.Errorf("%s:%d: %q is a path of one machine; use a relative one, $HOME, or a home of somebody", name, i+1, found)
			}
		}
	}
}

// machinePaths matches home directories, and where this checkout is.
func machinePaths(top, temp string) *regexp.Regexp {
	patterns := []string{`/home/\w+`, `/Users/\w+`, "/ro" + `ot/\w+`, regexp.QuoteMeta(top) + `\b`}
	if parent := filepath.Dir(top); parent != "/" && parent != filepath.Clean(temp) {
		patterns = append(patterns, regexp.QuoteMeta(parent)+"/")
	}
	return regexp.MustCompile(`(^|[^\w.)}])(` + strings.Join(patterns, "|") + `)`)
}

// machinePath gives the first such path in the line. A test may need a home
// that is nobody's: that is somebody's.
func machinePath(local *regexp.Regexp, line string) string {
	for _, found := range local.FindAllString(line, -1) {
		if !strings.HasSuffix(found, "/somebody") {
			return found
		}
	}
	return ""
}

func TestMachinePaths(t *testing.T) {
	local := machinePaths("/src/checkout", "/tmp")
	for line, want := range map[string]bool{
		"run /src/checkout/build/bin/certwright": true,
		"see /src/other/notes":                   true,
		"see /srcs/other":                        false,
		`key: "/ho` + `me/alice/key.pem"`:        true,
		"/var/lib/certwright/live":               false,
		"https://example.com/home/page":          false,
		"$HOME/bin":                              false,
		"HOME=/ho" + "me/somebody":               false,
	} {
		if got := machinePath(local, line) != ""; got != want {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
}

func TestEveryPackageExplainsItself(t *testing.T) {
	for dir, p := range packages(t, "linux") {
		switch {
		case p.Doc == "":
			t.Errorf("%s: the package has no doc comment: say in one sentence what it is for", dir)
		case p.Name != "main" && !strings.HasPrefix(p.Doc, "Package "+p.Name+" "):
			t.Errorf("%s: the doc comment starts with %q, not with \"Package %s\"", dir, p.Doc, p.Name)
		}
	}
}

func TestPluginsHaveOneShape(t *testing.T) {
	all := files(t)
	for _, name := range all {
		parts := strings.Split(name, "/")
		if len(parts) != 3 || parts[0] != "plugins" || parts[2] != "main.go" {
			continue
		}
		for _, want := range []string{parts[1] + ".go", parts[1] + "_test.go", "README.md"} {
			if file := path.Join("plugins", parts[1], want); !slices.Contains(all, file) {
				t.Errorf("%s is missing: every plugin has the same four files", file)
			}
		}
	}
}

// TestEverySystemIsListed: docs/systems.md has a row for every plugin, and none
// for what is not there.
func TestEverySystemIsListed(t *testing.T) {
	page := read(t, "docs/systems.md")
	all := files(t)
	for _, name := range all {
		if plugin, is := strings.CutPrefix(path.Dir(name), "plugins/"); is && path.Base(name) == "main.go" && !strings.Contains(plugin, "/") &&
			!strings.Contains(page, "](plugins/"+plugin+".md)") {
			t.Errorf("docs/systems.md has no row for plugins/%s", plugin)
		}
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#]+)[)#]`).FindAllStringSubmatch(page, -1) {
		if !slices.Contains(all, path.Join("docs", link[1])) {
			t.Errorf("docs/systems.md leads to %s, which is not there", link[1])
		}
	}
}

func TestEveryDependencyHasAReason(t *testing.T) {
	reasons := read(t, "docs/decisions/0002-dependencies.md")
	for _, dir := range modules(t) {
		cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go mod edit in %s: %v", dir, err)
		}
		var mod struct {
			Require []struct {
				Path     string
				Indirect bool
			}
		}
		if err := json.Unmarshal(out, &mod); err != nil {
			t.Fatalf("what go mod edit printed in %s: %v", dir, err)
		}
		for _, dep := range mod.Require {
			if !dep.Indirect && dep.Path != module && !strings.Contains(reasons, "`"+dep.Path+"`") {
				t.Errorf("%s requires %s: docs/decisions/0002-dependencies.md does not say why", dir, dep.Path)
			}
		}
	}
}
