package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// step is one call of the host, each in a process of its own.
type step struct {
	name string
	do   func(context.Context, *plesk) error
}

// story is what the host does with one kind of operations, from nothing to
// nothing.
type story struct {
	operations []string
	steps      []step
}

func stories(t *testing.T) map[string]story {
	t.Helper()
	record := txt("a.test", acme+".a.test", "one")
	file := challenge("a.test", "one")
	first, second := certificateFor(t, "a.test"), certificateFor(t, "a.test")
	outcome := func(do func(context.Context, []sdk.Challenge, sdk.Reporter) error) func(context.Context) error {
		return func(ctx context.Context) error {
			r := &recorder{}
			err := do(ctx, []sdk.Challenge{file}, r)
			for _, result := range r.results {
				err = errors.Join(err, result.Err)
			}
			return err
		}
	}
	return map[string]story{
		"records": {[]string{"site/get", "dns/get_rec", "dns/add_rec", "dns/del_rec"}, []step{
			{"set", func(ctx context.Context, p *plesk) error { _, err := p.setTXT(ctx, record); return err }},
			{"delete", func(ctx context.Context, p *plesk) error { return p.deleteTXT(ctx, record) }},
		}},
		"files": {[]string{"site/get"}, []step{
			{"put", func(ctx context.Context, p *plesk) error { return outcome(p.Perform)(ctx) }},
			{"remove", func(ctx context.Context, p *plesk) error { return outcome(p.Cleanup)(ctx) }},
		}},
		"certificates": {
			[]string{
				"site/get", "site/set", "server/get_protos", "certificate/get-pool", "certificate/install", "certificate/update",
				"certificate/remove",
			},
			[]step{
				{"deploy", func(ctx context.Context, p *plesk) error { return deploy(ctx, p, first, "1") }},
				{"renew", func(ctx context.Context, p *plesk) error { return deploy(ctx, p, second, "2") }},
				{"roll back", func(ctx context.Context, p *plesk) error {
					return p.Rollback(during(ctx, "a.test", "back"), 1, &recorder{})
				}},
				{"roll back again", func(ctx context.Context, p *plesk) error {
					return p.Rollback(during(ctx, "a.test", "back again"), 1, &recorder{})
				}},
			},
		},
	}
}

// once are operations that are not sent again unless Plesk has said that it has
// done nothing.
var once = []string{"dns/add_rec", "certificate/install"}

func status(code int, after string) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, _ string) {
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		http.Error(w, "this is meant to fail", code)
	}
}

func cut(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }

// refusal is an answer of Plesk to an operation.
func refusal(code int, text string) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, operation string) {
		operator, name, _ := strings.Cut(operation, "/")
		_, _ = io.WriteString(w, "<packet><"+operator+"><"+name+">"+failed(code, text)+"</"+name+"></"+operator+"></packet>")
	}
}

// everyOperation gives a fake for each operation of each story.
func everyOperation(t *testing.T, do func(t *testing.T, f *fakePlesk, s settings, steps []step, operation string)) {
	t.Helper()
	for name, s := range stories(t) {
		for _, operation := range s.operations {
			t.Run(name+" "+strings.ReplaceAll(operation, "/", " "), func(t *testing.T) {
				t.Parallel()
				f := newFake(t, nil)
				f.add(t, "a.test", "a.test")
				settings := f.settings(t)
				settings.Filemng, settings.VHosts = standIn(t, "u-a.test"), vhosts(t)
				do(t, f, settings, s.steps, operation)
			})
		}
	}
}

// meets has an operation answered in place of the fake, as long as do says;
// nil: no more.
func (f *fakePlesk) meets(operation string, do func(w http.ResponseWriter, operation string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = nil
	if do != nil {
		f.before = func(w http.ResponseWriter, asked string) bool { return asked == operation && do(w, asked) }
	}
}

// everywhere is what there is in Plesk and in its document roots.
func (f *fakePlesk) everywhere(t *testing.T) string {
	t.Helper()
	return f.everything() + tree(t, vhosts(t))
}

// troubles that last, with what the user is told.
var troubles = []struct {
	answer func(http.ResponseWriter, string)
	code   sdk.Code
	say    string
}{
	{func(w http.ResponseWriter, _ string) { _, _ = io.WriteString(w, systemAnswer) }, sdk.Credentials, "11003"},
	{refusal(1006, "Permission denied"), sdk.PermissionDenied, "1006"},
	{refusal(8002, "Unable to do it"), sdk.Internal, "8002"},
	{status(401, ""), sdk.Credentials, "401 Unauthorized: this is meant to fail"},
	{status(403, ""), sdk.PermissionDenied, "403 Forbidden"},
	{status(404, ""), sdk.NotFound, "404 Not Found"},
	{status(409, ""), sdk.Conflict, "409 Conflict"},
	{status(412, ""), sdk.Conflict, "412 Precondition Failed"},
	{status(429, "3600"), sdk.RateLimited, "429 Too Many Requests"},
	{status(500, ""), sdk.Unavailable, "500 Internal Server Error"},
	{cut, sdk.Unavailable, "POST"},
}

// Every operation fails for long in every way: the call that needs it ends with
// a problem that says what to do, nothing is lost, and the same call does its
// work when the trouble is over.
func TestLastingTrouble(t *testing.T) {
	everyOperation(t, func(t *testing.T, f *fakePlesk, s settings, steps []step, operation string) {
		before, state := f.everywhere(t), t.TempDir()
		failures := 0
		for _, step := range steps {
			for _, trouble := range troubles {
				f.meets(operation, func(w http.ResponseWriter, operation string) bool {
					trouble.answer(w, operation)
					return true
				})
				err := step.do(t.Context(), configured(t, s, state))
				if err == nil {
					break // it does not need that operation
				}
				failures++
				if p := wantProblem(t, err, trouble.code, trouble.say); p.Hint == "" {
					t.Errorf("%s: %v has no hint", step.name, err)
				}
			}
			f.meets(operation, nil)
			if err := step.do(t.Context(), configured(t, s, state)); err != nil {
				t.Fatalf("%s, when the trouble is over: %v", step.name, err)
			}
		}
		if failures < len(troubles) {
			t.Errorf("only %d failures", failures)
		}
		if after := f.everywhere(t); after != before {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
	})
}

// What passes is waited out, unless it could be done twice: then the host's next
// call does it.
func TestPassingTrouble(t *testing.T) {
	everyOperation(t, func(t *testing.T, f *fakePlesk, s settings, steps []step, operation string) {
		before := f.everywhere(t)
		for name, trouble := range map[string]func(http.ResponseWriter, string){
			"429": status(429, "0"), "500": status(500, ""), "cut": cut,
		} {
			state := t.TempDir()
			times := 0
			for _, step := range steps {
				passed := false
				f.meets(operation, func(w http.ResponseWriter, operation string) bool {
					f.mu.Lock()
					first := !passed
					passed = true
					f.mu.Unlock()
					if first {
						trouble(w, operation)
					}
					return first
				})
				err := step.do(t.Context(), configured(t, s, state))
				if passed {
					times++
				}
				if passed && name != "429" && slices.Contains(once, operation) {
					wantProblem(t, err, sdk.Unavailable)
					err = step.do(t.Context(), configured(t, s, state))
				}
				if err != nil {
					t.Fatalf("%s, %s: %v", name, step.name, err)
				}
			}
			if times == 0 {
				t.Errorf("%s: nothing has failed", name)
			}
			f.meets(operation, nil)
			if after := f.everywhere(t); after != before {
				t.Fatalf("%s: before\n%s\nafter\n%s", name, before, after)
			}
		}
	})
}

// A Plesk that does not answer is given up when the call is.
func TestSlow(t *testing.T) {
	everyOperation(t, func(t *testing.T, f *fakePlesk, s settings, steps []step, operation string) {
		before := f.everywhere(t)
		state := t.TempDir()
		given := 0
		for _, step := range steps {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			f.meets(operation, func(http.ResponseWriter, string) bool {
				cancel()
				<-ended
				panic(http.ErrAbortHandler)
			})
			err := step.do(ctx, configured(t, s, state))
			close(ended)
			cancel()
			f.meets(operation, nil)
			if err == nil {
				continue
			}
			given++
			wantProblem(t, err, sdk.Cancelled)
			must(t, step.do(t.Context(), configured(t, s, state)))
		}
		if given == 0 {
			t.Error("nothing was slow")
		}
		if after := f.everywhere(t); after != before {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
	})
}
