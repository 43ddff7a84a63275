package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released, beside a real Postfix. No file of its
// holds a certificate: main.cf names those of the host.
func TestConformance(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "certwright-plugin-postfix")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	m := running(t)
	s := m.settings()
	plugintest.Run(t, plugintest.Suite{
		Binary: binary,
		Settings: map[string]any{
			"config_dir": s.ConfigDir, "queue_directory": s.QueueDirectory,
		},
	})
}
