//go:build slow

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

// victim is the work of a process that is killed at a step.
type victim struct {
	Key, Secret, URL, State, Store string
	// Do is "perform", "deploy" or "rollback".
	Do         string
	Deployment sdk.Deployment
	Challenges []sdk.Challenge
	KillAt     int
}

const victimEnv = "S3FRONT_TEST_VICTIM"

func TestMain(m *testing.M) {
	if steps := plugintest.StartedAs("s3front"); steps != nil {
		f := newFront()
		f.step, f.patience = steps.At, hasty
		sdk.Serve(declaration(f))
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
	f := newFront()
	var n atomic.Int64 // objects are put side by side
	f.settings, f.patience = v.settings(), hasty
	f.step = func(string) {
		if n.Add(1) == int64(v.KillAt) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
	ctx := context.Background()
	if err := f.Configure(ctx, sdk.Instance{Name: "test", StateDir: v.State}); err != nil {
		return err
	}
	switch v.Do {
	case "perform":
		return f.Perform(operation(ctx, "a.test", "victim"), v.Challenges, &recorder{})
	case "rollback":
		return f.Rollback(operation(ctx, "a.test", "victim"), 1, &recorder{})
	}
	if _, err := deploy(ctx, f, v.Deployment, "victim"); err != nil {
		return err
	}
	_, err := f.Run(ctx, sdk.HookEvent{Event: sdk.EventPost, Renewed: []string{"a.test"}}, &recorder{})
	return err
}

func (v victim) settings() settings {
	return settings{
		AccessKeyID: sdk.Secret(v.Key), SecretAccessKey: sdk.Secret(v.Secret), Endpoint: v.URL, Store: v.Store,
		Region: "us-east-1", MinimumProtocol: "TLSv1.2_2021", Bucket: "site", Distributions: []string{"E1"},
	}
}

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
func mend(t *testing.T, f *front) {
	t.Helper()
	must(t, f.Rollback(operation(t.Context(), "a.test", "mend-0"), 0, &recorder{}))
	c, err := f.Save(operation(t.Context(), "a.test", "victim"), sdk.SaveRequest{Title: "Deployed"}, &recorder{})
	must(t, err)
	if c.ID != "" {
		must(t, f.Rollback(operation(t.Context(), "a.test", "mend-1"), 1, &recorder{}))
	}
	must(t, f.Restart(operation(t.Context(), "a.test", "mend-2"), &recorder{}))
}

// The process is killed at every step of every call. The next one finds what is to
// be taken back: the old certificate is served, with its key, or CloudFront's own;
// nothing is left in the store or in the bucket; and the same again succeeds.
func TestKilledAtEveryStep(t *testing.T) {
	first, second, other := certificate(t, "a.test"), certificate(t, "a.test"), rsaCertificate(t, 2048, "a.test")
	for name, tt := range map[string]struct {
		store string
		// before are deployed already; wanted is what is then.
		before []sdk.Deployment
		do     string
		wanted sdk.Deployment
		least  int
	}{
		"first, acm":           {inACM, nil, "deploy", first, 15},
		"first, iam":           {inIAM, nil, "deploy", first, 15},
		"renewal, acm":         {inACM, []sdk.Deployment{first}, "deploy", second, 12},
		"renewal, iam":         {inIAM, []sdk.Deployment{first}, "deploy", second, 12},
		"other kind of key":    {inACM, []sdk.Deployment{first}, "deploy", other, 15},
		"rollback to another":  {inACM, []sdk.Deployment{first, other}, "rollback", other, 8},
		"rollback to the same": {inACM, []sdk.Deployment{first, second}, "rollback", second, 5},
		"rollback to nothing":  {inIAM, []sdk.Deployment{first}, "rollback", first, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				cloud := start(t)
				who := cloud.open("")
				cloud.bucket("site", who)
				cloud.distribution("E1", who, documentOf(byDefaultXML, "a.test"))
				original := cloud.document("E1")
				v := victim{Key: who.key, Secret: who.secret, URL: cloud.url, State: t.TempDir(), Store: tt.store, Do: tt.do, Deployment: tt.wanted, KillAt: n}
				documents := []string{original}
				for i, d := range tt.before {
					_, err := deploy(t.Context(), configured(t, v.settings(), v.State), d, fmt.Sprint("before-", i))
					must(t, err)
					succeeded(t, configured(t, v.settings(), v.State), "a.test")
					documents = append(documents, cloud.document("E1"))
				}
				done := v.run(t)
				next := configured(t, v.settings(), v.State)
				serves := func(d []sdk.Deployment) {
					t.Helper()
					if len(d) == 0 {
						now, err := viewerOf([]byte(cloud.document("E1")))
						must(t, err)
						was, err := viewerOf([]byte(original))
						must(t, err)
						equal(t, was, now)
						return
					}
					cloud.shows(t, "a.test", d[len(d)-1].LeafPEM)
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
				succeeded(t, configured(t, v.settings(), v.State), "a.test")
				left := len(cloud.acmCertificates()) + len(cloud.iamCertificates())
				if want := len(tt.before); tt.do == "rollback" && left != min(1, want-1) || tt.do != "rollback" && left != 1 {
					t.Errorf("step %d: %d certificates are left", n, left)
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

func TestKilledWhilePerforming(t *testing.T) {
	for n := 1; ; n++ {
		cloud := start(t)
		who := cloud.open("")
		cloud.bucket("site", who)
		v := victim{Key: who.key, Secret: who.secret, URL: cloud.url, State: t.TempDir(), Store: inACM, Do: "perform", KillAt: n,
			Challenges: []sdk.Challenge{challenge("a.test", "one"), challenge("b.test", "two")}}
		done := v.run(t)
		r := &recorder{}
		must(t, configured(t, v.settings(), v.State).Cleanup(t.Context(), v.Challenges, r))
		equal(t, map[string]object{}, cloud.objects("site"))
		if done {
			if n < 3 {
				t.Errorf("only %d steps", n-1)
			}
			return
		}
	}
}
