package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func TestConfigureNamesTheWrongSetting(t *testing.T) {
	dir, other := realDir(t), realDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		settings settings
		subject  string // empty: no problem
		word     string
	}{
		{"path", settings{Path: dir}, "", ""},
		{"map", settings{Map: map[string]string{"a.example, b.example": dir, "2001:DB8::1": other}}, "", ""},
		{"a name twice, one directory", settings{Map: map[string]string{"a.example": dir, "A.example,b.example": dir}}, "", ""},
		{"nothing", settings{}, "path", "missing"},
		{"no such directory", settings{Path: filepath.Join(dir, "none")}, "path", filepath.Join(dir, "none")},
		{"a file", settings{Path: file}, "path", "not a directory"},
		{"no such directory in map", settings{Map: map[string]string{"a.example": filepath.Join(dir, "none")}}, "map", "none"},
		{"a file in map", settings{Path: dir, Map: map[string]string{"a.example": file}}, "map", "not a directory"},
		{"empty directory in map", settings{Map: map[string]string{"a.example": ""}}, "map", "empty"},
		{"empty name", settings{Map: map[string]string{"a.example,,b.example": dir}}, "map", "empty name"},
		{"wildcard", settings{Map: map[string]string{"*.example": dir}}, "map", "wildcard"},
		{"a name twice", settings{Map: map[string]string{"a.example": dir, "A.example,b.example": other}}, "map", "twice"},
		{"no name", settings{Map: map[string]string{"bü cher.example": dir}}, "map", "bü cher"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &webroot{settings: test.settings}
			err := w.Configure(t.Context(), sdk.Instance{ValidateOnly: true})
			if test.subject == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			p := sdk.ProblemOf(err)
			if p.Code != sdk.InvalidConfig || p.Subject != test.subject || p.Hint == "" ||
				!strings.Contains(p.Error(), "setting "+test.subject) || !strings.Contains(p.Error(), test.word) {
				t.Errorf("got %+v, want one about %s that says %q", p, test.subject, test.word)
			}
		})
	}
}

func TestConfigureTellsAllThatIsWrong(t *testing.T) {
	w := &webroot{settings: settings{Path: "/nonexistent/a", Map: map[string]string{"a.example": "/nonexistent/b"}}}
	err := w.Configure(t.Context(), sdk.Instance{ValidateOnly: true})
	many, ok := err.(interface{ Unwrap() []error })
	if !ok || len(many.Unwrap()) != 2 {
		t.Errorf("got %v", err)
	}
}

func TestConfigureWantsAPlaceForItsState(t *testing.T) {
	w := &webroot{settings: settings{Path: t.TempDir()}}
	if err := w.Configure(t.Context(), sdk.Instance{Name: "web"}); err == nil {
		t.Error("an instance without state directory is accepted")
	}
}

func TestARelativePathIsRefused(t *testing.T) {
	dir := realDir(t)
	t.Chdir(filepath.Dir(dir))
	w := &webroot{settings: settings{Path: filepath.Base(dir)}}
	err := w.Configure(t.Context(), sdk.Instance{Name: "web", StateDir: t.TempDir()})
	if p := sdk.ProblemOf(err); p == nil || p.Subject != "path" {
		t.Errorf("a relative path gives %v", err)
	}
}
