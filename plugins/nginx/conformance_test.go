package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released, beside a real server.
func TestConformance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "certwright-plugin-nginx")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	w := running(t, debian)
	s := w.settings()
	plugintest.Run(t, plugintest.Suite{
		Binary: path,
		Settings: map[string]any{
			"binary": s.Binary, "config": s.Config, "prefix": s.Prefix, "error_log": s.ErrorLog,
			"http_port": s.HTTPPort, "https_port": s.HTTPSPort,
		},
		HTTPAddress: both(w.http)[0],
	})
}
