package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// The test binary is run again as a plugin process that kills itself at the
// n-th step, for every n.
const killEnv = "PRITUNL_TEST_KILL"

type victim struct {
	Settings   settings
	State      string
	Deployment sdk.Deployment
	Rollback   bool
	KillAt     int
}

func mortal() {
	work := os.Getenv(killEnv)
	if work == "" {
		return
	}
	if err := runVictim(work); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runVictim(work string) error {
	var v victim
	if err := json.Unmarshal([]byte(work), &v); err != nil {
		return err
	}
	p := newPritunl()
	p.settings = v.Settings
	p.settings.APISecret = goodSecret // a secret is never encoded
	n := 0
	p.step = func(string) {
		if n++; n == v.KillAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
	ctx := context.Background()
	if err := p.Configure(ctx, sdk.Instance{Name: "pritunl", StateDir: v.State}); err != nil {
		return err
	}
	if v.Rollback {
		return back(ctx, p, v.Deployment.Lineage, "2", &recorder{})
	}
	return deploy(ctx, p, v.Deployment, "2", &recorder{})
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
