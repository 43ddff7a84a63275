package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// group is several targets of one certificate, with one list of all that
// happens, each step with the name of its target.
type group struct {
	*target
	mu      sync.Mutex
	log     []string
	members map[string]*target
	kept    map[string]model.Target
}

func newGroup(t *testing.T, names ...string) (*group, []Job) {
	g := &group{target: newTarget(t), members: map[string]*target{}}
	var jobs []Job
	for _, name := range names {
		f := newTarget(t)
		f.name, f.pointer, f.checkpoint = name, 3, "c-"+name
		f.endpoint("restart", name+":443")
		f.tell = func(step string) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.log = append(g.log, name+": "+step)
		}
		g.members[name] = f
		jobs = append(jobs, Job{Target: f.target(), Before: model.Target{Deployed: 3, Proven: 3, Endpoints: []model.Endpoint{{Address: "old"}}}})
	}
	return g, jobs
}

func (g *group) Pointer(instance, lineage string) (int, error) {
	return g.members[instance].Pointer(instance, lineage)
}

func (g *group) SetPointer(instance, lineage string, version int) error {
	return g.members[instance].SetPointer(instance, lineage, version)
}

func (g *group) Deploying(b Begun) (Entry, error) { return g.members[b.Instance.Name].Deploying(b) }

func (g *group) Deployed(entries []Entry) error {
	if len(entries) != len(g.members) {
		g.t.Errorf("%d entries are done together", len(entries))
	}
	return g.step("committed")
}

func (g *group) deps() Deps {
	deps := g.target.deps()
	deps.Pointers, deps.Journal = g, g
	deps.Prove = func(_ context.Context, e model.Endpoint, _ []byte) ([]string, error) {
		name, _, _ := strings.Cut(e.Address, ":")
		return nil, g.members[name].step("prove %s", e.Address)
	}
	deps.Keep = func(after map[string]model.Target) error { g.kept = after; return g.step("keep") }
	return deps
}

// at gives where a step of a target stands.
func (g *group) at(step string) int { return slices.Index(g.log, step) }

func TestTogether(t *testing.T) {
	g, jobs := newGroup(t, "a", "b", "c")
	for i, r := range Run(t.Context(), g.deps(), certificate, jobs...) {
		if r.Err != nil || r.State.Deployed != 4 || r.State.Proven != 4 {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if got := strings.Join(g.target.log, ", "); got != "keep, committed" || len(g.kept) != 3 {
		t.Errorf("%s, kept %v", got, g.kept)
	}
	// All are written and tested, then tested with the new certificate, then
	// restarted, then proven.
	for _, before := range []string{"a", "b", "c"} {
		for _, after := range []string{"a", "b", "c"} {
			for _, order := range [][2]string{
				{": journal cert " + before + " 3 to 4", ": deploy *.a.test"}, {": " + titled, ": pointer 4"},
				{": pointer 4", ": restart"}, {": restart", ": prove " + after + ":443"},
			} {
				first, then := g.at(before+order[0]), g.at(after+order[1])
				if first < 0 || then < 0 || first > then {
					t.Errorf("%s%s is %d, %s%s is %d:\n%q", before, order[0], first, after, order[1], then, g.log)
				}
			}
		}
	}
}

// Whatever fails at one target, and wherever: each is as it was, and only those
// that were restarted are restarted again.
func TestTogetherUndone(t *testing.T) {
	for step, restarted := range map[string]bool{
		"deploy *.a.test": false, titled: false, "test": false, "pointer 4": false, "test 2": false,
		"restart": true, "prove b:443": true,
	} {
		g, jobs := newGroup(t, "a", "b", "c")
		no := sdk.Problemf(sdk.ConfigTestFailed, "it does not work")
		g.members["b"].fail[step] = no
		for i, r := range Run(t.Context(), g.deps(), certificate, jobs...) {
			name := jobs[i].Target.Config.Name
			if r.Err == nil || r.State.Deployed != 3 || r.State.Proven != 3 || r.State.Error != r.Err.Error() {
				t.Errorf("%s, %s: %+v", step, name, r)
			}
			if (name == "b") != errors.Is(r.Err, no) {
				t.Errorf("%s, %s: %v", step, name, r.Err)
			}
			if name != "b" && r.Err.Error() != "deploy to "+name+": taken back, because b failed and all or nothing is wanted" {
				t.Errorf("%s, %s: %v", step, name, r.Err)
			}
			f := g.members[name]
			got := strings.Join(f.log, ", ")
			if f.pointer != 3 || !strings.Contains(got, "rollback") || !strings.HasSuffix(got, "done") {
				t.Errorf("%s, %s: pointer %d, calls %s", step, name, f.pointer, got)
			}
			if n := strings.Count(got, "restart"); n != map[bool]int{false: 0, true: 2}[restarted] {
				t.Errorf("%s, %s: restarted %d times: %s", step, name, n, got)
			}
		}
		if len(g.target.log) > 0 || g.kept != nil {
			t.Errorf("%s: %q, %v", step, g.target.log, g.kept)
		}
	}
}

// What cannot be kept is not deployed.
func TestNotKept(t *testing.T) {
	for _, step := range []string{"keep", "committed"} {
		g, jobs := newGroup(t, "a", "b")
		no := errors.New("the disk is full")
		g.fail[step] = no
		for i, r := range Run(t.Context(), g.deps(), certificate, jobs...) {
			if f := g.members[jobs[i].Target.Config.Name]; !errors.Is(r.Err, no) || r.State.Deployed != 3 || f.pointer != 3 {
				t.Errorf("%s: %+v, pointer %d", step, r, f.pointer)
			}
		}
	}
}

// One that cannot be put back stays in the journal; the others do not.
func TestTogetherUndoFails(t *testing.T) {
	g, jobs := newGroup(t, "a", "b")
	no, worse := errors.New("no"), errors.New("it cannot be undone")
	g.members["a"].fail["restart"], g.members["a"].fail["restart 2"] = no, worse
	results := Run(t.Context(), g.deps(), certificate, jobs...)
	if !errors.Is(results[0].Err, no) || !errors.Is(results[0].Err, worse) || errors.Is(results[1].Err, worse) {
		t.Errorf("%v, %v", results[0].Err, results[1].Err)
	}
	if g.members["a"].done != 0 || g.members["b"].done != 1 {
		t.Errorf("done %d and %d times", g.members["a"].done, g.members["b"].done)
	}
}

// Enhancements come after the certificate and before the checkpoint, and belong
// to it.
func TestEnhance(t *testing.T) {
	f := newTarget(t)
	f.pointer = 4
	f.enhance = map[string][]string{model.Redirect: {"b.test", "c.test"}, model.HSTS: {"b.test"}}
	before := model.Target{Deployed: 4, Enhanced: map[string][]string{model.Redirect: {"c.test", "a.test"}}}
	after, err := f.run(t.Context(), nil, before)
	if err != nil {
		t.Fatal(err)
	}
	want := "journal cert web 4 to 4, deploy *.a.test, save, deploy b.test, save, hsts b.test, redirect b.test, redirect c.test, " +
		titled + ", test, restart, keep, committed"
	if got := strings.Join(f.log, ", "); got != want {
		t.Errorf("calls:\n%s\nwant:\n%s", got, want)
	}
	wantEnhanced := map[string][]string{model.Redirect: {"a.test", "b.test", "c.test"}, model.HSTS: {"b.test"}}
	if diff := cmp.Diff(wantEnhanced, after.Enhanced); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f = newTarget(t)
	f.pointer, f.enhance = 4, map[string][]string{model.Redirect: {"b.test"}}
	f.fail["redirect b.test"] = sdk.Problemf(sdk.NotFound, "no such site")
	after, err = f.run(t.Context(), nil, before)
	if err == nil || !strings.HasPrefix(err.Error(), "deploy to web: set redirect for b.test: no such site") || f.log[len(f.log)-2] != "rollback 0" {
		t.Errorf("%v, calls %q", err, f.log)
	}
	if diff := cmp.Diff(before.Enhanced, after.Enhanced); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
