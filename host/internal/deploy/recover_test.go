package deploy

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// What the journal is told, and when: that is all a recovery will know.
func TestNotes(t *testing.T) {
	f := newTarget(t)
	f.pointer = 3
	f.fail["restart"] = errors.New("no")
	if _, err := f.run(t.Context(), nil, model.Target{}); err == nil {
		t.Fatal("no error")
	}
	want := []string{"saved c1 after " + titled, "restarting after test", "rolled back after rollback 1"}
	if diff := cmp.Diff(want, f.notes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f = newTarget(t)
	f.checkpoint = ""
	if _, err := f.run(t.Context(), nil, model.Target{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"restarting after test"}, f.notes); diff != "" {
		t.Errorf("without a checkpoint (-want +got):\n%s", diff)
	}
}

// What the journal cannot take does not happen, or is taken back.
func TestNotesFail(t *testing.T) {
	for note, log := range map[string]string{
		"saved c1":    titled + ", rollback 1, pointer 0, done",
		"restarting":  "test, rollback 1, pointer 0, done",
		"rolled back": "rollback 1, test, restart", // not done: it is tried again
	} {
		f := newTarget(t)
		f.fail[note] = errors.New("the disk is full")
		f.fail["restart"] = errors.New("no")
		_, err := f.run(t.Context(), nil, model.Target{})
		if !errors.Is(err, f.fail[note]) {
			t.Errorf("%s: %v", note, err)
		}
		if got := strings.Join(f.log, ", "); !strings.HasSuffix(got, log) {
			t.Errorf("%s: calls:\n%s\nwant at the end:\n%s", note, got, log)
		}
	}
}

// died is what the host makes of a call whose process died.
type died struct{}

func (died) Error() string { return "the process died" }
func (died) CallBroke()    {}

// A Save that broke may have finalised: the same operation again tells.
func TestBrokenSave(t *testing.T) {
	for name, tt := range map[string]struct{ checkpoint, log string }{
		"finalised":     {"c1", titled + ", rollback 0, " + titled + ", rollback 1, pointer 0, done"},
		"not finalised": {"", titled + ", rollback 0, " + titled + ", pointer 0, done"},
	} {
		f := newTarget(t)
		f.checkpoint = tt.checkpoint
		f.fail[titled] = sdk.Hint(died{}, "try again")
		if _, err := f.run(t.Context(), nil, model.Target{}); !errors.Is(err, f.fail[titled]) {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Join(f.log, ", "); !strings.HasSuffix(got, tt.log) {
			t.Errorf("%s: calls:\n%s\nwant at the end:\n%s", name, got, tt.log)
		}
	}
	f := newTarget(t)
	f.fail[titled], f.fail[titled+" 2"] = errors.New("the process died"), errors.New("and again")
	_, err := f.run(t.Context(), nil, model.Target{})
	if !errors.Is(err, f.fail[titled+" 2"]) || f.done > 0 {
		t.Errorf("%v, journal done %d times", err, f.done)
	}
}

// The undoing is done by a process that lives.
func TestFresh(t *testing.T) {
	dead, alive := newTarget(t), newTarget(t)
	gone := errors.New("the process died")
	dead.fail["restart"] = gone
	job := Job{Target: dead.target(), Fresh: func(context.Context) (Target, error) { return alive.target(), nil }}
	if err := Run(t.Context(), dead.deps(), certificate, job)[0].Err; !errors.Is(err, gone) {
		t.Error(err)
	}
	if got := strings.Join(alive.log, ", "); got != "rollback 1, test, restart" {
		t.Errorf("calls of the fresh one: %s", got)
	}
	if got := strings.Join(dead.log, ", "); !strings.HasSuffix(got, "test, restart, pointer 0, done") {
		t.Errorf("calls of the dead one: %s", got)
	}
	// None is to be had: it is said, and the one that there is is asked.
	dead = newTarget(t)
	dead.fail["restart"] = gone
	none := errors.New("it does not start")
	job = Job{Target: dead.target(), Fresh: func(context.Context) (Target, error) { return Target{}, none }}
	if err := Run(t.Context(), dead.deps(), certificate, job)[0].Err; !errors.Is(err, none) || dead.done > 0 {
		t.Errorf("%v, journal done %d times", err, dead.done)
	}
}

// For everything that the journal can know: what is undone.
func TestRecover(t *testing.T) {
	const ask = "rollback 0, " + titled
	for name, tt := range map[string]struct {
		in      Interrupted
		pointer int
		finds   string // the checkpoint that Save tells of
		log     string
	}{
		"begun":                       {in: Interrupted{Begun: Begun{From: 3}}, pointer: 3, log: ask},
		"first, pointer made":         {pointer: 4, log: ask + ", pointer 0"},
		"saved, not told":             {in: Interrupted{Begun: Begun{From: 3}}, pointer: 3, finds: "c7", log: ask + ", rollback 1"},
		"saved":                       {in: Interrupted{Begun: Begun{From: 3}, Checkpoint: "c7"}, pointer: 3, log: "rollback 1"},
		"pointer moved":               {in: Interrupted{Begun: Begun{From: 3}, Checkpoint: "c7"}, pointer: 4, log: "rollback 1, pointer 3"},
		"restarting":                  {in: Interrupted{Begun: Begun{From: 3}, Checkpoint: "c7", Restarting: true}, pointer: 4, log: "rollback 1, pointer 3, test, restart"},
		"rolled back":                 {in: Interrupted{Begun: Begun{From: 3}, Checkpoint: "c7", Restarting: true, RolledBack: true}, pointer: 4, log: "pointer 3, test, restart"},
		"rolled back, pointer too":    {in: Interrupted{Begun: Begun{From: 3}, Checkpoint: "c7", Restarting: true, RolledBack: true}, pointer: 3, log: "test, restart"},
		"the lineage is deleted":      {in: Interrupted{Begun: Begun{From: 3}, Checkpoint: "c7", Deleted: true}, pointer: 4, log: "rollback 1"},
		"the same version, restarted": {in: Interrupted{Begun: Begun{From: 4}, Restarting: true}, pointer: 4, log: ask + ", test, restart"},
	} {
		f := newTarget(t)
		f.pointer, f.checkpoint = tt.pointer, tt.finds
		in := tt.in
		in.Lineage, in.To, in.RunID, in.Entry, in.Identifiers = "cert", 4, "run-0", f, certificate.Identifiers
		if _, err := Recover(t.Context(), f.deps(), f.target(), in); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Join(f.log, ", "); got != tt.log {
			t.Errorf("%s: calls:\n%s\nwant:\n%s", name, got, tt.log)
		}
		if f.done > 0 {
			t.Errorf("%s: the entry was ended by us", name)
		}
	}
}

// A recovery that was cut short is repeated with the same operations, which are
// also those that the interrupted run itself undoes with.
func TestRecoverOperations(t *testing.T) {
	first := newTarget(t)
	first.fail["restart"] = errors.New("no")
	if _, err := first.run(t.Context(), nil, model.Target{}); err == nil {
		t.Fatal("no error")
	}
	for range 2 {
		f := newTarget(t)
		f.pointer = 4
		in := Interrupted{
			Begun: Begun{Lineage: "cert", To: 4, RunID: "run-1", Identifiers: certificate.Identifiers},
			Entry: f, Checkpoint: "c1", Restarting: true,
		}
		if _, err := Recover(t.Context(), f.deps(), f.target(), in); err != nil {
			t.Fatal(err)
		}
		for id := range f.operations {
			if !first.operations[id] {
				t.Errorf("the operation %s is new", id)
			}
		}
		if len(f.operations) != 3 {
			t.Errorf("operations: %v", f.operations)
		}
	}
}

func TestRecoverWithoutRollback(t *testing.T) {
	f := newTarget(t)
	f.noRollback, f.pointer = true, 4
	in := Interrupted{Begun: Begun{Lineage: "cert", From: 3, To: 4}, Entry: f, Checkpoint: "c1", Restarting: true}
	if _, err := Recover(t.Context(), f.deps(), f.target(), in); err != nil || len(f.log) > 0 || f.pointer != 4 || len(f.warnings) != 1 {
		t.Errorf("%v, calls %q, warnings %q", err, f.log, f.warnings)
	}
}

func TestRecoverFails(t *testing.T) {
	f := newTarget(t)
	f.pointer = 4
	f.fail["rollback 1"] = sdk.Problemf(sdk.Internal, "it cannot be undone")
	in := Interrupted{
		Begun: Begun{Lineage: "cert", From: 3, To: 4, RunID: "run-0", Identifiers: certificate.Identifiers},
		Entry: f, Checkpoint: "c1",
	}
	if _, err := Recover(t.Context(), f.deps(), f.target(), in); !errors.Is(err, f.fail["rollback 1"]) || len(f.notes) > 0 {
		t.Errorf("%v, notes %q", err, f.notes)
	}
}

// What was there before may be refused too; then there is nothing left to undo.
func TestRecoverToWhatIsRefused(t *testing.T) {
	for _, step := range []string{"test", "restart"} {
		f := newTarget(t)
		f.pointer = 4
		f.fail[step] = errors.New("site.pem is missing")
		in := Interrupted{
			Begun: Begun{Lineage: "cert", To: 4, RunID: "run-0", Identifiers: certificate.Identifiers},
			Entry: f, Checkpoint: "c1", Restarting: true,
		}
		refused, err := Recover(t.Context(), f.deps(), f.target(), in)
		if err != nil || !errors.Is(refused, f.fail[step]) {
			t.Errorf("%s: %v, refused: %v", step, err, refused)
		}
		if told := strings.Join(f.warnings, "\n"); !strings.Contains(told, "site.pem is missing") || f.pointer != 0 {
			t.Errorf("%s: warnings %q, the pointer leads to %d", step, told, f.pointer)
		}
	}
}

// What is taken back on the user's word is not deployed again: nobody else would
// restart a server that serves the old files still.
func TestRecoverUndoBreaks(t *testing.T) {
	for _, step := range []string{"test", "restart"} {
		for open, fails := range map[bool]error{true: sdk.Hint(died{}, "try again"), false: sdk.Problemf(sdk.Internal, "no")} {
			f := newTarget(t)
			f.pointer, f.fail[step] = 3, fails
			in := Interrupted{
				Begun: Begun{Lineage: "cert", From: 3, To: 4, RunID: "run-0", Identifiers: certificate.Identifiers, Undo: "c1"},
				Entry: f, Checkpoint: "c1", Restarting: true, RolledBack: true,
			}
			refused, err := Recover(t.Context(), f.deps(), f.target(), in)
			if open && (!errors.Is(err, fails) || refused != nil) || !open && (err != nil || !errors.Is(refused, fails)) {
				t.Errorf("%s: %v, refused: %v", step, err, refused)
			}
		}
	}
}
