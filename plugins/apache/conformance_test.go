package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released, with a real server.
func TestConformance(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "certwright-plugin-apache")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	s := plain(t, `
<VirtualHost *:{http}>
    ServerName a.plugincheck.test
    ServerAlias *.plugincheck.test
    DocumentRoot {dir}/www
</VirtualHost>
`)
	plugintest.Run(t, plugintest.Suite{
		Binary:      binary,
		Settings:    map[string]any{"ctl": s.ctl, "config": s.config, "http_port": s.http, "https_port": s.https},
		HTTPAddress: s.addr4(s.http),
	})
}
