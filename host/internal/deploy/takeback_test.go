package deploy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// taken is a target with two checkpoints, the newer of which is taken back.
func taken(t *testing.T) (*target, model.Target, Past) {
	f := newTarget(t)
	f.pointer = 4
	old := []model.Endpoint{{Address: "127.0.0.1:1", ServerName: "b.test"}}
	before := model.Target{
		Deployed: 4, Proven: 4, Failures: 2, Retry: now, Error: "old", Since: now.Add(-time.Hour), Endpoints: []model.Endpoint{{Address: "127.0.0.1:2"}},
		Checkpoints: []model.Checkpoint{{ID: "c1", From: 0}, {ID: "c2", From: 3, Endpoints: old, Enhanced: map[string][]string{"hsts": {"b.test"}}}},
	}
	return f, before, Past{Lineage: "cert", Identifiers: certificate.Identifiers, Checkpoint: before.Checkpoints[1], LeafPEM: []byte("old leaf")}
}

func TestTakeBack(t *testing.T) {
	f, before, p := taken(t)
	after, changed, err := TakeBack(t.Context(), f.deps(), f.target(), before, p)
	if err != nil || !changed {
		t.Fatalf("%v, %v", changed, err)
	}
	want := "journal cert web 3 to 4, rollback 1, pointer 3, test, restart, prove 127.0.0.1:1, keep, done"
	if got := strings.Join(f.log, ", "); got != want {
		t.Errorf("calls:\n%s\nwant:\n%s", got, want)
	}
	wantState := model.Target{
		Deployed: 3, Proven: 3, At: now, Since: now, RolledBack: 4, Endpoints: p.Checkpoint.Endpoints,
		Enhanced: p.Checkpoint.Enhanced, Checkpoints: before.Checkpoints[:1],
	}
	if diff := cmp.Diff(wantState, after); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(after, f.kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if f.begun.Undo != "c2" {
		t.Errorf("the journal does not know what is undone: %+v", f.begun)
	}
}

// To nothing: there is nothing to prove.
func TestTakeBackTheFirst(t *testing.T) {
	f, before, p := taken(t)
	before.Checkpoints = before.Checkpoints[:1]
	p.Checkpoint, p.LeafPEM = before.Checkpoints[0], nil
	after, _, err := TakeBack(t.Context(), f.deps(), f.target(), before, p)
	if err != nil || after.Deployed != 0 || after.Proven != 0 || len(after.Endpoints) > 0 {
		t.Errorf("%+v, %v", after, err)
	}
	if got := strings.Join(f.log, ", "); got != "journal cert web 0 to 4, rollback 1, pointer 0, test, restart, keep, done" {
		t.Errorf("calls: %s", got)
	}
}

func TestTakeBackFails(t *testing.T) {
	no := sdk.Problemf(sdk.Internal, "no")
	for step, tt := range map[string]struct {
		err     error
		log     string // from rollback on
		changed bool
	}{
		"journal cert web 3 to 4": {no, "", false},
		"rollback 1":              {no, "rollback 1, done", false},                       // it was refused: all is as it was
		"pointer 3":               {no, "rollback 1, pointer 3", false},                  // the next run goes on
		"test":                    {no, "rollback 1, pointer 3, test, keep, done", true}, // back on disk, and said to be refused
		"restart":                 {no, "rollback 1, pointer 3, test, restart, keep, done", true},
		"prove 127.0.0.1:1":       {no, "rollback 1, pointer 3, test, restart, prove 127.0.0.1:1, keep, done", true},
		"keep":                    {no, "rollback 1, pointer 3, test, restart, prove 127.0.0.1:1, keep", true},
	} {
		f, before, p := taken(t)
		f.fail[step] = tt.err
		after, changed, err := TakeBack(t.Context(), f.deps(), f.target(), before, p)
		if !errors.Is(err, no) || changed != tt.changed {
			t.Errorf("%s: %v, %v", step, changed, err)
		}
		if got := strings.TrimPrefix(strings.Join(f.log, ", "), "journal cert web 3 to 4"); strings.TrimPrefix(got, ", ") != tt.log {
			t.Errorf("%s: calls %s", step, got)
		}
		if changed && step != "keep" && (after.Deployed != 3 || after.Proven != 0 || after.Error != err.Error()) || !changed && !cmp.Equal(after, before) {
			t.Errorf("%s: %+v", step, after)
		}
	}
	// How far a call came that broke is not known: the journal keeps it.
	f, before, p := taken(t)
	f.fail["rollback 1"] = errors.New("the process died")
	if _, changed, err := TakeBack(t.Context(), f.deps(), f.target(), before, p); err == nil || changed || f.done > 0 {
		t.Errorf("%v, %v, done %d times", changed, err, f.done)
	}
	for _, step := range []string{"test", "restart"} {
		f, before, p = taken(t)
		f.fail[step] = sdk.Hint(died{}, "try again")
		after, changed, err := TakeBack(t.Context(), f.deps(), f.target(), before, p)
		if !errors.Is(err, f.fail[step]) || !changed || f.done > 0 || after.Error == "" || !cmp.Equal(f.kept, after) {
			t.Errorf("%s: %v, %v, done %d times, kept %+v", step, changed, err, f.done, f.kept)
		}
	}
	f, before, p = taken(t)
	f.noRollback = true
	if _, _, err := TakeBack(t.Context(), f.deps(), f.target(), before, p); err == nil || len(f.log) > 0 {
		t.Errorf("%v, calls %q", err, f.log)
	}
}

// One who loses patience does not leave a server with the old files in memory.
func TestTakeBackIsNotCutOff(t *testing.T) {
	f, before, p := taken(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.tell = func(step string) {
		if step == "rollback 1" {
			cancel()
		}
	}
	after, changed, err := TakeBack(ctx, f.deps(), f.target(), before, p)
	if err != nil || !changed || after.Proven != 3 || f.done != 1 {
		t.Errorf("%+v, %v, %v, done %d times", after, changed, err, f.done)
	}
}

// What does not run serves nothing: it has nothing to be put back to, in a
// deployment, in a recovery, or on the user's word.
func TestBackOfWhatIsStopped(t *testing.T) {
	stopped := sdk.Problemf(sdk.NotRunning, "it does not run")
	f := newTarget(t)
	f.fail["restart"], f.fail["restart 2"] = stopped, stopped
	if _, err := f.run(t.Context(), nil, model.Target{}); !errors.Is(err, stopped) || f.done != 1 || f.pointer != 0 || len(f.warnings) != 2 {
		t.Errorf("deployment: %v, done %d times, warnings %q", err, f.done, f.warnings)
	}
	f = newTarget(t)
	f.fail["restart"] = stopped
	in := Interrupted{
		Begun: Begun{Lineage: "cert", To: 4, RunID: "run-0", Identifiers: certificate.Identifiers},
		Entry: f, Checkpoint: "c1", Restarting: true,
	}
	if refused, err := Recover(t.Context(), f.deps(), f.target(), in); err != nil || refused != nil {
		t.Errorf("recovery: %v, refused: %v", err, refused)
	}
	f, before, p := taken(t)
	f.fail["restart"] = stopped
	after, changed, err := TakeBack(t.Context(), f.deps(), f.target(), before, p)
	if err != nil || !changed || after.Deployed != 3 || after.Proven != 0 || f.done != 1 || len(f.warnings) != 1 {
		t.Errorf("on the user's word: %+v, %v, done %d times, warnings %q", after, err, f.done, f.warnings)
	}
}

func TestPreview(t *testing.T) {
	f := newTarget(t)
	f.report["deploy *.a.test"] = func(r sdk.Reporter) { r.Result(sdk.Result{Diff: "one\n"}); r.Result(sdk.Result{Diff: "two\n"}) }
	f.report["deploy b.test"] = func(r sdk.Reporter) { r.Result(sdk.Result{Diff: "two\n"}); r.Result(sdk.Result{Diff: "three\n"}) }
	diff, err := Preview(t.Context(), f.deps(), f.target(), certificate)
	if err != nil || diff != "one\ntwo\nthree\n" {
		t.Errorf("%q, %v", diff, err)
	}
	for _, d := range f.deployments {
		if !d.DryRun {
			t.Errorf("%s: not a dry run", d.Name)
		}
	}
	if got := strings.Join(f.log, ", "); got != "deploy *.a.test, deploy b.test" {
		t.Errorf("calls: %s", got)
	}
	no := errors.New("no such site")
	f = newTarget(t)
	f.report["deploy b.test"] = func(r sdk.Reporter) { r.Result(sdk.Result{Err: no}) }
	if _, err := Preview(t.Context(), f.deps(), f.target(), certificate); !errors.Is(err, no) || err.Error() != "web: b.test: no such site" {
		t.Error(err)
	}
}
