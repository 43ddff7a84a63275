package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// TestNobody obtains, deploys and renews as a user that owns nothing but its own
// directories, with every plugin in a sandbox.
func TestNobody(t *testing.T) {
	// Where nobody may go, and short: it holds sockets.
	dir, err := os.MkdirTemp("/tmp", "nobody-") //nolint:usetesting // t.TempDir is too long, and root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	own := filepath.Join(dir, "own")
	for _, path := range []string{prefix, dir} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	user := &syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
	if os.Geteuid() == 0 {
		user.Uid, user.Gid = 65534, 65534
	}
	for _, path := range []string{own, filepath.Join(own, "web"), filepath.Join(own, "tls")} {
		err := os.Mkdir(path, 0o700)
		if err == nil {
			err = os.Chown(path, int(user.Uid), int(user.Gid))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	site := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(own, "web"))))
	t.Cleanup(site.Close)
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: site.Listener.Addr().(*net.TCPAddr).Port, NonceReject: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ca.Close() })
	write(t, filepath.Join(dir, "ca.pem"), string(ca.TLSRoots()), 0o644)
	write(t, filepath.Join(dir, "certwright.yaml"), `
agree_tos: true
instances:
  - {name: webroot, sandbox: required, settings: {path: `+own+`/web}}
  - {name: files, sandbox: required, settings: {fullchain: `+own+`/tls/chain.pem, key: `+own+`/tls/key.pem}}
certificates:
  - {name: site, names: [a.test, b.test], authenticate: [{with: [webroot]}], deploy: [files]}
`, 0o644)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	run := func(args ...string) string {
		cmd := exec.CommandContext(ctx, filepath.Join(prefix, "bin", "certwright"), append(args, "-n", "-v")...)
		cmd.Dir = own
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + own, "TMPDIR=" + own, "CERTWRIGHT_CONFIG_DIR=" + dir,
			"CERTWRIGHT_STATE_DIR=" + filepath.Join(own, "state"), "CERTWRIGHT_SERVER=" + ca.DirectoryURL(), "CERTWRIGHT_CA_BUNDLE=" + filepath.Join(dir, "ca.pem")}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("as uid %d: %v: %v\n%s", user.Uid, args, err, out)
		}
		if leak := plugintest.Leak(out); leak != "" {
			t.Errorf("%v has printed %s:\n%s", args, leak, out)
		}
		return string(out)
	}
	deployed := func() []byte {
		chain, err := os.ReadFile(filepath.Join(own, "tls", "chain.pem"))
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(own, "tls", "key.pem"))
		if err != nil || info.Mode().Perm() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != user.Uid {
			t.Errorf("the key is %v of uid %d, %v", info.Mode(), info.Sys().(*syscall.Stat_t).Uid, err)
		}
		return chain
	}
	run("run")
	before := deployed()
	run("renew", "--force-renewal")
	if after := deployed(); bytes.Equal(before, after) {
		t.Error("the renewed certificate is not deployed")
	}
	if text := run("rollback", "-i", "files"); !bytes.Equal(before, deployed()) {
		t.Errorf("the first certificate is not back: %s", text)
	}
	if text := run("certificates"); !strings.Contains(text, "a.test") {
		t.Error(text)
	}
}
