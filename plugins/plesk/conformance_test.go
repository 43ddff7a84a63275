package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// The real binary, as it is released, by all of its ways at once.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "certwright-plugin-plesk")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ca, err := testca.Start(t.Context(), testca.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, ca.Close()) })
	f := newFake(t, ca.DNS())
	main := f.add(t, "plugincheck.test", "plugincheck.test")
	f.anyBelow = main
	s := f.settings(t)
	plugintest.Run(t, plugintest.Suite{
		Binary: binary,
		Settings: map[string]any{
			"server": s.Server, "ca_file": s.CAFile, "filemng": standIn(t, "u-plugincheck.test"), "vhosts": vhosts(t),
		},
		Secrets:     map[string][]byte{"secret_key": []byte(goodSecret)},
		WebrootPath: main.properties["www_root"],
		DNSAddress:  ca.DNS().Addr(),
	})
	if len(main.records) > 0 {
		t.Errorf("the suite leaves the records %v", main.records)
	}
	if got := tree(t, main.properties["www_root"]); got != "" {
		t.Errorf("the suite leaves files: %s", got)
	}
}
