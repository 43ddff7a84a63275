package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// step is one call of the host, each in a process of its own.
type step struct {
	name string
	do   func(context.Context, *gandi) error
}

// story is what the host does with one of the APIs, from nothing to nothing.
type story struct {
	settings settings
	steps    []step
	// meets has a request for a call answered in place of the fake, as long as do
	// says; nil: no more.
	meets func(call string, do func(http.ResponseWriter) bool)
	// state is all that the fake has.
	state func() string
}

// dnsCalls are what is asked of LiveDNS, by what is in the path.
var dnsCalls = []string{"GET domains", "GET domain", "GET records", "PUT records", "DELETE records"}

func dnsCall(r *http.Request) string {
	switch path := strings.TrimPrefix(r.URL.Path, "/v5/livedns/"); {
	case path == "domains":
		return r.Method + " domains"
	case strings.Contains(path, "/records/"):
		return r.Method + " records"
	}
	return r.Method + " domain"
}

func dnsStory(t *testing.T) story {
	t.Helper()
	f := newFakeDNS(t, nil)
	a := f.account(bearer, "a.test")
	f.force(a, "a.test", acme, 1800, `"of another program"`)
	shared, ours := txt("a.test", acme+".a.test", "one"), txt("a.test", acme+".www.a.test", "two")
	set := func(record sdk.TXT) func(context.Context, *gandi) error {
		return func(ctx context.Context, g *gandi) error { _, err := g.livedns.SetTXT(ctx, record); return err }
	}
	remove := func(record sdk.TXT) func(context.Context, *gandi) error {
		return func(ctx context.Context, g *gandi) error { return g.livedns.DeleteTXT(ctx, record) }
	}
	return story{
		settings: settings{Token: goodToken, Endpoint: f.endpoint()},
		steps: []step{
			{"try", func(ctx context.Context, g *gandi) error { return g.Health(ctx, true) }},
			{"add", set(shared)}, {"set", set(ours)}, {"take away", remove(shared)}, {"delete", remove(ours)},
		},
		meets: func(call string, do func(http.ResponseWriter) bool) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.before = nil
			if do != nil {
				f.before = func(w http.ResponseWriter, r *http.Request, _ string) bool { return dnsCall(r) == call && do(w) }
			}
		},
		state: func() string { return f.everything(a) },
	}
}

var rpcCalls = []string{"paas.list", "paas.info", "cert.hosted.list", "cert.hosted.info", "cert.hosted.create", "cert.hosted.delete"}

func rpcStory(t *testing.T) story {
	t.Helper()
	f := newFakeRPC(t)
	f.paas = map[string]any{
		"id": 1, "name": "sap", "type": "phpmysql", "user": 2, "ftp_server": "sftp.example", "vhosts": []any{map[string]any{"name": "a.test"}},
	}
	uploadBy(t, f, certificate(t, "a.test", "of.another"))
	first, second := certificate(t, "a.test"), certificate(t, "a.test")
	upload := func(d sdk.Deployment, name string) func(context.Context, *gandi) error {
		return func(ctx context.Context, g *gandi) error {
			if err := deploy(ctx, g, d, name); err != nil {
				return err
			}
			_, err := g.Run(ctx, sdk.HookEvent{Event: sdk.EventPost, Renewed: []string{d.Lineage}}, &recorder{})
			return err
		}
	}
	back := func(name string) func(context.Context, *gandi) error {
		return func(ctx context.Context, g *gandi) error {
			return g.Rollback(during(ctx, "a.test", name), 1, &recorder{})
		}
	}
	s := hosting(f)
	s.Instance = "sap"
	return story{
		settings: s,
		steps: []step{
			{"list", func(ctx context.Context, g *gandi) error { _, err := g.Names(ctx); return err }},
			{"upload", upload(first, "1")}, {"renew", upload(second, "2")}, {"roll back", back("back")}, {"roll back again", back("again")},
		},
		meets: func(call string, do func(http.ResponseWriter) bool) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.before = nil
			if do != nil {
				f.before = func(w http.ResponseWriter, method string) bool { return method == call && do(w) }
			}
		},
		state: func() string {
			var out strings.Builder
			for _, id := range f.hosts() {
				out.Write(f.leaf(id))
			}
			return out.String()
		},
	}
}

func everyCall(t *testing.T, do func(t *testing.T, s story, call string)) {
	t.Helper()
	for _, api := range []struct {
		calls []string
		story func(*testing.T) story
	}{{dnsCalls, dnsStory}, {rpcCalls, rpcStory}} {
		for _, call := range api.calls {
			t.Run(call, func(t *testing.T) {
				t.Parallel()
				s := api.story(t)
				before := s.state()
				do(t, s, call)
				if after := s.state(); after != before {
					t.Errorf("before\n%q\nafter\n%q", before, after)
				}
			})
		}
	}
}

// status answers with one, in the form that the reference of the REST API gives
// to failures.
func status(code int, after string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		refuse(w, code, "this is meant to fail")
	}
}

func cutOff(http.ResponseWriter) { panic(http.ErrAbortHandler) }

// faultOf is a fault of the XML-RPC API.
func faultOf(code int, text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		body := encode(map[string]any{"faultCode": code, "faultString": text})
		_, _ = io.WriteString(w, `<?xml version="1.0"?><methodResponse><fault>`+body+`</fault></methodResponse>`)
	}
}

type trouble struct {
	answer func(http.ResponseWriter)
	code   sdk.Code
	say    string
}

// ofHTTP are troubles that both APIs can have.
var ofHTTP = []trouble{
	{status(401, ""), sdk.Credentials, "401 Unauthorized"},
	{status(403, ""), sdk.PermissionDenied, "403 Forbidden"},
	{status(409, ""), sdk.Conflict, "409 Conflict"},
	{status(412, ""), sdk.Conflict, "412 Precondition Failed"},
	{status(429, "3600"), sdk.RateLimited, "429 Too Many Requests"},
	{status(500, ""), sdk.Unavailable, "500 Internal Server Error"},
	{cutOff, sdk.Unavailable, ""},
}

// troublesOf a call. The words of the first two faults are those that public
// clients quote (the FAQ of gandi-dyndns; the specs of the gem gandi, with its
// number), those of the third one are of Gandi's wiki (api-xml, "Error codes
// format"); the last one is invented, for what nobody has told of. At LiveDNS a 404 for a record set is the answer that there
// is none, so it is trouble for the domain and for a write only.
func troublesOf(call string) []trouble {
	switch notFound := (trouble{status(404, ""), sdk.NotFound, ""}); call {
	case "GET records", "DELETE records":
		return ofHTTP
	case "GET domains", "GET domain", "PUT records":
		return append([]trouble{notFound}, ofHTTP...)
	default:
		return append([]trouble{
			notFound,
			{faultOf(510150, "Error on object : OBJECT_ACCOUNT (CAUSE_NORIGHT) [Invalid API key]"), sdk.Credentials, "Invalid API key"},
			{faultOf(516150, "Error on object : OBJECT_CONTACT (CAUSE_NORIGHT) [You aren't allowed to read that contact]"), sdk.PermissionDenied, "fault 516150"},
			{faultOf(150000, "ServerError: internal error (error has been logged and will be reported"), sdk.Unavailable, "fault 150000"},
			{faultOf(581099, "Error on object : OBJECT_PAAS (CAUSE_STATE) [busy]"), sdk.Internal, "fault 581099"},
		}, ofHTTP...)
	}
}

// Every call fails for long in every way: the step that needs it ends with a
// problem that says what to do, nothing is lost, and the same step does its work
// when the trouble is over.
func TestLastingTrouble(t *testing.T) {
	everyCall(t, func(t *testing.T, s story, call string) {
		state, failures := t.TempDir(), 0
		troubles := troublesOf(call)
		for _, step := range s.steps {
			for _, trouble := range troubles {
				s.meets(call, func(w http.ResponseWriter) bool {
					trouble.answer(w)
					return true
				})
				err := step.do(t.Context(), configured(t, s.settings, state))
				if err == nil {
					break // it does not need that call
				}
				failures++
				if p := wantProblem(t, err, trouble.code, trouble.say); p.Hint == "" {
					t.Errorf("%s: %v has no hint", step.name, err)
				}
			}
			s.meets(call, nil)
			if err := step.do(t.Context(), configured(t, s.settings, state)); err != nil {
				t.Fatalf("%s, when the trouble is over: %v", step.name, err)
			}
		}
		if failures < len(troubles) {
			t.Errorf("only %d failures", failures)
		}
	})
}

// What passes is waited out, unless it could be done twice: then the host's next
// call does it.
func TestPassingTrouble(t *testing.T) {
	everyCall(t, func(t *testing.T, s story, call string) {
		for name, trouble := range map[string]func(http.ResponseWriter){"429": status(429, "0"), "500": status(500, ""), "cut": cutOff} {
			state, times := t.TempDir(), 0
			for _, step := range s.steps {
				passed := make(chan struct{}, 1)
				s.meets(call, func(w http.ResponseWriter) bool {
					select {
					case passed <- struct{}{}:
						trouble(w)
						return true
					default:
						return false
					}
				})
				err := step.do(t.Context(), configured(t, s.settings, state))
				times += len(passed)
				if len(passed) > 0 && name != "429" && call == "cert.hosted.create" {
					wantProblem(t, err, sdk.Unavailable, call)
					err = step.do(t.Context(), configured(t, s.settings, state))
				}
				if err != nil {
					t.Fatalf("%s, %s: %v", name, step.name, err)
				}
			}
			if times == 0 {
				t.Errorf("%s: nothing has failed", name)
			}
		}
		s.meets(call, nil)
	})
}

// An API that does not answer is given up when the call is.
func TestSlow(t *testing.T) {
	everyCall(t, func(t *testing.T, s story, call string) {
		state, given := t.TempDir(), 0
		for _, step := range s.steps {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			s.meets(call, func(http.ResponseWriter) bool {
				cancel()
				<-ended
				panic(http.ErrAbortHandler)
			})
			err := step.do(ctx, configured(t, s.settings, state))
			close(ended)
			cancel()
			s.meets(call, nil)
			if err == nil {
				continue
			}
			given++
			wantProblem(t, err, sdk.Cancelled)
			if err := step.do(t.Context(), configured(t, s.settings, state)); err != nil {
				t.Fatalf("%s, afterwards: %v", step.name, err)
			}
		}
		if given == 0 {
			t.Error("nothing was slow")
		}
	})
}
