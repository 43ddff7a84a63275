package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
)

// The test binary is run again as a plugin process that kills itself at the
// n-th step, for every n.
const killEnv = "FILES_TEST_KILL"

type victim struct {
	Settings   settings
	State      string
	Deployment sdk.Deployment
	// Rollback: revert one checkpoint instead of deploying.
	Rollback bool
	// KillAt is the number of a step, or KillOn its text.
	KillAt int
	KillOn string
}

func TestMain(m *testing.M) {
	if work := os.Getenv(killEnv); work != "" {
		if err := runVictim(work); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func runVictim(work string) error {
	var v victim
	if err := json.Unmarshal([]byte(work), &v); err != nil {
		return err
	}
	f := newFiles()
	f.settings = v.Settings
	n := 0
	f.step = func(what string) {
		if n++; n == v.KillAt || what == v.KillOn {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
	ctx := context.Background()
	if err := f.Configure(ctx, sdk.Instance{Name: "files", StateDir: v.State}); err != nil {
		return err
	}
	if v.Rollback {
		return f.Rollback(during(ctx, v.Deployment.Lineage, "rollback"), 1, &recorder{})
	}
	_, _, err := deploy(ctx, f, v.Deployment)
	return err
}

// run gives false if the process was killed before its end.
func (v victim) run(t *testing.T) bool {
	t.Helper()
	work, err := json.Marshal(v)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+string(work))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return true
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("step %d: %v\n%s", v.KillAt, err, out)
	}
	return false
}

func TestKilledAtEveryStep(t *testing.T) {
	for _, rollback := range []bool{false, true} {
		t.Run(fmt.Sprintf("rollback=%v", rollback), func(t *testing.T) {
			t.Parallel()
			first, second := certificate(t, "a.test"), certificate(t, "a.test")
			changed := false
			for n := 1; ; n++ {
				dir := t.TempDir()
				s := defaults(allIn(dir))
				v := victim{Settings: s, State: t.TempDir(), Deployment: second, Rollback: rollback, KillAt: n}
				put(t, s.Cert, "older", 0o604)
				older := look(t, dir)
				deployed(t, configured(t, s, v.State), first)
				before := look(t, dir)
				done := v.run(t)

				// What the host does next, in a new process.
				next := configured(t, s, v.State)
				must(t, next.edits.Unrecovered(t.Context()))
				must(t, next.Rollback(during(t.Context(), "a.test", "mend"), 0, &recorder{}))
				after := look(t, dir)
				same := cmp.Equal(before, after)
				switch {
				case same && changed:
					t.Fatalf("step %d: the tree is as before again", n)
				case !same && rollback:
					changed = true
					equal(t, older, after)
				case !same:
					changed = true
					equal(t, 5, len(after))
					equal(t, string(second.FullchainPEM)+string(second.KeyPEM), read(t, s.Combined))
					equal(t, string(second.KeyPEM), read(t, s.Key))
				}
				if done {
					if !changed || n < 15 {
						t.Fatalf("only %d steps, changed: %v", n-1, changed)
					}
					return
				}
			}
		})
	}
}

// Another run of certwright leaves alone what this one has under way.
func TestRecoveryKeepsToTheDead(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	s := settings{Cert: filepath.Join(dir, "{name}.pem")}
	f := configured(t, s, state)
	d := certificate(t, "a.test")
	ctx := during(t.Context(), "a.test", "x")
	must(t, f.Deploy(ctx, d, &recorder{}))
	_, err := f.Save(ctx, sdk.SaveRequest{}, &recorder{})
	must(t, err)
	other := configured(t, s, state)
	deployed(t, other, certificate(t, "b.test"))
	must(t, other.Rollback(during(t.Context(), "b.test", "rollback"), 1, &recorder{}))
	equal(t, string(d.LeafPEM), read(t, filepath.Join(dir, "a.test.pem")))
	c, err := f.Save(ctx, sdk.SaveRequest{Title: "title"}, &recorder{})
	must(t, err)
	equal(t, 1, len(c.Files))
}

// What a crash left and cannot be undone stops only those whom it concerns.
func TestWhatCannotBeRecovered(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	s := defaults(settings{Cert: filepath.Join(dir, "{name}.pem")})
	blocked := filepath.Join(dir, "a.test.pem")
	v := victim{Settings: s, State: state, Deployment: certificate(t, "a.test"), KillOn: "finalise: rename"}
	if v.run(t) {
		t.Fatal("it was not killed")
	}
	must(t, os.Remove(blocked))
	must(t, os.MkdirAll(filepath.Join(blocked, "x"), 0o755))

	next := configured(t, s, state)
	if next.edits.Unrecovered(t.Context()) == nil {
		t.Fatal("it was recovered")
	}
	r := &recorder{}
	b := certificate(t, "b.test")
	must(t, next.Deploy(during(t.Context(), "b.test", "x"), b, r))
	if len(r.progress) == 0 {
		t.Error("nobody was told")
	}
	_, err := next.Save(during(t.Context(), "b.test", "x"), sdk.SaveRequest{Title: "t"}, r)
	must(t, err)
	equal(t, string(b.LeafPEM), read(t, filepath.Join(dir, "b.test.pem")))

	must(t, os.RemoveAll(blocked))
	must(t, next.Rollback(during(t.Context(), "a.test", "mend"), 0, r))
	must(t, next.edits.Unrecovered(t.Context()))
	deployed(t, next, v.Deployment)
}
