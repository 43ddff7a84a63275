package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released, with a running varnishd.
func TestConformance(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "certwright-plugin-varnish")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	c := start(t, plain, nil)
	plugintest.Run(t, plugintest.Suite{
		Binary: binary, Settings: map[string]any{"address": c.address(t), "secret_file": c.secret}, HTTPAddress: c.web,
	})
}
