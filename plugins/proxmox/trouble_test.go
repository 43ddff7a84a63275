package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// What passes is waited out, and an answer that is lost when pveproxy restarts
// is looked for.
func TestPassingTrouble(t *testing.T) {
	again := map[string]string{"Retry-After": "0"}
	for name, faults := range map[string][]fault{
		"429":       {{method: "POST", status: 429, header: again}, {method: "GET", status: 429, header: again}},
		"GET 500":   {{method: "GET", status: 500}},
		"GET cut":   {{method: "GET"}},
		"slow":      {{method: "GET", slow: true}, {method: "DELETE", slow: true}},
		"DELETE":    {{method: "DELETE", status: 500}, {method: "DELETE", status: 429, header: again}, {method: "DELETE"}},
		"cut after": {{method: "POST", after: true}, {method: "DELETE", after: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, state := newFake(t, "pve1"), t.TempDir()
			f.fail(faults...)
			d := issued(t, "a.test")
			p := newProxmox()
			p.settings, p.limits = f.settings("pve1"), limits{wait: time.Millisecond}
			if name == "slow" {
				p.limits.attempt = 2 * time.Second
			}
			must(t, p.Configure(t.Context(), sdk.Instance{Name: "proxmox", StateDir: state}))
			must(t, deploy(t.Context(), p, d, "1", &recorder{}))
			equal(t, string(d.LeafPEM), shown(t, f.address("pve1")))
			must(t, back(t.Context(), p, "a.test", "1", &recorder{}))
			equal(t, [2]string{}, f.custom("pve1"))
		})
	}
}

// What lasts is a problem that may pass, and says what was attempted; once it is
// over, a rollback leaves what was there before.
func TestLastingTrouble(t *testing.T) {
	for name, test := range map[string]struct {
		fault fault
		code  sdk.Code
	}{
		"429":        {fault{status: 429, header: map[string]string{"Retry-After": "0"}}, sdk.RateLimited},
		"500":        {fault{status: 500}, sdk.Unavailable},
		"cut before": {fault{}, sdk.Unavailable},
		"slow":       {fault{slow: true}, sdk.Unavailable},
	} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			t.Run(name+" "+method, func(t *testing.T) {
				t.Parallel()
				f, state := newFake(t, "pve1"), t.TempDir()
				builtin := shown(t, f.address("pve1"))
				trouble := test.fault
				trouble.method, trouble.lasting = method, true
				f.fail(trouble)
				p := newProxmox()
				p.settings, p.limits = f.settings("pve1"), limits{wait: time.Millisecond}
				if trouble.slow {
					p.limits.attempt = time.Second
				}
				must(t, p.Configure(t.Context(), sdk.Instance{Name: "proxmox", StateDir: state}))
				d := issued(t, "a.test")
				attempt := func() error { return deploy(t.Context(), p, d, "1", &recorder{}) }
				if method == "DELETE" {
					must(t, deploy(t.Context(), plugin(t, f.settings("pve1"), state), d, "1", &recorder{}))
					attempt = func() error { return back(t.Context(), p, "a.test", "1", &recorder{}) }
				}
				err := attempt()
				wantError(t, err, test.code, method+" "+f.server.URL+"/api2/json/nodes/pve1/certificates/")
				equal(t, sdk.RetryLater, sdk.ProblemOf(err).Retry)
				f.calm()
				must(t, back(t.Context(), plugin(t, f.settings("pve1"), state), "a.test", "1", &recorder{}))
				equal(t, [2]string{}, f.custom("pve1"))
				equal(t, builtin, shown(t, f.address("pve1")))
			})
		}
	}
}

// A server that does not answer is given up when the call is.
func TestSlow(t *testing.T) {
	f := newFake(t, "pve1")
	p := plugin(t, f.settings("pve1"), t.TempDir())
	f.fail(fault{method: "GET", slow: true})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := deploy(ctx, p, issued(t, "a.test"), "1", &recorder{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
