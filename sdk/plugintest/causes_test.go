package plugintest

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// What fails everything is told by the one check that is about it; what builds on
// that is not tried.
func TestCauseIsToldOnce(t *testing.T) {
	for fault, c := range map[string]struct {
		failed  []string
		untried map[string]string // a check, and the one that it waits for
	}{
		"prints-first": {[]string{"describe/rpc"}, map[string]string{
			"configure/accept": "describe/rpc", "configure/unknown": "describe/rpc", "http-01/seen": "describe/rpc", "life/health": "describe/rpc"}},
		"refuses": {[]string{"configure/accept"}, map[string]string{
			"configure/missing": "configure/accept", "configure/validate-only": "configure/accept", "wire/unknown-fields": "configure/accept",
			"dns-01/cleanup": "configure/accept", "faults/killed": "configure/accept", "installer/seen": "configure/accept", "hook/events": "configure/accept",
			"wire/secrets": "configure/accept"}},
		"fails": {[]string{"dns-01/perform", "http-01/perform", "tls-alpn-01/perform"}, map[string]string{
			"http-01/cancel": "http-01/perform", "dns-01/foreign": "dns-01/perform", "faults/unavailable": "perform", "faults/no-place": "http-01/perform",
			"authenticator/unknown-type": "http-01/perform"}},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			steps := map[string]Step{}
			var failed []string
			for _, step := range Check(t.Context(), inWorld(t, fault), nil) {
				steps[step.Name] = step
				if step.Outcome == Failed {
					failed = append(failed, step.Name)
				}
			}
			if slices.Sort(failed); !slices.Equal(failed, c.failed) {
				t.Errorf("failed are %q, want %q", failed, c.failed)
			}
			for _, name := range slices.Sorted(maps.Keys(c.untried)) {
				step, want := steps[name], c.untried[name]+" failed, and nothing that builds on it can be tried"
				if step.Outcome != NotApplicable || step.Unseen || !strings.Contains(step.Text, want) {
					t.Errorf("%s: %s %q, want %q", name, step.Outcome, step.Text, want)
				}
			}
		})
	}
}

// A plugin that removes the directory is told that it did, where the suite misses
// it later.
func TestRemovedDirectoryIsNamed(t *testing.T) {
	t.Parallel()
	told := map[string]bool{}
	for _, step := range Check(t.Context(), inWorld(t, "sweeps"), nil) {
		if strings.Contains(step.Text, "is gone: an earlier Cleanup of the plugin has removed the whole directory") {
			told[step.Name] = true
		}
		if strings.Contains(step.Text, "no such file") {
			t.Errorf("%s: %s", step.Name, step.Text)
		}
	}
	for _, name := range []string{"http-01/foreign", "faults/no-place"} {
		if !told[name] {
			t.Errorf("%s does not tell it", name)
		}
	}
}

func TestOutputThatIsNoDescriptionIsShown(t *testing.T) {
	t.Parallel()
	step := Check(t.Context(), mode(t, "garbage"), nil)[0]
	if step.Name != describeJSON.name || !strings.Contains(step.Text, `it begins with "`) || strings.Contains(step.Text, `it begins with ""`) {
		t.Errorf("%s: %s", step.Name, step.Text)
	}
}
