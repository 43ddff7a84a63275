package pluginhost

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// row is one of the table of docs/security.md.
var row = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| (Test\w+|\w+\.txtar) \|$`)

// TestSecurityPage: the page and the kit name the same acts, the page says which
// kernel stops what, and its tests exist.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("kit*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	stopped := map[string]string{}
	var acts []string
	for _, r := range row.FindAllStringSubmatch(string(page), -1) {
		act, what, test := r[1], r[2], r[3]
		if _, again := stopped[act]; again {
			t.Errorf("%q is there twice", act)
		}
		stopped[act] = what
		if test == "TestKit" {
			acts = append(acts, act)
			continue
		}
		if story := filepath.Join("../../../cmd/certwright/testdata/script", test); strings.HasSuffix(test, ".txtar") {
			if _, err := os.Stat(story); err != nil {
				t.Errorf("%q: %v", act, err)
			}
		} else if !strings.Contains(tests.String(), "func "+test+"(t *testing.T)") {
			t.Errorf("%q: there is no %s", act, test)
		}
	}
	var kit []string
	for _, a := range kitActs {
		kit = append(kit, a.name)
		want := ""
		switch {
		case a.needs == never:
			want = "nothing"
		case a.needs > 0:
			want = fmt.Sprintf("Landlock ABI %d", a.needs)
		}
		if !strings.HasPrefix(stopped[a.name], want) {
			t.Errorf("%q is stopped by %q, not by %q", a.name, stopped[a.name], want)
		}
	}
	if !slices.Equal(acts, kit) {
		t.Errorf("the page has the acts\n%q, the kit\n%q", acts, kit)
	}
}
