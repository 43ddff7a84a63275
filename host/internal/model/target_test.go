package model

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUndone(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	old := []Endpoint{{Address: "old"}}
	first, second := Checkpoint{ID: "c1"}, Checkpoint{ID: "c2", From: 1, Endpoints: old, Enhanced: map[string][]string{"hsts": {"a"}}}
	now := Target{Deployed: 2, Proven: 2, Since: day, At: day, Endpoints: []Endpoint{{Address: "new"}}, Checkpoints: []Checkpoint{first, second}}
	for name, tt := range map[string]struct {
		from, to   int
		checkpoint string
		change     func(*Target)
	}{
		"kept before the run died": {1, 2, "c2", func(t *Target) {
			t.Deployed, t.Proven, t.Since, t.Endpoints, t.Enhanced, t.Checkpoints = 1, 0, time.Time{}, old, second.Enhanced, []Checkpoint{first}
		}},
		"nothing but the certificate":  {1, 2, "", func(t *Target) { t.Deployed, t.Proven, t.Since = 1, 0, time.Time{} }},
		"not kept yet":                 {2, 3, "c3", func(*Target) {}},
		"the same version, enhanced":   {2, 2, "c2", func(t *Target) { t.Endpoints, t.Enhanced, t.Checkpoints = old, second.Enhanced, []Checkpoint{first} }},
		"the same version, no changes": {2, 2, "", func(*Target) {}},
	} {
		want := now
		tt.change(&want)
		if diff := cmp.Diff(want, now.Undone(tt.from, tt.to, tt.checkpoint)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestCheckpointed(t *testing.T) {
	var target Target
	for n := range 13 {
		before := target
		target = target.Checkpointed(Checkpoint{ID: fmt.Sprint(n)})
		if len(before.Checkpoints) > 0 && before.Checkpoints[0].ID != fmt.Sprint(max(0, n-10)) {
			t.Errorf("what was there is changed: %+v", before)
		}
	}
	if len(target.Checkpoints) != 10 || target.Checkpoints[0].ID != "3" || target.Checkpoints[9].ID != "12" {
		t.Errorf("%+v", target.Checkpoints)
	}
}
