package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// What passes is waited out; a second attempt is signed anew, because its nonce
// would be refused.
func TestPassingTrouble(t *testing.T) {
	again := map[string]string{"Retry-After": "0"}
	for name, faults := range map[string][]fault{
		"429":        {{method: "PUT", status: 429, header: again}, {method: "GET", status: 429, header: again}},
		"500":        {{method: "PUT", status: 500}, {method: "GET", status: 500}},
		"cut before": {{method: "PUT"}},
		"cut after":  {{method: "PUT", after: true}},
		"slow":       {{method: "GET", slow: true}, {method: "PUT", slow: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, state := newFake(t), t.TempDir()
			f.fail(faults...)
			d := issued(t, "a.test")
			p := newPritunl()
			p.settings, p.limits = f.instance(), limits{wait: time.Millisecond}
			if name == "slow" {
				p.limits.attempt = 2 * time.Second
			}
			must(t, p.Configure(t.Context(), sdk.Instance{Name: "pritunl", StateDir: state}))
			must(t, deploy(t.Context(), p, d, "1", &recorder{}))
			equal(t, string(d.LeafPEM), shown(t, f.address()))
			seen := map[string]bool{}
			for _, q := range f.requests() {
				nonce := q.header.Get("Auth-Nonce")
				if len(nonce) != 32 || seen[nonce] {
					t.Errorf("nonce %q again, or not of 32 characters", nonce)
				}
				seen[nonce] = true
			}
			must(t, back(t.Context(), plugin(t, f.instance(), state), "a.test", "1", &recorder{}))
			equal(t, f.ownLeaf(), shown(t, f.address()))
		})
	}
}

// What lasts is a problem that may pass, and says what was attempted; the rollback
// that the host does then leaves what was there, the key included, once the trouble
// is over.
func TestLastingTrouble(t *testing.T) {
	for name, test := range map[string]struct {
		fault fault
		code  sdk.Code
	}{
		"429":        {fault{status: 429, header: map[string]string{"Retry-After": "0"}}, sdk.RateLimited},
		"500":        {fault{status: 500}, sdk.Unavailable},
		"cut before": {fault{}, sdk.Unavailable},
		"cut after":  {fault{after: true}, sdk.Unavailable},
		"slow":       {fault{slow: true}, sdk.Unavailable},
	} {
		for _, method := range []string{"GET", "PUT"} {
			t.Run(name+" "+method, func(t *testing.T) {
				t.Parallel()
				f, state := newFake(t), t.TempDir()
				old := issued(t, "old.test")
				f.give(t, old.FullchainPEM, old.KeyPEM)
				write(t, f.caFile, string(old.ChainPEM))
				trouble := test.fault
				trouble.method, trouble.lasting = method, true
				f.fail(trouble)
				p := newPritunl()
				p.settings, p.limits = f.instance(), limits{wait: time.Millisecond}
				if trouble.slow {
					p.limits.attempt = time.Second
				}
				must(t, p.Configure(t.Context(), sdk.Instance{Name: "pritunl", StateDir: state}))
				err := deploy(t.Context(), p, issued(t, "a.test"), "1", &recorder{})
				wantError(t, err, test.code, method+" "+f.server.URL+"/settings")
				equal(t, sdk.RetryLater, sdk.ProblemOf(err).Retry)
				f.calm()
				must(t, back(t.Context(), plugin(t, f.instance(), state), "a.test", "1", &recorder{}))
				equal(t, [2]string{trimmed(old.FullchainPEM), trimmed(old.KeyPEM)}, [2]string{f.has("server_cert"), f.has("server_key")})
				equal(t, string(old.LeafPEM), shown(t, f.address()))
			})
		}
	}
}

// A server that does not answer is given up when the call is.
func TestSlow(t *testing.T) {
	f := newFake(t)
	p := plugin(t, f.instance(), t.TempDir())
	f.fail(fault{method: "GET", slow: true})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := deploy(ctx, p, issued(t, "a.test"), "1", &recorder{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
