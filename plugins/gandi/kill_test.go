package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// The test binary is run again as a plugin process that kills itself at the
// n-th step, for every n.
const killEnv = "GANDI_TEST_KILL"

// pluginName is what the test binary is called where certwright runs it.
const pluginName = "certwright-plugin-gandi"

type victim struct {
	Settings   map[string]string
	State      string
	Deployment sdk.Deployment
	Rollback   bool
	Challenges []sdk.Challenge
	KillAt     int
}

func mortal() {
	if filepath.Base(os.Args[0]) == pluginName {
		x := newGandi()
		x.step = (&killer{path: filepath.Join(filepath.Dir(os.Args[0]), "fault")}).step
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

// killer kills the host and this process, its plugin, at the step that is the
// number in a file. The file is removed, so that it happens once, and the step is
// in a file beside it.
type killer struct {
	mu    sync.Mutex // steps come side by side
	path  string
	count int
}

func (f *killer) step(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	text, err := os.ReadFile(f.path)
	if n, bad := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || bad != nil || n != f.count {
		return
	}
	_ = os.WriteFile(f.path+".hit", fmt.Appendf(nil, "%d %s", f.count, what), 0o600)
	_ = os.Remove(f.path)
	_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}

func (v victim) settings() settings {
	s := v.Settings
	return defaults(settings{
		APIKey: sdk.Secret(s["api_key"]), RPCEndpoint: s["rpc_endpoint"], SFTPServer: s["sftp_server"], SFTPUser: s["sftp_user"],
		SFTPKey: sdk.Secret(s["sftp_key"]), HostKey: s["host_key"], InstanceType: s["instance_type"],
	})
}

func runVictim(work string) error {
	var v victim
	if err := json.Unmarshal([]byte(work), &v); err != nil {
		return err
	}
	g := newGandi()
	g.settings = v.settings()
	n := 0
	g.step = func(string) {
		if n++; n == v.KillAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
	ctx := context.Background()
	if err := g.Configure(ctx, sdk.Instance{Name: "gandi", StateDir: v.State}); err != nil {
		return err
	}
	switch {
	case len(v.Challenges) > 0:
		if err := g.Perform(ctx, v.Challenges, &recorder{}); err != nil {
			return err
		}
		return g.Cleanup(ctx, v.Challenges, &recorder{})
	case v.Rollback:
		return g.Rollback(during(ctx, v.Deployment.Lineage, "rollback"), 1, &recorder{})
	}
	return deploy(ctx, g, v.Deployment, "2")
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
