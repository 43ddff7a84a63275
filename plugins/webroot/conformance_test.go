package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "certwright-plugin-webroot")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	root := realDir(t)
	plugintest.Run(t, plugintest.Suite{Binary: binary, Settings: map[string]any{"path": root}, WebrootPath: root})
	if got := tree(t, root); got != "" {
		t.Errorf("the suite leaves %s", got)
	}
}
