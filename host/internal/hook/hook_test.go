package hook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is what hooks were told and what the user was.
type log struct {
	mu    sync.Mutex
	told  []string
	warns []string
}

func (l *log) Tell(string, string, ...any) {}
func (l *log) WarnError(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.warns = append(l.warns, err.Error())
}
func (l *log) Reporter(string, string) sdk.Reporter { return nil }

// fake is a plugin.
type fake struct {
	log    *log
	name   string
	events []string
	// fails and warns at an event.
	fails, warns string
	down         bool
	seen         []sdk.HookEvent
}

func (f *fake) Run(_ context.Context, e sdk.HookEvent, _ sdk.Reporter) (r sdk.HookResult, err error) {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	f.log.told = append(f.log.told, f.name+" "+e.Event)
	f.seen = append(f.seen, e)
	if e.Event == f.warns {
		r.Warnings = []*sdk.Problem{sdk.Problemf(sdk.Unavailable, "so so")}
	}
	if e.Event == f.fails {
		return r, errors.New("no good")
	}
	if e.Event == sdk.EventCSR {
		r.CSR = []byte("csr of " + f.name)
	}
	return r, nil
}

func (f *fake) member(named bool) Member {
	return Member{Name: f.name, Key: f.name, Events: f.events, Named: named, Hook: func(context.Context) (sdk.Hook, error) {
		if f.down {
			return nil, errors.New("it does not start")
		}
		return f, nil
	}}
}

var every = []string{
	sdk.EventStart, sdk.EventUnchanged, sdk.EventPre, sdk.EventCSR, sdk.EventAttempt, sdk.EventCAFailure, sdk.EventChallengeInvalid,
	sdk.EventIssued, sdk.EventSuccess, sdk.EventDryRun, sdk.EventAttempted, sdk.EventPost, sdk.EventFinish,
}

func request(name string, rules model.HookRules) model.Request {
	r := model.Request{Name: name, Identifiers: []model.Identifier{{Type: "dns", Value: name}}, KeyType: model.P256, Server: "https://ca.test/dir"}
	r.HookRules = rules
	return r
}

// attempt is how a run drives the hooks of one certificate. The error is what
// fails it.
func attempt(ctx context.Context, c *Certificate, obtained bool) (err error) {
	failed := c.Begin(ctx)
	if failed == nil {
		_, failed = c.CSR(ctx)
	}
	if failed == nil {
		failed = c.Attempt(ctx, "https://ca.test/order", func() ([]byte, error) { return []byte("request"), nil })
	}
	if failed == nil && !obtained {
		failed = errors.New("the CA says no")
	}
	if failed != nil {
		return errors.Join(failed, c.Attempted(ctx, nil, failed, false))
	}
	v := Version{Version: model.Version{Number: 1}}
	u := model.Untold{OrderURL: "https://ca.test/order", CSR: []byte("request")}
	err = errors.Join(err, c.Issued(ctx, u, v), c.Success(ctx, u, v))
	return errors.Join(err, c.Attempted(ctx, &v, nil, false))
}

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

// acme2certifier's rules, and what a hook itself calls a warning.
func TestRules(t *testing.T) {
	const pre, attempted = "start pre csr attempt ", "attempted "
	all := pre + "issued success " + attempted
	for name, tt := range map[string]struct {
		fails, warns string
		rules        model.HookRules
		refused      bool // the CA does not issue
		idle         bool // it is not due
		told         string
		err          string // part of the error; empty: none
		warned       string
	}{
		"all well":                       {told: all},
		"the CA refuses":                 {refused: true, told: pre + attempted, err: "the CA says no"},
		"start fails":                    {fails: "start", told: "start ", err: "hook h failed at start: no good"},
		"start fails, allowed or not":    {fails: "start", rules: model.HookRules{AllowPre: yes()}, told: "start ", err: "at start"},
		"pre fails":                      {fails: "pre", told: "start pre ", err: "hook h failed at pre: no good"},
		"pre fails, allowed":             {fails: "pre", rules: model.HookRules{AllowPre: yes()}, told: all, warned: "c.test: hook h failed at pre: no good"},
		"pre warns":                      {warns: "pre", told: all, warned: "hook h failed at pre: so so"},
		"pre warns, forbidden":           {warns: "pre", rules: model.HookRules{AllowPre: no()}, told: "start pre ", err: "at pre: so so"},
		"csr fails":                      {fails: "csr", rules: model.HookRules{AllowPre: yes()}, told: "start pre csr ", err: "at csr"},
		"attempt fails":                  {fails: "attempt", told: pre, err: "at attempt"},
		"attempt fails, allowed":         {fails: "attempt", rules: model.HookRules{AllowPre: yes()}, told: all, warned: "at attempt"},
		"issued fails":                   {fails: "issued", told: all, err: "at issued"},
		"success fails":                  {fails: "success", told: pre + "issued success ", err: "at success"},
		"success fails, allowed":         {fails: "success", rules: model.HookRules{AllowSuccess: yes()}, told: all, warned: "at success"},
		"success warns":                  {warns: "success", told: all, warned: "at success"},
		"success warns, forbidden":       {warns: "success", rules: model.HookRules{AllowSuccess: no()}, told: pre + "issued success ", err: "at success"},
		"attempted fails":                {fails: "attempted", told: all, warned: "at attempted"},
		"attempted fails, forbidden":     {fails: "attempted", rules: model.HookRules{AllowPost: no()}, told: all, err: "at attempted"},
		"attempted fails after the CA":   {fails: "attempted", refused: true, told: pre + attempted, err: "the CA says no", warned: "at attempted"},
		"both fail, forbidden":           {fails: "attempted", refused: true, rules: model.HookRules{AllowPost: no()}, told: pre + attempted, err: "at attempted"},
		"success fails and warns":        {fails: "success", warns: "success", told: pre + "issued success ", err: "at success: no good", warned: "at success: so so"},
		"success does both, forbidden":   {fails: "success", warns: "success", rules: model.HookRules{AllowSuccess: no()}, told: pre + "issued success ", err: "at success: no good; hook h failed at success: so so"},
		"not due":                        {idle: true, told: "start unchanged "},
		"start fails, not due":           {idle: true, fails: "start", told: "start ", err: "hook h failed at start: no good"},
		"unchanged fails":                {idle: true, fails: "unchanged", told: "start unchanged ", err: "hook h failed at unchanged: no good"},
		"unchanged fails, allowed":       {idle: true, fails: "unchanged", rules: model.HookRules{AllowSuccess: yes()}, told: "start unchanged ", warned: "at unchanged"},
		"unchanged warns":                {idle: true, warns: "unchanged", told: "start unchanged ", warned: "at unchanged: so so"},
		"a rule for something else":      {fails: "pre", rules: model.HookRules{AllowSuccess: yes(), AllowPost: yes()}, told: "start pre ", err: "at pre"},
		"post's rule is not that of pre": {fails: "attempted", rules: model.HookRules{AllowPre: no(), AllowSuccess: no()}, told: all, warned: "at attempted"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &log{}
			f := &fake{log: l, name: "h", events: every, fails: tt.fails, warns: tt.warns}
			run := New(Deps{Story: l, RunID: "r"})
			c := run.Certificate(request("c.test", tt.rules), run.Join([]Member{f.member(true)}))
			run.Start(t.Context())
			var err error
			if tt.idle {
				err = c.Unchanged(t.Context(), Version{})
			} else {
				err = attempt(t.Context(), c, !tt.refused)
			}
			got := strings.ReplaceAll(strings.Join(l.told, ""), "h ", " ")
			if want := strings.ReplaceAll(" "+strings.TrimSpace(tt.told), "  ", " "); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			for _, e := range f.seen {
				if e.Event == tt.fails && e.Fatal != strings.Contains(tt.err, "at "+tt.fails) {
					t.Errorf("%s was told fatal=%v", e.Event, e.Fatal)
				}
			}
			if warned := strings.Join(l.warns, "|"); tt.warned == "" && warned != "" || !strings.Contains(warned, tt.warned) {
				t.Errorf("warned %q, want %q", warned, tt.warned)
			}
		})
	}
}

// start, pre, post and finish are about the run, whatever the number of
// certificates; who was not told pre is not told post.
func TestOnceInARun(t *testing.T) {
	l := &log{}
	shared, own, idle := &fake{log: l, name: "shared", events: every}, &fake{log: l, name: "own", events: every}, &fake{log: l, name: "idle", events: every}
	run := New(Deps{Story: l, RunID: "r", Verb: "renew", DryRun: true})
	a := run.Certificate(request("a.test", model.HookRules{}), run.Join([]Member{shared.member(true)}))
	b := run.Certificate(request("b.test", model.HookRules{}), run.Join([]Member{own.member(true), shared.member(true)}))
	run.Certificate(request("c.test", model.HookRules{}), run.Join([]Member{idle.member(true)}))
	run.Start(t.Context())
	if err := errors.Join(a.Begin(t.Context()), b.Begin(t.Context())); err != nil {
		t.Fatal(err)
	}
	run.Post(t.Context(), sdk.HookEvent{Renewed: []string{"a.test"}})
	run.Finish(t.Context(), sdk.HookEvent{Outcome: "ok"})
	for _, f := range []*fake{shared, own, idle} {
		var got []string
		for _, e := range f.seen {
			got = append(got, e.Event)
			if e.Lineage != "" || e.Verb != "renew" || !e.DryRun {
				t.Errorf("%s: %+v", f.name, e)
			}
		}
		want := []string{"start", "pre", "post", "finish"}
		if f == idle {
			want = []string{"start", "finish"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f.name, diff)
		}
	}
}

// A failure at pre is every certificate's that uses the instance, by its own
// rules; so is one at post.
func TestSharedFailure(t *testing.T) {
	l := &log{}
	f := &fake{log: l, name: "h", events: every, fails: sdk.EventPre}
	g := &fake{log: l, name: "g", events: every, fails: sdk.EventPost}
	run := New(Deps{Story: l, RunID: "r", Rules: model.HookRules{AllowPre: yes()}})
	members := []Member{f.member(true), g.member(true)}
	strict := run.Certificate(request("a.test", model.HookRules{AllowPre: no()}), run.Join(members))
	lax := run.Certificate(request("b.test", model.HookRules{AllowPost: no()}), run.Join(members))
	if err := strict.Begin(t.Context()); err == nil {
		t.Error("a.test may not be obtained")
	}
	if err := lax.Begin(t.Context()); err != nil {
		t.Errorf("b.test: %v", err)
	}
	errs := run.Post(t.Context(), sdk.HookEvent{})
	if err := strict.Post(errs); err != nil {
		t.Errorf("a.test may have post fail: %v", err)
	}
	if err := lax.Post(errs); err == nil || len(Parts(err)) != 1 || Parts(err)[0].Instance != "g" {
		t.Errorf("b.test: %v", err)
	}
}

// fatal of what is told once speaks for every certificate that uses the
// instance, at post for those that got so far.
func TestFatalOfTheRun(t *testing.T) {
	for name, tt := range map[string]struct {
		due, other model.HookRules
		pre, post  bool
	}{
		"nothing is said":          {pre: true},
		"pre may fail":             {due: model.HookRules{AllowPre: yes()}, other: model.HookRules{AllowPre: yes()}},
		"pre may fail for one":     {due: model.HookRules{AllowPre: yes()}, pre: true},
		"post may not fail":        {due: model.HookRules{AllowPost: no()}, pre: true, post: true},
		"the other got not so far": {other: model.HookRules{AllowPost: no()}, pre: true},
	} {
		l := &log{}
		f := &fake{log: l, name: "h", events: []string{sdk.EventStart, sdk.EventPre, sdk.EventPost}}
		run := New(Deps{Story: l, RunID: "r"})
		c := run.Certificate(request("c.test", tt.due), run.Join([]Member{f.member(true)}))
		run.Certificate(request("d.test", tt.other), run.Join([]Member{f.member(true)}))
		run.Start(t.Context())
		if err := c.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		run.Post(t.Context(), sdk.HookEvent{})
		got := map[string]bool{}
		for _, e := range f.seen {
			got[e.Event] = e.Fatal
		}
		if diff := cmp.Diff(map[string]bool{"start": true, "pre": tt.pre, "post": tt.post}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A hook that fails and warns of something is heard in both.
func TestErrorAndWarning(t *testing.T) {
	for event, tell := range map[string]func(context.Context, *Run) error{
		sdk.EventPost: func(ctx context.Context, r *Run) error { return r.Post(ctx, sdk.HookEvent{})["h"] },
		sdk.EventFinish: func(ctx context.Context, r *Run) error {
			r.Finish(ctx, sdk.HookEvent{})
			return nil
		},
		sdk.EventCAFailure: func(ctx context.Context, r *Run) error {
			r.Refused(ctx, model.Refusal{})
			return nil
		},
	} {
		l := &log{}
		f := &fake{log: l, name: "h", events: every, fails: event, warns: event}
		run := New(Deps{Story: l, RunID: "r"})
		if err := run.Certificate(request("c.test", model.HookRules{}), run.Join([]Member{f.member(true)})).Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := tell(t.Context(), run); err != nil {
			l.WarnError(err)
		}
		if diff := cmp.Diff([]string{"hook h failed at " + event + ": no good; so so"}, l.warns); diff != "" {
			t.Errorf("%s (-want +got):\n%s", event, diff)
		}
	}
}

// A hook that does not start is a failure of pre; an instance that is in use
// otherwise is nobody's hook then.
func TestDown(t *testing.T) {
	for named, want := range map[bool]string{true: "hook h failed at pre: it does not start", false: "<nil>"} {
		l := &log{}
		f, other := &fake{log: l, name: "h", events: every, down: true}, &fake{log: l, name: "o", events: every}
		run := New(Deps{Story: l, RunID: "r"})
		c := run.Certificate(request("c.test", model.HookRules{}), run.Join([]Member{f.member(named), other.member(true)}))
		run.Start(t.Context())
		if got := fmt.Sprint(attempt(t.Context(), c, true)); got != want {
			t.Errorf("named %v: %s, want %s", named, got, want)
		}
		run.Finish(t.Context(), sdk.HookEvent{})
		if !named && len(l.warns) > 0 {
			t.Errorf("warned of %q", l.warns)
		}
	}
}

// What is told belongs to the event, and only those hear of it that want to.
func TestWhatIsTold(t *testing.T) {
	l := &log{}
	f := &fake{log: l, name: "h", events: every}
	deaf := &fake{log: l, name: "deaf", events: []string{"another"}}
	run := New(Deps{Story: l, RunID: "r", Verb: "run"})
	c := run.Certificate(request("c.test", model.HookRules{}), run.Join([]Member{deaf.member(true), f.member(true)}))
	ctx := c.Into(t.Context())
	csr, err := c.CSR(ctx)
	if err != nil || string(csr) != "csr of h" {
		t.Fatalf("%s, %v", csr, err)
	}
	if err := c.Attempt(ctx, "https://ca.test/order", func() ([]byte, error) { return []byte("request"), nil }); err != nil {
		t.Fatal(err)
	}
	ca := &model.ACMEError{Type: "urn:ietf:params:acme:error:dns", Detail: "no record", Status: 400, Method: "POST", URL: "https://ca.test/x"}
	c.ChallengeInvalid(ctx, model.Challenge{ID: "1", RawJSON: []byte("{}")}, ca)
	Refused(ctx, run, model.Refusal{ACMEError: *ca, Resource: "newOrder", Body: []byte("body"), Header: []sdk.HTTPHeader{{Name: "A", Value: "b"}}})
	Refused(t.Context(), run, model.Refusal{ACMEError: *ca})
	if err := c.Attempted(ctx, nil, ca, true); err != nil {
		t.Fatal(err)
	}
	if err := c.Attempted(ctx, nil, nil, false); err != nil || len(deaf.seen) > 0 {
		t.Fatal(err, deaf.seen)
	}
	late := run.Certificate(request("d.test", model.HookRules{}), run.Join([]Member{f.member(true)}))
	if err := late.Success(ctx, model.Untold{OrderURL: "https://ca.test/late", Late: true}, Version{Issued: model.Issued{LeafPEM: []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range f.seen {
		text := fmt.Sprintf("%s %q csr=%s order=%s poll=%s fatal=%v", e.Event, e.Lineage, e.CSR, e.OrderURL, e.PollIdentifier, e.Fatal)
		if e.Problem != nil {
			text += " problem=" + e.Problem.Error()
		}
		if e.Event == sdk.EventCAFailure {
			text += fmt.Sprintf(" http=%d %s %s %s %v %s", e.HTTPStatus, e.HTTPMethod, e.HTTPURL, e.HTTPResource, e.HTTPHeaders, e.HTTPBody)
		}
		if len(e.CertificateRaw) > 0 {
			text += fmt.Sprintf(" raw=%x", e.CertificateRaw)
		}
		got = append(got, text)
	}
	if diff := cmp.Diff([]string{
		`csr "c.test" csr= order= poll= fatal=true`,
		`attempt "c.test" csr=request order=https://ca.test/order poll= fatal=true`,
		`challenge_invalid "c.test" csr= order=https://ca.test/order poll= fatal=false problem=no record (dns)`,
		`ca_failure "c.test" csr= order= poll= fatal=false problem=no record (dns) http=400 POST https://ca.test/x newOrder [{A b}] body`,
		`ca_failure "" csr= order= poll= fatal=false problem=no record (dns) http=400 POST https://ca.test/x  [] `,
		`attempted "c.test" csr=request order=https://ca.test/order poll=https://ca.test/order fatal=false problem=no record (dns)`,
		`success "d.test" csr= order=https://ca.test/late poll=https://ca.test/late fatal=true raw=000000`,
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
