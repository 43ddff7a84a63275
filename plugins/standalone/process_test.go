package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
	"github.com/certwright/certwright/sdk/plugintest"
)

func TestConformance(t *testing.T) {
	web, alpn := freePort(t), freePort(t)
	plugintest.Run(t, plugintest.Suite{
		Binary:      build(t),
		Settings:    map[string]any{"http_port": web, "tls_port": alpn, "address": "127.0.0.1"},
		HTTPAddress: fmt.Sprint("127.0.0.1:", web),
		TLSAddress:  fmt.Sprint("127.0.0.1:", alpn),
	})
}

// The suite knows nothing of two processes and one port.
func TestAProcessFreesThePortForTheNext(t *testing.T) {
	binary := build(t)
	s := onLoopback(t) // for its ports only
	web, alpn := httpChallenge("a"), alpnChallenge(t, "dns", "a.example", "a.example")
	first, second := started(t, binary, s), started(t, binary, s)
	inPlace := func(a *client.Authenticator) {
		t.Helper()
		r := &recorder{}
		if err := a.Perform(t.Context(), []sdk.Challenge{web, alpn}, r); err != nil {
			t.Fatal(err)
		}
		for _, c := range []sdk.Challenge{web, alpn} {
			if err := r.result(t, c.ID).Err; err != nil {
				t.Fatal(err)
			}
		}
		if got := get(t, s, web.HTTP.Path); got != web.KeyAuthorization {
			t.Errorf("gives %q", got)
		}
		if _, err := handshake(t, s, "a.example", alpnProtocol); err != nil {
			t.Error(err)
		}
	}
	removed := func(a *client.Authenticator) {
		t.Helper()
		if err := a.Cleanup(t.Context(), []sdk.Challenge{web, alpn}, &recorder{}); err != nil {
			t.Fatal(err)
		}
	}
	inPlace(first)
	removed(second) // knows nothing of it: success, and nothing happens
	r := &recorder{}
	if err := second.Perform(t.Context(), []sdk.Challenge{web}, r); err != nil {
		t.Fatal(err)
	}
	if p := sdk.ProblemOf(r.result(t, web.ID).Err); p == nil || p.Code != sdk.Conflict {
		t.Errorf("the second process on a used port gets %v", p)
	}
	if got := get(t, s, web.HTTP.Path); got != web.KeyAuthorization {
		t.Errorf("the first process gives %q", got)
	}
	removed(first)
	closed(t, s.web)
	closed(t, s.alpn)
	inPlace(second)
	removed(second)
	closed(t, s.web)
	closed(t, s.alpn)
}

// build makes the binary as it is released.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "certwright-plugin-standalone")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// started gives a configured process of the plugin.
func started(t *testing.T, binary string, s *standalone) *client.Authenticator {
	t.Helper()
	c := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: client.Handshake(), VersionedPlugins: client.Plugins(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, AutoMTLS: true,
		Cmd: exec.Command(binary), Logger: hclog.NewNullLogger(), StartTimeout: 2 * time.Minute,
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
		Instance: sdk.Instance{Name: "test", StateDir: t.TempDir()},
		Settings: map[string]any{
			"http_port": s.settings.HTTPPort, "tls_port": s.settings.TLSPort, "address": s.settings.Address,
		},
	})
	if err != nil || len(problems) > 0 {
		t.Fatalf("configure: %v, %v", err, problems)
	}
	return connection.Authenticator()
}
