package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released, with a running hitch.
func TestConformance(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "certwright-plugin-hitch")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	p := start(t)
	s := p.settings()
	plugintest.Run(t, plugintest.Suite{
		Binary: binary, DeployedFiles: []string{p.file("a.plugincheck.test")},
		Settings: map[string]any{"config": s.Config, "pem_dir": s.PemDir, "pidfile": s.Pidfile},
	})
}
