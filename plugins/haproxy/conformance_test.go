package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released, with a running haproxy, in both ways to
// answer a challenge.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "certwright-plugin-haproxy")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for name, s := range map[string]setup{"map": {}, "listener and crt-list": {listener: true, crtList: true}} {
		t.Run(name, func(t *testing.T) {
			p := start(t, s)
			settings := p.settings(s)
			given := map[string]any{
				"binary": settings.Binary, "config": settings.Config, "socket": settings.Socket, "crt_dir": settings.CrtDir, "reload": "true",
			}
			files := []string{p.file("a.plugincheck.test")}
			if s.listener {
				given["listen"], given["crt_list"] = settings.Listen, settings.CrtList
			} else {
				given["map"] = settings.Map
			}
			plugintest.Run(t, plugintest.Suite{
				Binary: binary, Settings: given, HTTPAddress: loopback(p.web), DeployedFiles: files,
			})
		})
	}
}
