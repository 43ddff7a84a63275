package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
)

const frozen = "../../sdk/testdata/v1plugin"

// buildFrozen builds the plugin of the first release, as its own go.mod says.
func buildFrozen(t *testing.T, binary string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", binary, ".")
	cmd.Dir = frozen
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build in %s: %v\n%s", frozen, err, out)
	}
}

// A plugin that was built against the first release proves, deploys, asks and is
// told on today's host. If this fails the host is to be mended, not the plugin.
func TestFrozenPlugin(t *testing.T) {
	dir, web := t.TempDir(), t.TempDir()
	etc, plugins, target := filepath.Join(dir, "etc"), filepath.Join(dir, "plugins"), filepath.Join(dir, "target.pem")
	for _, made := range []string{etc, plugins} {
		if err := os.Mkdir(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	buildFrozen(t, filepath.Join(plugins, "certwright-plugin-v1plugin"))
	site := httptest.NewServer(http.FileServer(http.Dir(web)))
	defer site.Close()
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: site.Listener.Addr().(*net.TCPAddr).Port, NonceReject: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ca.Close() })
	write(t, filepath.Join(dir, "ca.pem"), string(ca.TLSRoots()), 0o644)
	write(t, filepath.Join(etc, "certwright.yaml"), fmt.Sprintf(`
server: %s
ca_bundle: %s/ca.pem
agree_tos: true
instances:
  - {name: old, plugin: v1plugin, settings: {web: %s, target: %s, question: true}}
certificates:
  - name: site
    names: [a.test, b.test]
    authenticate: [{with: [old]}]
    deploy: [old]
`, ca.DirectoryURL(), dir, web, target), 0o600)

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(prefix, "bin", "certwright"), "run", "--plugin-dir", plugins)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader("go ahead\n")
	cmd.Env = append(os.Environ(), "CERTWRIGHT_CONFIG_DIR="+etc, "CERTWRIGHT_STATE_DIR="+filepath.Join(dir, "state"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte(`the answer was "go ahead"`)) {
		t.Errorf("what the plugin asked was not answered:\n%s", out)
	}
	chain, err := os.ReadFile(filepath.Join(dir, "state", "live", "site", "fullchain.pem"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if deployed, err := os.ReadFile(target); err != nil || !bytes.Equal(deployed, chain) {
		t.Errorf("%s is not what was issued: %v\n%s", target, err, out)
	}
	if left, err := fs.Glob(os.DirFS(web), ".well-known/acme-challenge/*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	events, err := os.ReadFile(filepath.Join(dir, "state", "plugins", "old", "events"))
	if err != nil || string(events) != "success site\nfinish \n" {
		t.Errorf("the plugin was told of %q, %v\n%s", events, err, out)
	}
}

// frozenSum is of the files of the plugin, by name. Nobody has a reason to
// change it before major 1 goes.
const frozenSum = "593c1b4f75428ce04076c0f4090d6e0e100b24718801517b2c55720d1eb21f7a"

func TestFrozenPluginIsFrozen(t *testing.T) {
	sum := sha256.New()
	err := fs.WalkDir(os.DirFS(frozen), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(frozen, name))
		fmt.Fprintf(sum, "%s %x\n", name, sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != frozenSum {
		t.Errorf("the files of %s are not those of the release (now %s): restore them, and read its README.md", frozen, got)
	}
}
