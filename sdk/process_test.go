package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
	"github.com/certwright/certwright/sdk/plugintest"
)

// The test binary is also the plugin, when it is started by this name.
const (
	pluginName = "certwright-plugin-self"
	childEnv   = "SDK_TEST_CHILD"
)

func isPlugin() bool { return filepath.Base(os.Args[0]) == pluginName }

func init() {
	if isPlugin() && os.Getenv(childEnv) == "" {
		fmt.Println("a stray print before main")
	}
}

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(childEnv) != "":
		fmt.Println(strings.Join(os.Environ(), "\n"))
		os.Exit(0)
	case isPlugin():
		sdk.Serve(self())
	}
	goleak.VerifyTestMain(m)
}

// self prints a lot, and tells what a child of it sees.
func self() sdk.Plugin {
	p := performs(func(ctx context.Context, cs []sdk.Challenge, r sdk.Reporter) error {
		fmt.Println("a stray print in Perform")
		child := exec.CommandContext(ctx, os.Args[0])
		child.Env = append(os.Environ(), childEnv+"=1")
		environment, err := child.Output()
		r.Progress("environment", string(environment))
		for _, c := range cs {
			r.Result(sdk.Result{Subject: c.ID})
		}
		return err
	})
	p.Name, p.Version, p.Summary = "self", "1", "the test binary"
	p.Permissions.Environment = []string{"HOME"}
	return p
}

// binary is a link to the test binary by the plugin's name.
func binary(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), pluginName)
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// What the SDK promises for every plugin: stdout is guarded although the author
// prints before main and in Perform, SIGTERM is ignored, the process ends with
// its lifeline, describe needs no RPC, and all the rest of the suite.
func TestServeKeepsTheContract(t *testing.T) {
	for _, step := range plugintest.Check(t.Context(), plugintest.Suite{Binary: binary(t)}, nil) {
		if step.Outcome == plugintest.Failed {
			t.Errorf("%s: %s\n%s", step.Name, step.Obligation, step.Text)
		}
		if strings.HasPrefix(step.Name, "life/") && step.Outcome != plugintest.Passed {
			t.Errorf("%s: %s", step.Name, step.Outcome)
		}
	}
}

func TestDescribePrintsOnlyTheDescription(t *testing.T) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary(t), "describe")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	decoder := json.NewDecoder(&stdout)
	decoder.DisallowUnknownFields()
	var got sdk.Description
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want, err := self().Description()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		t.Errorf("something follows the description: %v", err)
	}
	if !strings.Contains(stderr.String(), "a stray print before main") {
		t.Errorf("the stray print is lost; stderr: %s", &stderr)
	}
}

func TestStartedByAPerson(t *testing.T) {
	for _, args := range [][]string{nil, {"describe", "more"}} {
		var stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), binary(t), args...)
		cmd.Stderr = &stderr
		err := cmd.Run()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%q: %v, want exit code 2", args, err)
		}
		if !strings.Contains(stderr.String(), "This is a Certwright plugin") {
			t.Errorf("%q: stderr %q", args, &stderr)
		}
	}
}

// Children see neither the cookie nor what go-plugin left in the environment;
// stray prints are on the real stderr, where the host reads them.
func TestChildrenDoNotTakeThemselvesForPlugins(t *testing.T) {
	var stderr bytes.Buffer
	process := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: client.Handshake(), VersionedPlugins: client.Plugins(), AutoMTLS: true, SkipHostEnv: true,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Logger: hclog.NewNullLogger(), Stderr: &stderr,
		Cmd: &exec.Cmd{Path: binary(t), Env: []string{"HOME=/nowhere", client.LifelineEnv + "-not"}},
	})
	defer process.Kill()
	protocol, err := process.Client()
	if err != nil {
		t.Fatal(err)
	}
	dispensed, err := protocol.Dispense(client.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	host := dispensed.(*client.Client)
	if problems, err := host.Configure(t.Context(), client.Configuration{}); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	h := &heard{}
	if err := host.Authenticator().Perform(t.Context(), oneChallenge, h); err != nil {
		t.Fatal(err)
	}
	environment := strings.Split(strings.TrimSpace(h.progress[0][1]), "\n")
	slices.Sort(environment)
	if diff := cmp.Diff([]string{"HOME=/nowhere", childEnv + "=1"}, environment); diff != "" {
		t.Errorf("environment of a child (-want +got):\n%s", diff)
	}
	process.Kill() // stderr is complete now
	if !strings.Contains(stderr.String(), "a stray print in Perform") {
		t.Errorf("the stray print is lost; stderr: %s", &stderr)
	}
}
