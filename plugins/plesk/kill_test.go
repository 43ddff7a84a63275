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
	"github.com/certwright/certwright/sdk/plugintest"
)

// The test binary is run again as a plugin process that kills itself at the
// n-th step, for every n.
const killEnv = "PLESK_TEST_KILL"

type victim struct {
	Server, CAFile, Filemng string
	State                   string
	Deployment              sdk.Deployment
	Rollback                bool
	Challenges              []sdk.Challenge
	KillAt                  int
}

func mortal() {
	if steps := plugintest.StartedAs("plesk"); steps != nil {
		x := newPlesk()
		x.step = steps.At
		sdk.Serve(declaration(x))
		os.Exit(0)
	}
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

func (v victim) settings() settings {
	return defaults(settings{Server: v.Server, SecretKey: goodSecret, CAFile: v.CAFile, Filemng: v.Filemng})
}

func runVictim(work string) error {
	var v victim
	if err := json.Unmarshal([]byte(work), &v); err != nil {
		return err
	}
	p := newPlesk()
	p.settings = v.settings()
	n := 0
	p.step = func(string) {
		if n++; n == v.KillAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
	ctx := context.Background()
	if err := p.Configure(ctx, sdk.Instance{Name: "plesk", StateDir: v.State}); err != nil {
		return err
	}
	switch {
	case len(v.Challenges) > 0:
		if err := p.Perform(ctx, v.Challenges, &recorder{}); err != nil {
			return err
		}
		return p.Cleanup(ctx, v.Challenges, &recorder{})
	case v.Rollback:
		return p.Rollback(during(ctx, v.Deployment.Lineage, "rollback"), 1, &recorder{})
	}
	return deploy(ctx, p, v.Deployment, "2")
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
