package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "certwright-plugin-exec")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	plugintest.Run(t, plugintest.Suite{
		Binary: binary,
		Settings: map[string]any{
			"pre_hook": "true", "deploy_hook": "test -n \"$RENEWED_LINEAGE\"", "post_hook": "true",
			"pre": "test -s \"$csr_file\"", "success": "test -s \"$certificate_file\"", "post": "false",
		},
	})
}
