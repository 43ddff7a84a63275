package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "certwright-plugin-standalone")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	web, alpn := plugintest.Port(t), plugintest.Port(t)
	plugintest.Run(t, plugintest.Suite{
		Binary:      binary,
		Settings:    map[string]any{"http_port": web, "tls_port": alpn, "address": "127.0.0.1"},
		HTTPAddress: fmt.Sprint("127.0.0.1:", web),
		TLSAddress:  fmt.Sprint("127.0.0.1:", alpn),
	})
}
