package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "certwright-plugin-files")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	target := t.TempDir()
	s := allIn(target)
	plugintest.Run(t, plugintest.Suite{
		Binary: binary,
		Settings: map[string]any{
			"cert": s.Cert, "chain": s.Chain, "fullchain": s.Fullchain, "key": s.Key, "combined": s.Combined,
			"test": "test -s " + s.Combined, "reload": "true",
		},
		DeployedFiles: []string{s.Cert, s.Fullchain, s.Combined},
	})
}
