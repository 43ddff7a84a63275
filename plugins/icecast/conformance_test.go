package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released, with a running Icecast.
func TestConformance(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "certwright-plugin-icecast")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	s := start(t)
	plugintest.Run(t, plugintest.Suite{
		Binary: binary, DeployedFiles: []string{s.bundle},
		Settings: map[string]any{"config": s.config, "bundle": s.bundle, "pidfile": s.pidfile, "ssl_port": s.tls},
	})
}
