package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "certwright-plugin-proxmox")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	f := newFake(t, "pve1")
	// The suite's instances know nothing of each other's certificates.
	plugintest.Run(t, plugintest.Suite{
		Binary: binary,
		Settings: map[string]any{
			"endpoint": "https://" + f.frontDoor(t), "token_id": goodToken, "nodes": []string{"pve1"}, "ca_file": f.caFile, "force": true,
		},
		Secrets: map[string][]byte{"token_secret": []byte(goodSecret)},
	})
}
