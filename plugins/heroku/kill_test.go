//go:build slow

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

// victim is the work of a process that is killed at a step.
type victim struct {
	Token, URL, State string
	// Do is "perform", "cleanup", "deploy" or "rollback".
	Do         string
	Deployment sdk.Deployment
	Challenges []sdk.Challenge
	KillAt     int
}

const victimEnv = "HEROKU_TEST_VICTIM"

func TestMain(m *testing.M) {
	if steps := plugintest.StartedAs("heroku"); steps != nil {
		h := newHeroku()
		h.step, h.pause = steps.At, time.Millisecond
		sdk.Serve(declaration(h))
		os.Exit(0)
	}
	if work := os.Getenv(victimEnv); work != "" {
		if err := runVictim(work); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runVictim(work string) error {
	var v victim
	if err := json.Unmarshal([]byte(work), &v); err != nil {
		return err
	}
	h, n := newHeroku(), 0
	h.settings, h.pause = v.settings(), time.Millisecond
	h.step = func(string) {
		if n++; n == v.KillAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
	ctx := context.Background()
	if err := h.Configure(ctx, sdk.Instance{Name: "test", StateDir: v.State}); err != nil {
		return err
	}
	ctx = operation(ctx, "a.test", "victim")
	switch v.Do {
	case "perform":
		return h.Perform(ctx, v.Challenges, &recorder{})
	case "cleanup":
		return h.Cleanup(ctx, v.Challenges, &recorder{})
	case "rollback":
		return h.Rollback(ctx, 1, &recorder{})
	}
	_, err := deploy(ctx, h, v.Deployment, "victim")
	return err
}

func (v victim) settings() settings { return (&fake{url: v.URL}).settings(v.Token, "shop") }

// run gives false if the process was killed before its end.
func (v victim) run(t *testing.T) bool {
	t.Helper()
	work, err := json.Marshal(v)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+string(work))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return true
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("step %d: %v\n%s", v.KillAt, err, out)
	}
	return false
}

// mend is what the host does for a deployment that was interrupted: what is only
// staged is dropped, the same Save tells whether there is a checkpoint, and that
// is taken back.
func mend(t *testing.T, h *heroku) {
	t.Helper()
	must(t, h.Rollback(operation(t.Context(), "a.test", "mend-0"), 0, &recorder{}))
	c, err := h.Save(operation(t.Context(), "a.test", "victim"), sdk.SaveRequest{Title: "Deployed"}, &recorder{})
	must(t, err)
	if c.ID != "" {
		must(t, h.Rollback(operation(t.Context(), "a.test", "mend-1"), 1, &recorder{}))
	}
	must(t, h.Restart(operation(t.Context(), "a.test", "mend-2"), &recorder{}))
}

// The process is killed at every step of every call. The next one finds what is to
// be taken back: the old certificate is served, with its key, or somebody else's;
// no endpoint is left; and the same again succeeds.
func TestKilledAtEveryStep(t *testing.T) {
	theirs, first, second := certificate(t, "a.test"), certificate(t, "a.test", "www.a.test"), certificate(t, "a.test", "www.a.test")
	for name, tt := range map[string]struct {
		before []sdk.Deployment
		do     string
		wanted sdk.Deployment
		least  int
	}{
		"first":               {nil, "deploy", first, 15},
		"renewal":             {[]sdk.Deployment{first}, "deploy", second, 10},
		"rollback to another": {[]sdk.Deployment{first, second}, "rollback", second, 5},
		"rollback to nothing": {[]sdk.Deployment{first}, "rollback", first, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				cloud := start(t)
				a := cloud.app("shop", "a.test", "www.a.test")
				token, _ := cloud.token("shop")
				v := victim{Token: token, URL: cloud.url, State: t.TempDir(), Do: tt.do, Deployment: tt.wanted, KillAt: n}
				own := cloud.theirs(t, a, theirs, "a.test")
				for i, d := range tt.before {
					_, err := deploy(t.Context(), configured(t, v.settings(), v.State), d, fmt.Sprint("before-", i))
					must(t, err)
				}
				done := v.run(t)
				next := configured(t, v.settings(), v.State)
				serves := func(d []sdk.Deployment) {
					t.Helper()
					if len(d) > 0 {
						cloud.shows(t, "a.test", d[len(d)-1].LeafPEM)
						cloud.shows(t, "www.a.test", d[len(d)-1].LeafPEM)
						equal(t, 2, len(cloud.endpoints("shop")))
						return
					}
					cloud.shows(t, "a.test", theirs.LeafPEM)
					equal(t, []string{own.name}, cloud.endpoints("shop"))
					if a.domains[2].sni != nil {
						t.Errorf("%s has a certificate", a.domains[2].hostname)
					}
				}
				switch {
				case tt.do == "rollback":
					must(t, next.Rollback(operation(t.Context(), "a.test", "victim"), 1, &recorder{}))
					serves(tt.before[:len(tt.before)-1])
				case done:
					serves([]sdk.Deployment{tt.wanted})
				default:
					mend(t, next)
					serves(tt.before)
					_, err := deploy(t.Context(), configured(t, v.settings(), v.State), tt.wanted, "again")
					must(t, err)
					serves([]sdk.Deployment{tt.wanted})
				}
				if t.Failed() {
					t.Fatalf("killed at step %d", n)
				}
				if done {
					if n <= tt.least {
						t.Errorf("only %d steps", n-1)
					}
					return
				}
			}
		})
	}
}

// Preboot is on again, and the variables are what they were, whenever Perform or
// Cleanup were killed.
func TestKilledWhilePerforming(t *testing.T) {
	for do, least := range map[string]int{"perform": 6, "cleanup": 2} {
		t.Run(do, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				cloud := start(t)
				a := cloud.app("shop", "a.test", "b.test")
				a.preboot, a.starting = true, 1
				a.vars["LETS_ENCRYPT_CHALLENGE"] = "of before"
				token, _ := cloud.token("shop")
				v := victim{Token: token, URL: cloud.url, State: t.TempDir(), Do: do, KillAt: n,
					Challenges: []sdk.Challenge{challenge("a.test", "one"), challenge("b.test", "two")}}
				if do == "cleanup" {
					must(t, configured(t, v.settings(), v.State).Perform(operation(t.Context(), "a.test", "1"), v.Challenges, &recorder{}))
				}
				done := v.run(t)
				r := &recorder{}
				must(t, configured(t, v.settings(), v.State).Cleanup(operation(t.Context(), "a.test", "mend"), v.Challenges, r))
				for _, c := range v.Challenges {
					must(t, r.results[c.ID].Err)
				}
				equal(t, true, a.preboot)
				equal(t, map[string]string{"OTHER": "stays", "LETS_ENCRYPT_CHALLENGE": "of before"}, cloud.vars("shop"))
				if t.Failed() {
					t.Fatalf("killed at step %d", n)
				}
				if done {
					if n <= least {
						t.Errorf("only %d steps", n-1)
					}
					return
				}
			}
		})
	}
}
