package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

var errEOF = io.EOF

// answersInTurn gives a line, then that nobody can be asked, then the end.
func answersInTurn() func(context.Context, string) (string, error) {
	var n atomic.Int32
	return func(context.Context, string) (string, error) {
		switch n.Add(1) {
		case 1:
			return "line", nil
		case 2:
			return "", sdk.ErrNotInteractive
		}
		return "", io.EOF
	}
}

func TestProblemsKeepTheirParts(t *testing.T) {
	plain := errors.New("it broke")
	for name, c := range map[string]struct {
		err  error
		want sdk.Problem
	}{
		"plain":     {plain, sdk.Problem{Code: sdk.Internal, Summary: "it broke"}},
		"permanent": {sdk.Permanent(plain), sdk.Problem{Code: sdk.Internal, Summary: "it broke", Retry: sdk.RetryNever}},
		"after": {sdk.RetryAfter(plain, time.Hour),
			sdk.Problem{Code: sdk.Internal, Summary: "it broke", Retry: sdk.RetryLater, After: time.Hour}},
		"all": {sdk.Subject(sdk.Hint(sdk.WithCode(plain, sdk.RateLimited), "wait %d days", 2), "s"),
			sdk.Problem{Code: sdk.RateLimited, Summary: "it broke", Hint: "wait 2 days", Subject: "s"}},
		"wrapped": {fmt.Errorf("set the record: %w", &sdk.Problem{Code: sdk.Conflict, Summary: "refused", Detail: "busy", Hint: "h"}),
			sdk.Problem{Code: sdk.Conflict, Summary: "set the record: refused", Detail: "busy", Hint: "h"}},
		"unknown code": {&sdk.Problem{Code: "OF_LATER", Summary: "x"}, sdk.Problem{Code: sdk.Internal, Summary: "x"}},
		"no words": {&sdk.Problem{Code: sdk.NotRunning},
			sdk.Problem{Code: sdk.NotRunning, Summary: "the plugin reported a failure without words"}},
	} {
		t.Run(name, func(t *testing.T) {
			host := configured(t, performs(func(_ context.Context, _ []sdk.Challenge, r sdk.Reporter) error {
				r.Result(sdk.Result{Subject: "1", Err: c.err})
				return c.err
			}))
			h := &heard{}
			err := host.Authenticator().Perform(t.Context(), oneChallenge, h)
			for what, got := range map[string]error{"call": err, "result": h.results[0].Err} {
				var p *sdk.Problem
				if !errors.As(got, &p) {
					t.Fatalf("%s: %T %v", what, got, got)
				}
				parts := sdk.Problem{Code: p.Code, Summary: p.Summary, Detail: p.Detail, Hint: p.Hint, Retry: p.Retry, After: p.After, Subject: p.Subject}
				if diff := cmp.Diff(fmt.Sprintf("%+v", c.want), fmt.Sprintf("%+v", parts)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
		})
	}
}

func TestOptionalAbilitiesThatAreMissing(t *testing.T) {
	host := configured(t, sdk.Plugin{Installer: bareInstaller{}})
	i := host.Installer()
	_, names := i.Names(t.Context())
	for what, err := range map[string]error{
		"Names": names, "Rollback": i.Rollback(t.Context(), 1, &heard{}), "Enhance": i.Enhance(t.Context(), "n", "hsts", &heard{}),
	} {
		if p := sdk.ProblemOf(err); p == nil || p.Code != sdk.Unsupported || p.Retry != sdk.RetryNever {
			t.Errorf("%s: %+v, want a permanent problem UNSUPPORTED", what, p)
		}
	}
	if err := i.ConfigTest(t.Context(), &heard{}); err != nil {
		t.Errorf("ConfigTest without a test: %v", err)
	}
	if err := i.Rollback(t.Context(), -1, &heard{}); err == nil {
		t.Error("Rollback of -1 is accepted")
	}
	host = configured(t, performs(func(context.Context, []sdk.Challenge, sdk.Reporter) error { return nil }))
	ids := []sdk.Identifier{{Type: "dns", Value: "a.test"}, {Type: "ip", Value: "192.0.2.1"}}
	got, err := host.Authenticator().Prefer(t.Context(), ids)
	if diff := cmp.Diff([]sdk.Preference{{Identifier: ids[0]}, {Identifier: ids[1]}}, got); err != nil || diff != "" {
		t.Errorf("Prefer: %v\n%s", err, diff)
	}
	// The role itself is missing: the call breaks.
	err = host.Installer().Restart(t.Context(), &heard{})
	if broken := (*client.BrokenError)(nil); !errors.As(err, &broken) || status.Code(broken.Err) != codes.Unimplemented {
		t.Errorf("Restart of an authenticator: %v", err)
	}
}

type bareInstaller struct{}

func (bareInstaller) Deploy(context.Context, sdk.Deployment, sdk.Reporter) error { return nil }
func (bareInstaller) Restart(context.Context, sdk.Reporter) error                { return nil }
func (bareInstaller) Save(context.Context, sdk.SaveRequest, sdk.Reporter) (sdk.Checkpoint, error) {
	return sdk.Checkpoint{}, nil
}

func TestConfigureComesFirstAndOnce(t *testing.T) {
	host := connect(t, performs(func(context.Context, []sdk.Challenge, sdk.Reporter) error { return nil }))
	err := host.Authenticator().Perform(t.Context(), oneChallenge, &heard{})
	if broken := (*client.BrokenError)(nil); !errors.As(err, &broken) || status.Code(broken.Err) != codes.FailedPrecondition {
		t.Errorf("Perform before Configure: %v", err)
	}
	for _, want := range []codes.Code{codes.OK, codes.FailedPrecondition} {
		if _, err := host.Configure(t.Context(), client.Configuration{}); status.Code(errors.Unwrap(err)) != want {
			t.Errorf("Configure: %v, want %s", err, want)
		}
	}
}

func TestPanicsAreProblems(t *testing.T) {
	host := configured(t, performs(func(context.Context, []sdk.Challenge, sdk.Reporter) error { panic("oh no") }))
	for range 2 { // the process goes on
		p := sdk.ProblemOf(host.Authenticator().Perform(t.Context(), oneChallenge, &heard{}))
		if p == nil || p.Code != sdk.Internal || !strings.Contains(p.Summary, "oh no") {
			t.Errorf("Perform that panics: %+v", p)
		}
	}
}

// each fails or panics by the challenge's token.
type each struct{}

func (each) PerformOne(_ context.Context, c sdk.Challenge) ([]byte, error) {
	switch c.Token {
	case "panic":
		panic("oh no")
	case "fail":
		return nil, errors.New("refused")
	}
	return []byte("receipt of " + c.ID), nil
}

func (e each) CleanupOne(ctx context.Context, c sdk.Challenge) error {
	_, err := e.PerformOne(ctx, c)
	return err
}

func TestOneByOneGoesOnAfterAFailure(t *testing.T) {
	host := configured(t, sdk.Plugin{Authenticator: sdk.OneByOne(each{}), ChallengeTypes: []string{sdk.HTTP01}})
	var batch []sdk.Challenge
	for _, token := range []string{"panic", "fail", "good"} {
		batch = append(batch, sdk.Challenge{ID: token, Token: token, Type: sdk.HTTP01, Identifier: sdk.Identifier{Value: "a.test"}})
	}
	for name, call := range map[string]func(context.Context, []sdk.Challenge, sdk.Reporter) error{
		"Perform": host.Authenticator().Perform, "Cleanup": host.Authenticator().Cleanup,
	} {
		h := &heard{}
		if err := call(t.Context(), batch, h); err != nil || len(h.results) != 3 {
			t.Fatalf("%s: %v, %v", name, err, h.results)
		}
		for i, want := range []string{"http-01 for a.test: the plugin panicked: oh no", "http-01 for a.test: refused", ""} {
			got := h.results[i]
			if got.Subject != batch[i].ID || (want == "") != (got.Err == nil) || got.Err != nil && got.Err.Error() != want {
				t.Errorf("%s: result %d is %+v, want %q", name, i, got, want)
			}
		}
	}
	h := &heard{}
	if err := host.Authenticator().Perform(t.Context(), batch[2:], h); err != nil || string(h.results[0].Receipt) != "receipt of good" {
		t.Errorf("receipt: %v, %v", h.results, err)
	}
}

func TestMissingResults(t *testing.T) {
	host := configured(t, performs(func(_ context.Context, _ []sdk.Challenge, r sdk.Reporter) error {
		r.Result(sdk.Result{Subject: "1"})
		return nil
	}))
	batch := []sdk.Challenge{{ID: "1", Type: sdk.HTTP01}, {ID: "2", Type: sdk.HTTP01}}
	h := &heard{}
	if err := host.Authenticator().Perform(t.Context(), batch, h); err != nil {
		t.Fatal(err)
	}
	if len(h.results) != 2 || h.results[0].Err != nil || h.results[1].Subject != "2" || h.results[1].Err == nil {
		t.Errorf("Perform that is silent of one: %+v; want a failure for it", h.results)
	}
	h = &heard{}
	if err := host.Authenticator().Cleanup(t.Context(), batch, h); err != nil {
		t.Fatal(err)
	}
	if len(h.results) != 2 || h.results[0].Err != nil || h.results[1].Err != nil {
		t.Errorf("Cleanup that is silent: %+v; want success for each", h.results)
	}
}

func TestUnknownTypesAndEventsAreNotTheAuthors(t *testing.T) {
	var got []string
	p := performs(func(_ context.Context, cs []sdk.Challenge, r sdk.Reporter) error {
		for _, c := range cs {
			got = append(got, c.ID)
			r.Result(sdk.Result{Subject: c.ID})
		}
		return nil
	})
	p.Hook, p.HookEvents = hookFunc(func(e string) { got = append(got, e) }), []string{sdk.EventPre}
	host := configured(t, p)
	batch := []sdk.Challenge{{ID: "new", Type: "new-01"}, {ID: "old", Type: sdk.HTTP01}}
	h := &heard{}
	if err := host.Authenticator().Perform(t.Context(), batch, h); err != nil {
		t.Fatal(err)
	}
	if problem := sdk.ProblemOf(h.results[0].Err); problem == nil || problem.Code != sdk.Unsupported || problem.Subject != "new" {
		t.Errorf("result for the new type: %+v", h.results[0])
	}
	if err := host.Authenticator().Cleanup(t.Context(), batch, h); err != nil || h.results[len(h.results)-1].Err != nil {
		t.Errorf("Cleanup of the new type: %v, %+v", err, h.results)
	}
	for _, e := range []string{"of_later", sdk.EventPre} {
		if _, err := host.Hook().Run(t.Context(), sdk.HookEvent{Event: e}, h); err != nil {
			t.Errorf("Run of %s: %v", e, err)
		}
	}
	if diff := cmp.Diff([]string{"old", sdk.EventPre}, got); diff != "" {
		t.Errorf("what the author saw (-want +got):\n%s", diff)
	}
}

type hookFunc func(string)

func (h hookFunc) Run(_ context.Context, e sdk.HookEvent, _ sdk.Reporter) (sdk.HookResult, error) {
	h(e.Event)
	return sdk.HookResult{}, nil
}

// A question stops the clock of the call: it may stay open for longer than the
// call may take. The host's answer comes only once the limit would have passed.
func TestAskStopsTheClock(t *testing.T) {
	host := configured(t, performs(func(ctx context.Context, _ []sdk.Challenge, r sdk.Reporter) error {
		line, err := r.Ask(ctx, "well?")
		r.Result(sdk.Result{Subject: "1", Receipt: []byte(line)})
		return err
	}))
	host.Timeout = 3 * time.Second
	passed := time.NewTimer(2 * host.Timeout)
	defer passed.Stop()
	h := &heard{ask: func(ctx context.Context, _ string) (string, error) {
		select {
		case <-passed.C:
			return "yes", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}}
	if err := host.Authenticator().Perform(t.Context(), oneChallenge, h); err != nil || string(h.results[0].Receipt) != "yes" {
		t.Errorf("Perform with a slow answer: %v, %+v", err, h.results)
	}
}

func TestTimeLimit(t *testing.T) {
	host := configured(t, performs(func(ctx context.Context, _ []sdk.Challenge, _ sdk.Reporter) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	host.Timeout = 10 * time.Millisecond
	p := sdk.ProblemOf(host.Authenticator().Perform(t.Context(), oneChallenge, &heard{}))
	if p == nil || p.Code != sdk.Timeout || p.Hint == "" {
		t.Errorf("Perform beyond its limit: %+v", p)
	}
}

// A question that is asked with a context of the author's own ends when the host
// goes away, and is not even asked once its call has ended.
func TestAskEndsWithTheCall(t *testing.T) {
	over, late := make(chan struct{}), make(chan error, 2)
	host := configured(t, performs(func(ctx context.Context, _ []sdk.Challenge, r sdk.Reporter) error {
		go func() {
			_, err := r.Ask(context.Background(), "anybody there?")
			late <- err
			<-over
			_, err = r.Ask(context.Background(), "and now?")
			late <- err
		}()
		<-ctx.Done()
		return ctx.Err()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	h := &heard{ask: func(ctx context.Context, _ string) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}}
	_ = host.Authenticator().Perform(ctx, oneChallenge, h)
	if abandoned, err := host.Drain(t.Context(), time.Minute); err != nil || len(abandoned) > 0 {
		t.Errorf("Drain: %v, %v", abandoned, err)
	}
	close(over)
	for _, what := range []string{"open when its host went", "asked after its call"} {
		select {
		case err := <-late:
			if err == nil {
				t.Errorf("a question %s was answered", what)
			}
		case <-time.After(time.Minute):
			t.Fatalf("a question %s waits for ever", what)
		}
	}
}

// deaf is a Perform that does not listen to its context until it is told to.
func deaf(t *testing.T) (p sdk.Plugin, begun chan struct{}, release func(), cleaned *atomic.Bool) {
	begun, blocked := make(chan struct{}), make(chan struct{})
	cleaned = &atomic.Bool{}
	var returned atomic.Bool
	release = func() { close(blocked) }
	return sdk.Plugin{ChallengeTypes: []string{sdk.HTTP01}, Authenticator: authenticator{
		perform: func(context.Context, []sdk.Challenge, sdk.Reporter) error {
			close(begun)
			<-blocked
			returned.Store(true)
			return nil
		},
		cleanup: func(context.Context, []sdk.Challenge, sdk.Reporter) error {
			if !returned.Load() {
				t.Error("Cleanup runs while Perform has not returned")
			}
			cleaned.Store(true)
			return nil
		},
	}}, begun, release, cleaned
}

func TestDrainNamesWhatIsAbandoned(t *testing.T) {
	p, begun, release, _ := deaf(t)
	host := configured(t, p)
	performed := make(chan error, 1)
	go func() {
		ctx := sdk.WithOperation(context.Background(), sdk.Operation{ID: "op-1"})
		performed <- host.Authenticator().Perform(ctx, oneChallenge, &heard{})
	}()
	<-begun
	if _, running, err := host.Health(t.Context(), false); err != nil || running != 1 {
		t.Errorf("Health: %d in flight, %v; want 1", running, err)
	}
	abandoned, err := host.Drain(t.Context(), time.Millisecond)
	if diff := cmp.Diff([]string{"op-1"}, abandoned); err != nil || diff != "" {
		t.Errorf("Drain: %v\n%s", err, diff)
	}
	// The stream ends although the author's code does not.
	if err := <-performed; err == nil {
		t.Error("Perform that was drained ended well")
	}
	release()
	abandoned, err = host.Drain(t.Context(), time.Minute)
	if err != nil || len(abandoned) > 0 {
		t.Errorf("Drain after the end: %v, %v", abandoned, err)
	}
}

func TestCleanupWaitsForACancelledPerform(t *testing.T) {
	p, begun, release, cleaned := deaf(t)
	host := configured(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	performed := make(chan error, 1)
	go func() { performed <- host.Authenticator().Perform(ctx, oneChallenge, &heard{}) }()
	<-begun
	cancel()
	if err := <-performed; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Perform: %v", err)
	}
	cleanup := make(chan error, 1)
	go func() { cleanup <- host.Authenticator().Cleanup(t.Context(), oneChallenge, &heard{}) }()
	for running := 0; running < 2 && !cleaned.Load(); { // until Cleanup has arrived
		var err error
		if _, running, err = host.Health(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	if cleaned.Load() {
		t.Error("Cleanup did not wait")
	}
	release()
	if err := <-cleanup; err != nil || !cleaned.Load() {
		t.Errorf("Cleanup: %v", err)
	}
}

// A Perform that sees the cancel ends, and nothing is abandoned.
func TestCancelReachesTheAuthor(t *testing.T) {
	begun := make(chan struct{})
	host := configured(t, performs(func(ctx context.Context, _ []sdk.Challenge, _ sdk.Reporter) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the user is tired of waiting")
	go func() {
		<-begun
		cancel(why)
	}()
	if err := host.Authenticator().Perform(ctx, oneChallenge, &heard{}); !errors.Is(err, why) {
		t.Errorf("cancelled Perform: %v, want the cause", err)
	}
	if abandoned, err := host.Drain(t.Context(), 30*time.Second); err != nil || len(abandoned) > 0 {
		t.Errorf("Drain: %v, %v", abandoned, err)
	}
}

// scripted has a variable for each letter of its setting.
type scripted struct {
	authenticator
	settings *struct {
		Script string        `setting:"script"`
		Env    sdk.SecretMap `setting:"env"`
	}
}

func (s scripted) DescribeSettings(context.Context) []sdk.Setting {
	if s.settings.Script == "!" {
		panic("no such script")
	}
	var out []sdk.Setting
	for _, letter := range s.settings.Script {
		out = append(out, sdk.Setting{Name: "env." + string(letter), Type: sdk.StringSetting})
	}
	return out
}

func TestSettingsThatASettingBringsAlong(t *testing.T) {
	for script, want := range map[string][]string{"AB": {"script", "env", "env.A", "env.B"}, "": {"script", "env"}, "!": {"script", "env"}} {
		s := scripted{}
		s.settings = new(struct {
			Script string        `setting:"script"`
			Env    sdk.SecretMap `setting:"env"`
		})
		c := connect(t, sdk.Plugin{Authenticator: s, ChallengeTypes: []string{sdk.DNS01}, Settings: s.settings})
		names := func() (out []string) {
			d, err := c.Describe(t.Context(), "host")
			if err != nil {
				t.Fatal(err)
			}
			for _, setting := range d.Settings {
				out = append(out, setting.Name)
			}
			return out
		}
		if got := names(); !slices.Equal(got, []string{"script", "env"}) {
			t.Errorf("before Configure: %q", got)
		}
		problems, err := c.Configure(t.Context(), client.Configuration{
			Instance: sdk.Instance{ValidateOnly: true}, Settings: map[string]any{"script": script},
		})
		if err != nil || len(problems) > 0 {
			t.Fatal(problems, err)
		}
		if got := names(); !slices.Equal(got, want) {
			t.Errorf("with script %q: %q, want %q", script, got, want)
		}
	}
}
