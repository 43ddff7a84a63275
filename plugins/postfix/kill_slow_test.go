//go:build slow

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// The test binary is run again as a plugin process that kills itself at the
// n-th step, for every n.
const killEnv = "POSTFIX_TEST_KILL"

type victim struct {
	Settings   settings
	State      string
	Deployment sdk.Deployment
	Rollback   bool
	KillAt     int
}

func init() { mortal = runVictim }

func runVictim() bool {
	work := os.Getenv(killEnv)
	if work == "" {
		return false
	}
	var v victim
	err := json.Unmarshal([]byte(work), &v)
	if err == nil {
		err = v.work()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func (v victim) work() error {
	p := newPostfix()
	p.settings = v.Settings
	p.systemd.booted = filepath.Join(v.State, "no-systemd")
	n := 0
	p.step = func(string) {
		if n++; n == v.KillAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
	ctx, lineage := context.Background(), v.Deployment.Lineage
	if err := p.Configure(ctx, sdk.Instance{Name: "postfix", StateDir: v.State}); err != nil {
		return err
	}
	p.programs.confined = true // quicker, and that is how it mostly runs
	if v.Rollback {
		if err := p.Rollback(during(ctx, lineage, "back"), 1, &recorder{}); err != nil {
			return err
		}
	} else if _, err := stage(ctx, p, v.Deployment, "1", &recorder{}); err != nil {
		return err
	}
	if err := p.ConfigTest(during(ctx, lineage, "test"), &recorder{}); err != nil {
		return err
	}
	return p.Restart(during(ctx, lineage, "restart"), &recorder{})
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

// Killed at every step of a deployment or of a rollback: what the host does next,
// in a new process, brings main.cf to what it was or to what it was to be, byte
// for byte, and Postfix shows the certificate that fits.
func TestKilledAtEveryStep(t *testing.T) {
	m, base := running(t), t.TempDir()
	d := placed(t, m.path("deployed"), certificate(t, "a.test"))
	d.Names = d.Names[:1]
	before, old := m.tree(t), []byte(read(t, m.path("old.pem")))
	for _, rollback := range []bool{false, true} {
		for n := 1; ; n++ {
			state := filepath.Join(base, fmt.Sprint(rollback, n))
			must(t, os.Mkdir(state, 0o700))
			if rollback {
				p := m.plugin(t, state)
				p.programs.confined = true
				_, err := stage(t.Context(), p, d, "1", &recorder{})
				must(t, err)
			}
			v := victim{Settings: m.settings(), State: state, Deployment: d, Rollback: rollback, KillAt: n}
			done := v.run(t)

			p := m.plugin(t, state)
			p.programs.confined = true
			must(t, p.Rollback(during(t.Context(), "a.test", "drop"), 0, &recorder{}))
			c, err := p.Save(during(t.Context(), "a.test", "1 save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, &recorder{})
			must(t, err)
			deployed := strings.Contains(read(t, m.main()), d.ConfigPaths.Fullchain)
			if deployed != (c.ID != "") || done && deployed == rollback {
				t.Fatalf("rollback %v, step %d, done %v: deployed %v, checkpoint %q", rollback, n, done, deployed, c.ID)
			}
			must(t, p.ConfigTest(during(t.Context(), "a.test", "test"), &recorder{}))
			if deployed && (done || rollback) {
				must(t, p.Restart(during(t.Context(), "a.test", "serve"), &recorder{}))
				m.shows(t, d.LeafPEM)
			}
			if deployed {
				// The host takes back what was not proven.
				must(t, p.Rollback(during(t.Context(), "a.test", "drop again"), 1, &recorder{}))
			}
			equal(t, before, m.tree(t))
			if done {
				must(t, p.Restart(during(t.Context(), "a.test", "serve again"), &recorder{}))
				m.shows(t, old)
				if n < 8 {
					t.Errorf("only %d steps", n-1)
				}
				break
			}
			if t.Failed() {
				t.Fatalf("rollback %v, step %d", rollback, n)
			}
		}
	}
}
