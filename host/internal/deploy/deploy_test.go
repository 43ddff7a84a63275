package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// target records every call that is made of it, of its pointer and of the
// journal, in one list. A step whose name is in fail fails.
type target struct {
	t    *testing.T
	name string
	log  []string
	// tell is told of every step; nil: nobody is.
	tell       func(string)
	fail       map[string]error
	checkpoint string
	pointer    int
	key        sdk.KeyAccess
	noRollback bool
	enhance    map[string][]string
	// report is called within a step.
	report map[string]func(sdk.Reporter)

	mu          sync.Mutex
	deployments []sdk.Deployment
	operations  map[string]bool
	warnings    []string
	notes       []string
	done        int
	saves       int
	kept        model.Target
	begun       Begun
}

func newTarget(t *testing.T) *target {
	return &target{t: t, name: "web", checkpoint: "c1", fail: map[string]error{}, report: map[string]func(sdk.Reporter){}, operations: map[string]bool{}}
}

func (f *target) step(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := fmt.Sprintf(format, args...)
	f.log = append(f.log, name)
	if f.tell != nil {
		f.tell(name)
	}
	// The second and later times a step has a number: "test 2".
	n := 0
	for _, l := range f.log {
		if l == name {
			n++
		}
	}
	if n > 1 {
		name = fmt.Sprintf("%s %d", name, n)
	}
	return f.fail[name]
}

func (f *target) call(ctx context.Context, r sdk.Reporter, format string, args ...any) error {
	op := sdk.OperationFrom(ctx)
	if op.ID == "" || op.Lineage != "cert" || op.RunID != "run-1" || len(op.Identifiers) == 0 {
		f.t.Errorf("%s: operation %+v", fmt.Sprintf(format, args...), op)
	}
	f.mu.Lock()
	if f.operations[op.ID] {
		f.t.Errorf("%s: the operation %s came twice", fmt.Sprintf(format, args...), op.ID)
	}
	f.operations[op.ID] = true
	f.mu.Unlock()
	if report := f.report[fmt.Sprintf(format, args...)]; report != nil {
		report(r)
	}
	if err := f.step(format, args...); err != nil {
		return err
	}
	return ctx.Err()
}

func (f *target) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	f.deployments = append(f.deployments, d)
	return f.call(ctx, r, "deploy %s", d.Name)
}

func (f *target) Save(ctx context.Context, s sdk.SaveRequest, r sdk.Reporter) (sdk.Checkpoint, error) {
	if s.Temporary {
		f.t.Error("a temporary save")
	}
	if s.Title == "" {
		return sdk.Checkpoint{}, f.call(ctx, r, "save")
	}
	if f.saves++; f.saves == 2 { // the same operation once more is meant
		f.operations = map[string]bool{}
	}
	if err := f.call(ctx, r, "save %q", s.Title); err != nil {
		return sdk.Checkpoint{}, err
	}
	return sdk.Checkpoint{ID: f.checkpoint, Title: s.Title}, nil
}

func (f *target) ConfigTest(ctx context.Context, r sdk.Reporter) error { return f.call(ctx, r, "test") }
func (f *target) Restart(ctx context.Context, r sdk.Reporter) error    { return f.call(ctx, r, "restart") }
func (f *target) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	return f.call(ctx, r, "rollback %d", count)
}

func (f *target) Enhance(ctx context.Context, name, enhancement string, r sdk.Reporter) error {
	return f.call(ctx, r, "%s %s", enhancement, name)
}
func (f *target) Names(context.Context) ([]sdk.Site, error) { return nil, errors.New("not asked here") }

func (f *target) Pointer(string, string) (int, error) { return f.pointer, f.fail["read pointer"] }
func (f *target) SetPointer(instance, lineage string, version int) error {
	if instance != f.name || lineage != "cert" {
		f.t.Errorf("the pointer of %s and %s", instance, lineage)
	}
	if err := f.step("pointer %d", version); err != nil {
		return err
	}
	f.pointer = version
	return nil
}

func (f *target) DeployedPaths(instance, lineage string) model.Paths {
	return model.Paths{Cert: "/deployed/" + instance + "/" + lineage + "/cert.pem"}
}

func (f *target) Deploying(b Begun) (Entry, error) {
	if b.RunID != "run-1" || len(b.Identifiers) != 2 {
		f.t.Errorf("journalled: %+v", b)
	}
	f.begun = b
	return f, f.step("journal %s %s %d to %d", b.Lineage, b.Instance.Name, b.From, b.To)
}

func (f *target) Deployed([]Entry) error { return f.step("committed") }

// The entry in the journal. What it is told is in notes, not in the log.
func (f *target) Saved(checkpoint string) error { return f.note("saved " + checkpoint) }
func (f *target) Restarting() error             { return f.note("restarting") }
func (f *target) RolledBack() error             { return f.note("rolled back") }
func (f *target) Done() error                   { f.done++; return f.step("done") }

func (f *target) note(what string) error {
	f.notes = append(f.notes, what+" after "+f.log[len(f.log)-1])
	return f.fail[what]
}

func (f *target) Tell(string, string, ...any) {}
func (f *target) Warn(_, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.warnings = append(f.warnings, fmt.Sprintf(format, args...))
}
func (f *target) Reporter(string, string) sdk.Reporter { return quiet{} }

type quiet struct{}

func (quiet) Progress(string, string)                     {}
func (quiet) Say(sdk.Stream, string)                      {}
func (quiet) Ask(context.Context, string) (string, error) { return "", sdk.ErrNotInteractive }
func (quiet) Result(sdk.Result)                           {}

// run deploys version 4 for two names.
func (f *target) run(ctx context.Context, prove func(context.Context, model.Endpoint, []byte) ([]string, error), before model.Target) (model.Target, error) {
	deps := f.deps()
	if prove != nil {
		deps.Prove = prove
	}
	r := Run(ctx, deps, certificate, Job{Target: f.target(), Before: before, Enhance: f.enhance})[0]
	return r.State, r.Err
}

var certificate = Certificate{
	Lineage: "cert", Version: 4, Paths: model.Paths{Cert: "/live/cert/cert.pem"},
	Identifiers: []model.Identifier{{Type: "dns", Value: "a.test", Wildcard: true}, {Type: "dns", Value: "b.test"}},
	Issued:      model.Issued{LeafPEM: []byte("leaf"), ChainPEM: []byte("chain"), FullchainPEM: []byte("full"), KeyPEM: []byte("key")},
}

func (f *target) deps() Deps {
	return Deps{
		Pointers: f, Journal: f, Story: f, RunID: "run-1", Now: func() time.Time { return now },
		Prove: func(_ context.Context, e model.Endpoint, _ []byte) ([]string, error) {
			return nil, f.step("prove %s", e.Address)
		},
		Keep: func(after map[string]model.Target) error { f.kept = after["web"]; return f.step("keep") },
	}
}

func (f *target) target() Target {
	d := sdk.Description{Permissions: sdk.Permissions{Key: f.key}, Features: []string{sdk.FeatureRollback, sdk.FeatureConfigTest}}
	if f.noRollback {
		d.Features = nil
	}
	return Target{Config: model.Instance{Name: f.name, Plugin: "test"}, Description: d, Installer: f}
}

func (f *target) endpoint(step, address string) {
	f.report[step] = func(r sdk.Reporter) {
		r.Result(sdk.Result{Subject: step, Endpoints: []sdk.Endpoint{{Address: address}}})
	}
}

const titled = `save "Deployed ACME Certificate"`

func TestFirstDeployment(t *testing.T) {
	f := newTarget(t)
	f.endpoint("restart", "127.0.0.1:443")
	after, err := f.run(t.Context(), nil, model.Target{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"journal cert web 0 to 4", "pointer 4", "deploy *.a.test", "save", "deploy b.test", "save", titled,
		"test", "restart", "prove 127.0.0.1:443", "keep", "committed",
	}
	if diff := cmp.Diff(want, f.log); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	wantState := model.Target{
		Deployed: 4, Proven: 4, At: now, Since: now, Endpoints: []model.Endpoint{{Address: "127.0.0.1:443", ServerName: "b.test"}},
		Checkpoints: []model.Checkpoint{{ID: "c1", At: now}},
	}
	if diff := cmp.Diff(wantState, after); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func TestLaterDeployment(t *testing.T) {
	f := newTarget(t)
	f.pointer = 3
	after, err := f.run(t.Context(), nil, model.Target{Deployed: 3, Proven: 3, Error: "old", Endpoints: []model.Endpoint{{Address: "old"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"journal cert web 3 to 4", "deploy *.a.test", "save", "deploy b.test", "save", titled,
		"test", "pointer 4", "test", "restart", "keep", "committed",
	}
	if diff := cmp.Diff(want, f.log); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	// No endpoint was named, so nothing is proven.
	want4 := model.Target{Deployed: 4, At: now, Since: now, Checkpoints: []model.Checkpoint{
		{ID: "c1", At: now, From: 3, Endpoints: []model.Endpoint{{Address: "old"}}},
	}}
	if diff := cmp.Diff(want4, f.kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want4, after); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func TestSameVersionAgain(t *testing.T) {
	f := newTarget(t)
	f.pointer = 4
	f.fail["restart"] = errors.New("no")
	if _, err := f.run(t.Context(), nil, model.Target{}); err == nil {
		t.Error("no error")
	}
	for _, l := range f.log {
		if strings.HasPrefix(l, "pointer") {
			t.Errorf("the pointer was moved: %q", f.log)
		}
	}
}

func TestDeploymentHolds(t *testing.T) {
	for key, want := range map[sdk.KeyAccess]string{"": "", sdk.KeyPath: "", sdk.KeyBytes: "key"} {
		f := newTarget(t)
		f.key = key
		if _, err := f.run(t.Context(), nil, model.Target{}); err != nil {
			t.Fatal(err)
		}
		for i, d := range f.deployments {
			wantDeployment := sdk.Deployment{
				Lineage: "cert", Name: []string{"*.a.test", "b.test"}[i], Names: []string{"*.a.test", "b.test"},
				LeafPEM: []byte("leaf"), ChainPEM: []byte("chain"), FullchainPEM: []byte("full"),
				Paths: sdk.Paths{Cert: "/live/cert/cert.pem"}, ConfigPaths: sdk.Paths{Cert: "/deployed/web/cert/cert.pem"},
			}
			if want != "" {
				wantDeployment.KeyPEM = []byte(want)
			}
			if diff := cmp.Diff(wantDeployment, d); diff != "" {
				t.Errorf("key access %q (-want +got):\n%s", key, diff)
			}
		}
	}
}

// For every step that can fail: what is undone, and in which order.
func TestFailureAtEveryStep(t *testing.T) {
	const stage = "deploy *.a.test, save, deploy b.test, save, " + titled + ", "
	for name, tt := range map[string]struct {
		from       int
		fail       string
		checkpoint string
		log        string // after "journal", up to "done"
	}{
		"first: pointer":            {0, "pointer 4", "c1", "pointer 4, rollback 0, pointer 0"},
		"first: deploy":             {0, "deploy *.a.test", "c1", "pointer 4, deploy *.a.test, rollback 0, pointer 0"},
		"first: save":               {0, "save", "c1", "pointer 4, deploy *.a.test, save, rollback 0, pointer 0"},
		"first: second deploy":      {0, "deploy b.test", "c1", "pointer 4, deploy *.a.test, save, deploy b.test, rollback 0, pointer 0"},
		"first: titled save":        {0, titled, "c1", "pointer 4, " + stage + "rollback 0, pointer 0"},
		"first: test":               {0, "test", "c1", "pointer 4, " + stage + "test, rollback 1, pointer 0"},
		"first: test, no change":    {0, "test", "", "pointer 4, " + stage + "test, rollback 0, pointer 0"},
		"first: restart":            {0, "restart", "c1", "pointer 4, " + stage + "test, restart, rollback 1, pointer 0, test, restart"},
		"first: proof":              {0, "prove 127.0.0.1:443", "c1", "pointer 4, " + stage + "test, restart, prove 127.0.0.1:443, rollback 1, pointer 0, test, restart"},
		"first: proof, no change":   {0, "prove 127.0.0.1:443", "", "pointer 4, " + stage + "test, restart, prove 127.0.0.1:443, rollback 0, pointer 0, test, restart"},
		"later: deploy":             {3, "deploy *.a.test", "c1", "deploy *.a.test, rollback 0"},
		"later: titled save":        {3, titled, "c1", stage + "rollback 0"},
		"later: test":               {3, "test", "c1", stage + "test, rollback 1"},
		"later: pointer":            {3, "pointer 4", "c1", stage + "test, pointer 4, rollback 1, pointer 3"},
		"later: second test":        {3, "test 2", "c1", stage + "test, pointer 4, test, rollback 1, pointer 3"},
		"later: restart":            {3, "restart", "c1", stage + "test, pointer 4, test, restart, rollback 1, pointer 3, test, restart"},
		"later: restart, no change": {3, "restart", "", stage + "test, pointer 4, test, restart, rollback 0, pointer 3, test, restart"},
		"later: proof":              {3, "prove 127.0.0.1:443", "c1", stage + "test, pointer 4, test, restart, prove 127.0.0.1:443, rollback 1, pointer 3, test, restart"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newTarget(t)
			f.pointer, f.checkpoint = tt.from, tt.checkpoint
			f.endpoint("deploy b.test", "127.0.0.1:443")
			no := sdk.Problemf(sdk.Internal, "it does not work")
			f.fail[tt.fail] = no
			before := model.Target{Deployed: tt.from, Proven: tt.from, Endpoints: []model.Endpoint{{Address: "old"}}}
			after, err := f.run(t.Context(), nil, before)
			if !errors.Is(err, no) || !strings.HasPrefix(err.Error(), "deploy to web: ") {
				t.Errorf("%v", err)
			}
			want := fmt.Sprintf("journal cert web %d to 4, %s, done", tt.from, tt.log)
			if got := strings.Join(f.log, ", "); got != want {
				t.Errorf("calls:\n%s\nwant:\n%s", got, want)
			}
			if f.pointer != tt.from {
				t.Errorf("the pointer leads to %d", f.pointer)
			}
			before.At, before.Error = now, err.Error()
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
			var warnings []string
			if strings.Contains(tt.log, "save, ") { // one that went well
				warnings = []string{"putting web back to what it served before"}
			}
			if tt.fail == "save" {
				warnings = nil
			}
			if !slices.Equal(f.warnings, warnings) {
				t.Errorf("warnings: %q", f.warnings)
			}
		})
	}
}

// If the undoing fails too, both errors are told, the rest is undone all the
// same, and the journal keeps the entry.
func TestUndoFails(t *testing.T) {
	for fail, log := range map[string]string{
		"rollback 1": "rollback 1, pointer 3, test, restart",
		"pointer 3":  "rollback 1, pointer 3, test, restart",
		"test 3":     "rollback 1, pointer 3, test",
		"restart 2":  "rollback 1, pointer 3, test, restart",
	} {
		f := newTarget(t)
		f.pointer = 3
		no, worse := errors.New("it does not work"), errors.New("it cannot be undone")
		f.fail["restart"], f.fail[fail] = no, worse
		after, err := f.run(t.Context(), nil, model.Target{Deployed: 3})
		if !errors.Is(err, no) || !errors.Is(err, worse) || !strings.Contains(err.Error(), "\nput web back to what it served before: ") {
			t.Errorf("%s: %v", fail, err)
		}
		if got := strings.Join(f.log, ", "); !strings.HasSuffix(got, "test, restart, "+log) {
			t.Errorf("%s: calls:\n%s\nwant at the end:\n%s", fail, got, log)
		}
		if f.done > 0 || after.Error != err.Error() || after.Deployed != 3 {
			t.Errorf("%s: journal done %d times, state %+v", fail, f.done, after)
		}
	}
}

func TestPluginThatCannotRollBack(t *testing.T) {
	f := newTarget(t)
	f.noRollback = true
	f.fail["restart"] = errors.New("it does not work")
	_, err := f.run(t.Context(), nil, model.Target{})
	if err == nil || !strings.Contains(err.Error(), "the plugin test cannot roll back") || f.done > 0 {
		t.Errorf("%v, journal done %d times", err, f.done)
	}
	if got := strings.Join(f.log, ", "); strings.Contains(got, "rollback") || !strings.HasSuffix(got, "restart, test, restart") {
		t.Errorf("calls: %s", got)
	}
	if f.pointer != 4 {
		t.Errorf("the pointer, which the configuration may name, leads to %d", f.pointer)
	}
	f = newTarget(t)
	f.noRollback, f.checkpoint = true, "" // nothing was changed: nothing to roll back
	f.fail["test"] = errors.New("it does not work")
	if _, err := f.run(t.Context(), nil, model.Target{}); strings.Contains(fmt.Sprint(err), "roll back") || f.done != 1 {
		t.Errorf("%v, journal done %d times", err, f.done)
	}
}

// A failure that is only reported as a result fails the step that it came in.
func TestFailedResults(t *testing.T) {
	no := errors.New("no such site")
	for step, tt := range map[string]struct{ prefix, next string }{
		"deploy *.a.test": {"deploy to web: *.a.test: no such site", "save"},
		"save":            {"deploy to web: save *.a.test: no such site", titled},
		titled:            {"deploy to web: save: no such site", "test"},
		"test":            {"deploy to web: test the configuration: no such site", "restart"},
		"restart":         {"deploy to web: restart: no such site", "prove 127.0.0.1:443"},
	} {
		f := newTarget(t)
		f.endpoint("deploy b.test", "127.0.0.1:443")
		f.report[step] = func(r sdk.Reporter) { r.Result(sdk.Result{Subject: "x", Err: no}) }
		_, err := f.run(t.Context(), nil, model.Target{})
		if !errors.Is(err, no) || !strings.HasPrefix(err.Error(), tt.prefix) {
			t.Errorf("%s: %v, want %s", step, err, tt.prefix)
		}
		if slices.Contains(f.log, tt.next) {
			t.Errorf("%s: went on to %s", step, tt.next)
		}
		if step == titled && !slices.Contains(f.log, "rollback 1") {
			t.Errorf("the checkpoint that there is was not rolled back: %q", f.log)
		}
	}
}

// A cancel stops the deployment and not the undoing.
func TestCancelled(t *testing.T) {
	f := newTarget(t)
	f.pointer = 3
	ctx, cancel := context.WithCancel(t.Context())
	f.report["restart"] = func(sdk.Reporter) { cancel() }
	_, err := f.run(ctx, nil, model.Target{Deployed: 3})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := strings.Join(f.log, ", "); !strings.HasSuffix(got, "restart, rollback 1, pointer 3, test, restart, done") || f.pointer != 3 {
		t.Errorf("calls: %s", got)
	}
}

// Nothing is touched that the journal could not take, or whose state is not
// known.
func TestNothingBegins(t *testing.T) {
	for _, step := range []string{"read pointer", "journal cert web 0 to 4"} {
		f := newTarget(t)
		f.fail[step] = errors.New("the disk is full")
		after, err := f.run(t.Context(), nil, model.Target{})
		if !errors.Is(err, f.fail[step]) || after.Error == "" || len(f.log) > 1 {
			t.Errorf("%s: %v, %+v, calls %q", step, err, after, f.log)
		}
	}
}
