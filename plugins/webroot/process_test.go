package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
	"github.com/certwright/certwright/sdk/plugintest"
)

func TestConformance(t *testing.T) {
	root := realDir(t)
	plugintest.Run(t, plugintest.Suite{Binary: build(t), Settings: map[string]any{"path": root}, WebrootPath: root})
	if got := tree(t, root); got != "" {
		t.Errorf("the suite leaves %s", got)
	}
}

func TestAnotherProcessCleansWithoutReceipts(t *testing.T) {
	binary, root, state := build(t), realDir(t), t.TempDir()
	one, two := challenge("a.example", "one"), challenge("b.example", "two")
	first := started(t, binary, root, state, nil)
	performed(t, first.authenticator, "lineage", one, two)
	for _, c := range []sdk.Challenge{one, two} {
		if got := served(t, root, c); got != c.KeyAuthorization {
			t.Errorf("served as %q", got)
		}
	}
	first.kill() // without Cleanup, as by a crash
	cleaned(t, started(t, binary, root, state, nil).authenticator, "lineage", one, two)
	if got := tree(t, root); got != "" {
		t.Errorf("left over: %s", got)
	}
}

// The plugin runs as nobody, or as the user of the test if that is not root.
func TestWithoutPrivileges(t *testing.T) {
	binary, state, root := build(t), t.TempDir(), realDir(t)
	var nobody *syscall.Credential
	if os.Geteuid() == 0 {
		nobody = &syscall.Credential{Uid: 65534, Gid: 65534}
		if err := os.Chown(state, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	p := started(t, binary, root, state, nobody)
	c := challenge("a.example", "token")
	problem := failed(t, p.authenticator, c)
	if problem.Code != sdk.PermissionDenied || problem.Retry != sdk.RetryNever ||
		!strings.Contains(problem.Error(), root) || !strings.Contains(problem.Hint, root) {
		t.Errorf("the problem is %+v", problem)
	}
	cleaned(t, p.authenticator, "", c)
	if err := os.Chmod(root, 0o777); err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	if err := p.authenticator.Perform(t.Context(), []sdk.Challenge{c}, r); err != nil {
		t.Fatal(err)
	}
	if err := r.result(t, c.ID).Err; err != nil {
		t.Fatal(err)
	}
	if got := served(t, root, c); got != c.KeyAuthorization {
		t.Errorf("served as %q", got)
	}
	// Nobody cannot give the two directories to root, and says so.
	if nobody != nil && (len(r.progress) != 2 || !strings.Contains(r.progress[0], "65534:65534, not to 0:0")) {
		t.Errorf("the story is %q", r.progress)
	}
	cleaned(t, p.authenticator, "", c)
	if got := tree(t, root); got != "" {
		t.Errorf("left over: %s", got)
	}
}

// build makes the binary as it is released, where anybody can run it.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "certwright-plugin-webroot")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

type process struct {
	authenticator *client.Authenticator
	kill          func()
}

// started gives a configured process of the plugin.
func started(t *testing.T, binary, root, state string, as *syscall.Credential) process {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	cmd.Dir = "/"
	c := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: client.Handshake(), VersionedPlugins: client.Plugins(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, AutoMTLS: true,
		Cmd: cmd, Logger: hclog.NewNullLogger(), StartTimeout: 2 * time.Minute,
	})
	t.Cleanup(c.Kill)
	protocol, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	dispensed, err := protocol.Dispense(client.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	connection := dispensed.(*client.Client)
	problems, err := connection.Configure(t.Context(), client.Configuration{
		Instance: sdk.Instance{Name: "test", StateDir: state}, Settings: map[string]any{"path": root},
	})
	if err != nil || len(problems) > 0 {
		t.Fatalf("configure: %v, %v", err, problems)
	}
	return process{authenticator: connection.Authenticator(), kill: c.Kill}
}
