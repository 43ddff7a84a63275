package sdk_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

// A plugin that its author runs tells where it is, serves one host after the
// other, each with its own settings, and leaves nothing when it is interrupted.
func TestServeToBeAttachedTo(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), binary(t), "serve", "--reattach")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var line string
	for lines := bufio.NewScanner(out); lines.Scan() && line == ""; {
		// What its own init prints comes first.
		if rest, ok := strings.CutPrefix(lines.Text(), "export CERTWRIGHT_REATTACH='"); ok {
			line = strings.TrimSuffix(rest, "'")
			break
		}
	}
	var data map[string]struct {
		Protocol string `json:"protocol"`
		Version  int    `json:"protocol_version"`
		PID      int    `json:"pid"`
		Network  string `json:"network"`
		Address  string `json:"addr"`
	}
	if err := json.Unmarshal([]byte(line), &data); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	at := data["self"]
	if at.Protocol != "grpc" || at.Version != 1 || at.PID != cmd.Process.Pid || at.Network != "unix" {
		t.Errorf("it says %s", line)
	}
	for host, settings := range []map[string]any{{}, {"nosuch": 1}, {}} {
		conn, err := grpc.NewClient("unix:"+at.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		c := client.New(conn)
		problems, err := c.Configure(t.Context(), client.Configuration{Instance: sdk.Instance{Name: "x"}, Settings: settings})
		if err != nil || len(problems) != len(settings) {
			t.Errorf("host %d: %v %v", host, problems, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if _, err := os.Stat(at.Address); !os.IsNotExist(err) {
		t.Errorf("the socket: %v", err)
	}
}

// Settings of the host before are gone.
func TestConfiguredAgain(t *testing.T) {
	type settings struct {
		Path string   `setting:"path"`
		List []string `setting:"list"`
		Mode string   `setting:"mode" default:"slow"`
		Kept int
	}
	s := &settings{Path: "/old", List: []string{"a"}, Mode: "fast", Kept: 3}
	sdk.ClearSettings(s)
	if s.Path != "" || s.List != nil || s.Mode != "" || s.Kept != 3 {
		t.Errorf("%+v", s)
	}
}
