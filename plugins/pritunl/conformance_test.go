package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released. The suite's instances know nothing of each
// other's certificates, so they come by a door that keeps its own.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "certwright-plugin-pritunl")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	f := newFake(t)
	plugintest.Run(t, plugintest.Suite{
		Binary: binary,
		Settings: map[string]any{
			"endpoint": f.frontDoor(t), "api_token": goodToken, "ca_file": f.caFile, "served_at": []string{f.address()},
		},
		Secrets: map[string][]byte{"api_secret": []byte(goodSecret)},
	})
}
