package main

import (
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "certwright-plugin-heroku")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cloud := start(t)
	a := cloud.app("shop", "a.plugincheck.test", "www.a.plugincheck.test", "*.plugincheck.test")
	a.lagging, a.starting = 0, 0
	token, _ := cloud.token("shop")
	plugintest.Run(t, plugintest.Suite{
		Binary:      binary,
		Settings:    map[string]any{"app": "shop", "endpoint": cloud.url},
		Secrets:     map[string][]byte{"token": []byte(token)},
		HTTPAddress: net.JoinHostPort("127.0.0.1", strconv.Itoa(cloud.site)),
	})
	equal(t, untouched, cloud.vars("shop"))
}
