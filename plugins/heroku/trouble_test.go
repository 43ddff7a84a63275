package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// impatient gives an instance that soon gives up an attempt.
func impatient(t *testing.T, s settings, dir string, attempt time.Duration) *heroku {
	t.Helper()
	h := newHeroku()
	h.settings, h.pause, h.attempt = s, time.Millisecond, attempt
	must(t, h.Configure(t.Context(), sdk.Instance{Name: "test", StateDir: dir}))
	return h
}

// What lasts is a problem, and says at which request; the rollback that the host does
// then leaves everything as it was, once the trouble is over.
func TestLastingDeploymentTrouble(t *testing.T) {
	for what, trouble := range map[string]struct {
		do   func(*fake) func(http.ResponseWriter, *http.Request)
		code sdk.Code
	}{
		"409": {func(*fake) func(http.ResponseWriter, *http.Request) {
			return answers(409, "conflict", "try again")
		}, sdk.Conflict},
		"412": {func(*fake) func(http.ResponseWriter, *http.Request) {
			return answers(412, "precondition_failed", "try again")
		}, sdk.Conflict},
		"429": {func(*fake) func(http.ResponseWriter, *http.Request) {
			return answers(429, "rate_limit", "too many")
		}, sdk.RateLimited},
		"500":  {func(*fake) func(http.ResponseWriter, *http.Request) { return answers(500, "internal", "down") }, sdk.Unavailable},
		"cut":  {func(*fake) func(http.ResponseWriter, *http.Request) { return cut }, sdk.Unavailable},
		"slow": {func(f *fake) func(http.ResponseWriter, *http.Request) { return f.slow }, sdk.Unavailable},
	} {
		for _, at := range []string{"GET /domains", "POST /sni-endpoints", "PATCH /domains"} {
			t.Run(what+" "+at, func(t *testing.T) {
				t.Parallel()
				cloud, a, h := performing(t, "a.test")
				theirs := certificate(t, "a.test")
				own := cloud.theirs(t, a, theirs, "a.test")
				dir, attempt := t.TempDir(), time.Duration(0)
				if what == "slow" {
					attempt = time.Second
				}
				method, path, _ := strings.Cut(at, " ")
				cloud.next(method, path, 1<<30, trouble.do(cloud))
				_, err := deploy(t.Context(), impatient(t, h.settings, dir, attempt), certificate(t, "a.test"), "1")
				p := problem(t, err)
				if p.Code != trouble.code || p.Retry != sdk.RetryLater || !strings.Contains(p.Error(), method+" "+cloud.url+"/apps/shop"+path) {
					t.Errorf("%+v", p)
				}
				cloud.calm()
				rolledBack(t, configured(t, h.settings, dir), "a.test", "r")
				cloud.shows(t, "a.test", theirs.LeafPEM)
				equal(t, []string{own.name}, cloud.endpoints("shop"))
			})
		}
	}
}

// What does not answer is asked again, and given up at last; the answers go when it
// answers again.
func TestSlow(t *testing.T) {
	for _, at := range []string{"GET /config-vars", "PATCH /config-vars"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			cloud, _, h := performing(t, "a.test")
			dir := t.TempDir()
			method, path, _ := strings.Cut(at, " ")
			c := challenge("a.test", "token")
			r := &recorder{}
			cloud.next(method, path, 1, cloud.slow)
			must(t, impatient(t, h.settings, dir, 2*time.Second).Perform(t.Context(), []sdk.Challenge{c}, r))
			must(t, r.results[c.ID].Err)
			equal(t, c.KeyAuthorization, cloud.ask(t, "a.test", "token"))
			must(t, configured(t, h.settings, dir).Cleanup(t.Context(), []sdk.Challenge{c}, r))

			cloud.next(method, path, 1<<30, cloud.slow)
			must(t, impatient(t, h.settings, dir, time.Second).Perform(t.Context(), []sdk.Challenge{c}, r))
			if p := problem(t, r.results[c.ID].Err); p.Retry != sdk.RetryLater || p.Code != sdk.Unavailable || !strings.Contains(p.Error(), method+" ") {
				t.Errorf("%+v", p)
			}
			cloud.calm()
			must(t, configured(t, h.settings, dir).Cleanup(t.Context(), []sdk.Challenge{c}, r))
			must(t, r.results[c.ID].Err)
			equal(t, untouched, cloud.vars("shop"))
		})
	}
}
