package doctor

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSandbox(t *testing.T) {
	want(t, []Finding{Kernel(7, true)}, OK, "Landlock ABI 7 and seccomp")
	want(t, []Finding{Kernel(0, true)}, Warning, "no Landlock")
	want(t, []Finding{Kernel(6, false)}, Warning, "no seccomp filter")
	want(t, []Finding{Kernel(0, false)}, Warning, "cannot confine")
	want(t, []Finding{Sandbox("web", "required", "", nil)}, OK, "web is confined (required)")
	want(t, []Finding{Sandbox("web", "best-effort", "", []string{"fly", "dive"})}, OK, "on this kernel it can still fly; dive")
	want(t, []Finding{Sandbox("web", "best-effort", "its nature", nil)}, OK, "web has no sandbox: its nature")
	want(t, []Finding{Sandbox("web", "off", "sandbox: off", nil)}, Warning, "switched off")
}

// One instance is one line, unless its certificates make it differ.
func TestBoxes(t *testing.T) {
	box := func(name, lineage, level string) Box { return Box{name, lineage, Sandbox(name, level, "", nil)} }
	got := Boxes([]Box{
		box("web", "a.test", "required"), box("web", "b.test", "required"),
		box("dns", "a.test", "required"), box("dns", "b.test", "best-effort"), box("dns", "c.test", "required"),
	})
	var texts []string
	for _, f := range got {
		texts = append(texts, f.Text)
	}
	if diff := cmp.Diff([]string{
		"web is confined (required)",
		"dns is confined (required) (as a.test uses it)",
		"dns is confined (best-effort) (as b.test uses it)",
	}, texts); diff != "" {
		t.Error(diff)
	}
}
