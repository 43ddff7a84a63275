package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

// performing puts an app in place and gives an instance for it.
func performing(t *testing.T, domains ...string) (*fake, *app, *heroku) {
	t.Helper()
	cloud := start(t)
	a := cloud.app("shop", domains...)
	token, _ := cloud.token("shop")
	return cloud, a, configured(t, cloud.settings(token, "shop"), t.TempDir())
}

// ask asks the router as the CA does.
func (f *fake) ask(t *testing.T, name, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(f.site)+"/.well-known/acme-challenge/"+token, nil)
	must(t, err)
	req.Host = name
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	must(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	return strings.TrimSpace(string(body))
}

var untouched = map[string]string{"OTHER": "stays"}

// Several names of one app are answered at once, after the dynos have restarted;
// preboot is off meanwhile and on again, and nothing is left.
func TestAnswers(t *testing.T) {
	for _, preboot := range []bool{false, true} {
		cloud, a, h := performing(t, "a.test", "b.test", "*.c.test")
		a.preboot = preboot
		cloud.page = 1 // every list has several pages
		challenges := []sdk.Challenge{challenge("a.test", "token-a"), challenge("b.test", "token_b"), challenge("www.c.test", "token-c")}
		r := &recorder{}
		must(t, h.Perform(operation(t.Context(), "a.test", "1"), challenges, r))
		for _, c := range challenges {
			must(t, r.results[c.ID].Err)
			equal(t, c.KeyAuthorization, cloud.ask(t, c.Identifier.Value, c.Token))
		}
		equal(t, preboot, a.preboot)
		equal(t, []bool{false}, a.prebootWas)
		equal(t, challenges[0].KeyAuthorization, cloud.vars("shop")["LETS_ENCRYPT_CHALLENGE"])
		equal(t, 8, a.version) // one restart for all of them
		// The same again is no restart.
		must(t, h.Perform(operation(t.Context(), "a.test", "1"), challenges, r))
		equal(t, 8, a.version)
		// A new process, without receipts, twice.
		for range 2 {
			next := configured(t, h.settings, t.TempDir())
			must(t, next.Cleanup(operation(t.Context(), "a.test", "2"), challenges, r))
			for _, c := range challenges {
				must(t, r.results[c.ID].Err)
			}
			equal(t, untouched, cloud.vars("shop"))
			equal(t, 9, a.version)
		}
	}
}

// Two orders at the same app do not take each other's answers away.
func TestTwoOrders(t *testing.T) {
	cloud, a, h := performing(t, "a.test", "b.test")
	first, second := challenge("a.test", "one"), challenge("b.test", "two")
	r := &recorder{}
	must(t, h.Perform(operation(t.Context(), "a.test", "1"), []sdk.Challenge{first}, r))
	must(t, h.Perform(operation(t.Context(), "b.test", "2"), []sdk.Challenge{second}, r))
	equal(t, first.KeyAuthorization, cloud.ask(t, "a.test", "one"))
	must(t, h.Cleanup(t.Context(), []sdk.Challenge{second}, r))
	equal(t, first.KeyAuthorization, cloud.ask(t, "a.test", "one")) // the app has restarted by now
	equal(t, "up", a.dynos[0].state)
	equal(t, `{"one":"one.thumbprint"}`, cloud.vars("shop")["LETS_ENCRYPT_CHALLENGES"])
	equal(t, first.KeyAuthorization, cloud.vars("shop")["LETS_ENCRYPT_CHALLENGE"])
	must(t, h.Cleanup(t.Context(), []sdk.Challenge{first}, r))
	equal(t, untouched, cloud.vars("shop"))
}

// What the variable held before comes back.
func TestVariableOfBefore(t *testing.T) {
	cloud, a, h := performing(t, "a.test")
	a.vars["LETS_ENCRYPT_CHALLENGE"] = "something else"
	c := challenge("a.test", "token")
	r := &recorder{}
	must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
	equal(t, c.KeyAuthorization, cloud.vars("shop")["LETS_ENCRYPT_CHALLENGE"])
	next := configured(t, h.settings, stateOf(h))
	must(t, next.Cleanup(t.Context(), []sdk.Challenge{c}, r))
	equal(t, map[string]string{"OTHER": "stays", "LETS_ENCRYPT_CHALLENGE": "something else"}, cloud.vars("shop"))
	// And a Cleanup of what never was put takes nothing away.
	must(t, next.Cleanup(t.Context(), []sdk.Challenge{c}, r))
	equal(t, "something else", cloud.vars("shop")["LETS_ENCRYPT_CHALLENGE"])
}

// An answer that somebody has left does not keep the variables from getting back
// what they held.
func TestStaleAnswer(t *testing.T) {
	for name, before := range map[string]map[string]string{
		"beside another":     {"LETS_ENCRYPT_CHALLENGE": "something else", "LETS_ENCRYPT_CHALLENGES": `{"stale":"stale.print"}`},
		"in one of the two":  {"LETS_ENCRYPT_CHALLENGES": `{"stale":"stale.print"}`},
		"in both of the two": {"LETS_ENCRYPT_CHALLENGE": "stale.print", "LETS_ENCRYPT_CHALLENGES": `{"stale":"stale.print"}`},
	} {
		cloud, a, h := performing(t, "a.test", "b.test")
		maps.Copy(a.vars, before)
		want := cloud.vars("shop")
		first, second := challenge("a.test", "one"), challenge("b.test", "two")
		r := &recorder{}
		for _, c := range []sdk.Challenge{first, second} {
			must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
			must(t, r.results[c.ID].Err)
		}
		must(t, configured(t, h.settings, stateOf(h)).Cleanup(t.Context(), []sdk.Challenge{second}, r))
		equal(t, first.KeyAuthorization, cloud.ask(t, "a.test", "one"))
		must(t, configured(t, h.settings, stateOf(h)).Cleanup(t.Context(), []sdk.Challenge{first}, r))
		if diff := cmp.Diff(want, cloud.vars("shop")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What is no answer in the variable with the answers is somebody's, and stays.
func TestForeignVariable(t *testing.T) {
	for _, text := range []string{"token.print", `{"color":"red"}`, `{"port":80}`, `["one"]`, "null"} {
		cloud, a, h := performing(t, "a.test")
		a.preboot, a.vars["LETS_ENCRYPT_CHALLENGE"], a.vars["LETS_ENCRYPT_CHALLENGES"] = true, "of before", text
		want := cloud.vars("shop")
		c := challenge("a.test", "token")
		r := &recorder{}
		must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
		p := problem(t, r.results[c.ID].Err)
		if p.Code != sdk.Conflict || p.Retry != sdk.RetryNever || !strings.Contains(p.Error(), "LETS_ENCRYPT_CHALLENGES") || !strings.Contains(p.Hint, "setting variables") {
			t.Errorf("%s: %+v", text, p)
		}
		must(t, h.Cleanup(t.Context(), []sdk.Challenge{c}, r))
		must(t, r.results[c.ID].Err)
		equal(t, nil, cloud.changes())
		equal(t, want, cloud.vars("shop"))
		// It may come between the two.
		delete(a.vars, "LETS_ENCRYPT_CHALLENGES")
		must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
		must(t, r.results[c.ID].Err)
		a.vars["LETS_ENCRYPT_CHALLENGES"] = text
		must(t, h.Cleanup(t.Context(), []sdk.Challenge{c}, r))
		must(t, r.results[c.ID].Err)
		equal(t, want, cloud.vars("shop"))
	}
}

// Preboot comes back on every path, and the variables with the Cleanup.
func TestPrebootComesBack(t *testing.T) {
	for name, tt := range map[string]struct {
		trouble func(*fake, *app, *heroku, context.CancelFunc)
		code    sdk.Code
		hint    string
	}{
		"variables refused": {func(c *fake, _ *app, _ *heroku, _ context.CancelFunc) {
			c.next(http.MethodPatch, "/config-vars", 1, answers(422, "invalid_params", "no"))
		}, sdk.InvalidConfig, ""},
		"dynos too slow": {func(_ *fake, a *app, h *heroku, _ context.CancelFunc) {
			a.starting, h.settings.DynoWait = 1<<30, 30*time.Millisecond
		}, sdk.Timeout, "heroku logs --app shop"},
		"dyno crashes": {func(_ *fake, a *app, _ *heroku, _ context.CancelFunc) { a.crashes = true }, sdk.NotRunning, "heroku logs"},
		"no web dyno":  {func(_ *fake, a *app, _ *heroku, _ context.CancelFunc) { a.dynos, a.quantity = a.dynos[1:], 0 }, sdk.NotRunning, "ps:scale web=1"},
		"no web":       {func(_ *fake, a *app, _ *heroku, _ context.CancelFunc) { a.dynos, a.quantity = a.dynos[1:], -1 }, sdk.NotRunning, "ps:scale web=1"},
		"cancelled": {func(c *fake, a *app, _ *heroku, cancel context.CancelFunc) {
			c.next(http.MethodGet, "/dynos", 1, func(w http.ResponseWriter, r *http.Request) { cancel(); c.slow(w, r) })
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cloud, a, h := performing(t, "a.test")
			a.preboot = true
			c := challenge("a.test", "token")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tt.trouble(cloud, a, h, cancel)
			r := &recorder{}
			err := h.Perform(ctx, []sdk.Challenge{c}, r)
			if tt.code == "" {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("it ends with %v", err)
				}
			} else if p := problem(t, r.results[c.ID].Err); p.Code != tt.code || !strings.Contains(p.Hint, tt.hint) || !strings.Contains(p.Error(), "app shop") {
				t.Errorf("%+v", p)
			}
			equal(t, true, a.preboot)
			must(t, configured(t, h.settings, stateOf(h)).Cleanup(t.Context(), []sdk.Challenge{c}, r))
			must(t, r.results[c.ID].Err)
			equal(t, untouched, cloud.vars("shop"))
		})
	}
}

// For a moment of a restart no dyno is to be seen: that is waited for.
func TestDynosUnseen(t *testing.T) {
	cloud, a, h := performing(t, "a.test")
	a.unseen = 3
	c := challenge("a.test", "token")
	r := &recorder{}
	must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
	must(t, r.results[c.ID].Err)
	equal(t, c.KeyAuthorization, cloud.ask(t, "a.test", "token"))
	equal(t, 0, a.unseen)
	a.unseen, h.settings.DynoWait = 1<<30, 30*time.Millisecond
	must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
	if p := problem(t, r.results[c.ID].Err); p.Code != sdk.Timeout || p.Retry != sdk.RetryLater {
		t.Errorf("%+v", p)
	}
	waiting, err := h.unseen(t.Context(), "shop")
	must(t, err)
	equal(t, "none of 1 web dynos is there", waiting)
}

// If even that fails, the Cleanup does it.
func TestPrebootComesBackLater(t *testing.T) {
	cloud, a, h := performing(t, "a.test")
	a.preboot = true
	c := challenge("a.test", "token")
	r := &recorder{}
	h.step = func(what string) {
		if what == "switch preboot on" {
			cloud.next(http.MethodPatch, "/features", 100, answers(500, "internal", "down"))
		}
	}
	must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
	if p := problem(t, r.results[c.ID].Err); p.Retry != sdk.RetryLater {
		t.Errorf("%+v", p)
	}
	equal(t, false, a.preboot)
	cloud.calm()
	must(t, configured(t, h.settings, stateOf(h)).Cleanup(t.Context(), []sdk.Challenge{c}, r))
	equal(t, true, a.preboot)
	equal(t, untouched, cloud.vars("shop"))
}

// A name that the app does not have is added, and fails with the place that DNS
// has to lead to; other names go on.
func TestMissingDomain(t *testing.T) {
	cloud, a, h := performing(t, "a.test", "www.new.test")
	good, missing := challenge("a.test", "good"), challenge("new.test", "new")
	r := &recorder{}
	must(t, h.Perform(t.Context(), []sdk.Challenge{good, missing}, r))
	must(t, r.results[good.ID].Err)
	p := problem(t, r.results[missing.ID].Err)
	added := a.domains[len(a.domains)-1]
	if p.Code != sdk.NotFound || p.Retry != sdk.RetryNever || added.hostname != "new.test" || !strings.Contains(p.Hint, "haystack-"+added.id[:8]+".herokudns.com by a CNAME") {
		t.Errorf("%+v, added %q", p, added.hostname)
	}
	must(t, h.Cleanup(t.Context(), []sdk.Challenge{good, missing}, r))
	equal(t, untouched, cloud.vars("shop"))
	h.settings.AddDomains = false
	other := challenge("other.test", "other")
	must(t, h.Perform(t.Context(), []sdk.Challenge{other}, r))
	if p := problem(t, r.results[other.ID].Err); !strings.Contains(p.Hint, "heroku domains:add other.test --app shop") || a.domains[len(a.domains)-1] != added {
		t.Errorf("%+v", p)
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change    func(*fake, *token, *settings)
		challenge func(*sdk.Challenge)
		code      sdk.Code
		text      string
		hint      string
	}{
		"wrong token":   {change: func(_ *fake, _ *token, s *settings) { s.Token = "wrong" }, code: sdk.Credentials, text: "Invalid credentials provided. (unauthorized)"},
		"expired token": {change: func(_ *fake, w *token, _ *settings) { w.expired = true }, code: sdk.Credentials, text: "unauthorized"},
		"read only":     {change: func(_ *fake, w *token, _ *settings) { w.readOnly = true }, code: sdk.PermissionDenied, text: "forbidden", hint: "README"},
		"no app":        {change: func(_ *fake, _ *token, s *settings) { s.App = "nowhere" }, code: sdk.NotFound, text: "app nowhere", hint: "settings app and apps"},
		"other's app":   {change: func(c *fake, _ *token, s *settings) { c.app("theirs"); s.App = "theirs" }, code: sdk.PermissionDenied, text: "You do not have access to the app theirs"},
		"unserved":      {change: func(_ *fake, _ *token, s *settings) { s.App, s.Apps = "", map[string]string{"b.test": "shop"} }, code: sdk.NotFound, text: "no app is set for a.test"},
		"wildcard":      {challenge: func(c *sdk.Challenge) { c.Identifier.Wildcard = true }, code: sdk.Unsupported, text: "*.a.test", hint: "DNS authenticator"},
		"token":         {challenge: func(c *sdk.Challenge) { c.Token = `"` }, code: sdk.Unsupported, text: "base64url"},
		"type":          {challenge: func(c *sdk.Challenge) { c.Type = sdk.DNS01 }, code: sdk.Unsupported, text: "http-01 only"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := start(t)
			cloud.app("shop", "a.test", "b.test")
			text, who := cloud.token("shop")
			s := cloud.settings(text, "shop")
			c, good := challenge("a.test", "token"), challenge("b.test", "good")
			if tt.change != nil {
				tt.change(cloud, who, &s)
			}
			if tt.challenge != nil {
				tt.challenge(&c)
			}
			h := configured(t, s, t.TempDir())
			r := &recorder{}
			must(t, h.Perform(t.Context(), []sdk.Challenge{c, good}, r))
			p := problem(t, r.results[c.ID].Err)
			if p.Code != tt.code || p.Retry != sdk.RetryNever || !strings.Contains(p.Error(), tt.text) || !strings.Contains(p.Hint, tt.hint) || strings.Contains(p.Error(), text) {
				t.Errorf("%+v", p)
			}
			if tt.challenge != nil || name == "unserved" {
				must(t, r.results[good.ID].Err)
			}
		})
	}
}

// What goes wrong for a moment is tried again; for good it is said.
func TestTrouble(t *testing.T) {
	for name, do := range map[string]func(http.ResponseWriter, *http.Request){
		"429": answers(429, "rate_limit", "Your account reached the API rate limit"), "500": answers(500, "internal", "down"), "cut": cut,
	} {
		for _, path := range []string{"/config-vars", "/features", "/dynos", "/releases", "/domains"} {
			cloud, a, h := performing(t, "a.test")
			a.preboot = true
			c := challenge("a.test", "token")
			cloud.next("", path, 2, do)
			r := &recorder{}
			must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
			must(t, r.results[c.ID].Err)
			must(t, h.Cleanup(t.Context(), []sdk.Challenge{c}, r))
			must(t, r.results[c.ID].Err)
			equal(t, untouched, cloud.vars("shop"))
			cloud.next("", path, 1000, do)
			must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
			if p := problem(t, r.results[c.ID].Err); p.Retry != sdk.RetryLater {
				t.Errorf("%s %s: %+v", name, path, p)
			}
		}
	}
}

func TestAppIsGone(t *testing.T) {
	cloud, _, h := performing(t, "a.test")
	c := challenge("a.test", "token")
	r := &recorder{}
	must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
	a := cloud.apps["shop"]
	delete(cloud.apps, "shop")
	must(t, h.Cleanup(t.Context(), []sdk.Challenge{c}, r))
	must(t, r.results[c.ID].Err)
	a.dynos[0].server.Close()
}

func TestSettings(t *testing.T) {
	good := (&fake{url: "https://api.heroku.com"}).settings("HRKU", "shop")
	must(t, good.check())
	for name, tt := range map[string]struct {
		change  func(*settings)
		subject string
	}{
		"no app":       {func(s *settings) { s.App = "" }, "app"},
		"app":          {func(s *settings) { s.App = "https://shop.herokuapp.com" }, "app"},
		"apps":         {func(s *settings) { s.Apps = map[string]string{"a.test": "No App"} }, "apps"},
		"twice":        {func(s *settings) { s.Apps = map[string]string{"a.test": "one", "b.test,A.test.": "two"} }, "apps"},
		"empty name":   {func(s *settings) { s.Apps = map[string]string{"a.test,": "one"} }, "apps"},
		"variable":     {func(s *settings) { s.Variable = "A-B" }, "variable"},
		"one variable": {func(s *settings) { s.Variables = s.Variable }, "variables"},
		"no time":      {func(s *settings) { s.DynoWait = 0 }, "dyno_wait"},
		"address":      {func(s *settings) { s.Endpoints = []string{"a.test"} }, "endpoints"},
	} {
		s := good
		tt.change(&s)
		p := problem(t, s.check())
		if p.Subject != tt.subject || p.Code != sdk.InvalidConfig || p.Retry != sdk.RetryNever || p.Hint == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	h := newHeroku()
	h.settings = good
	h.settings.Endpoint = "api.heroku.com"
	if p := problem(t, h.Configure(t.Context(), sdk.Instance{ValidateOnly: true})); p.Subject != "endpoint" || p.Code != sdk.InvalidConfig {
		t.Errorf("%+v", p)
	}
	s := settings{App: "rest", Apps: map[string]string{"a.test, b.test": "one"}}
	for name, want := range map[string]string{"a.test": "one", "B.test.": "one", "www.a.test": "rest"} {
		equal(t, want, s.appOf(name))
	}
}
