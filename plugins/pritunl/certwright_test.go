package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// install gives the directory that the built tree is installed in.
func install(t *testing.T) string {
	t.Helper()
	// Plugins that others may write to are not run. The mask is that of the
	// whole process, and no test of this package runs beside this one.
	defer syscall.Umask(syscall.Umask(0o022))
	prefix := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-C", "../..", "install", "DESTDIR="+prefix, "PREFIX=")
	for _, entry := range os.Environ() { // those of the make that runs this
		if !strings.HasPrefix(entry, "MAKE") && !strings.HasPrefix(entry, "MFLAGS") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	return prefix
}

// host is certwright with a state of its own.
type host struct {
	prefix, dir string
	// faulty is the plugin that can be made to fail; nil: the one that is installed.
	faulty *plugintest.Faulty
}

// newHost makes one whose configuration has the instances standalone and what is
// given.
func newHost(t *testing.T, prefix, instances string) *host {
	t.Helper()
	port := plugintest.Port(t)
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: port})
	must(t, err)
	t.Cleanup(func() { must(t, ca.Close()) })
	h := &host{prefix: prefix, dir: t.TempDir()}
	plugintest.Left(t, h.dir, "plugins/certwright-plugin-*")
	must(t, os.MkdirAll(filepath.Join(h.dir, "etc"), 0o755))
	write(t, filepath.Join(h.dir, "ca.pem"), string(ca.TLSRoots()))
	write(t, filepath.Join(h.dir, "etc", "certwright.yaml"), fmt.Sprintf(`email: ops@a.test
server: %s
instances:
  - {name: standalone, settings: {http_port: %d, address: 127.0.0.1}}
%s`, ca.DirectoryURL(), port, instances))
	return h
}

// try runs certwright and gives all that it printed.
func (h *host) try(t *testing.T, verb string, args ...string) (string, error) {
	t.Helper()
	all := []string{verb, "-n", "--config-dir", filepath.Join(h.dir, "etc"), "--state-dir", filepath.Join(h.dir, "state")}
	if verb == "run" {
		all = append(all, "--agree-tos")
	}
	if verb == "run" || verb == "renew" {
		all = append(all, "--ca-bundle", filepath.Join(h.dir, "ca.pem"))
	}
	if h.faulty != nil {
		all = append(all, "--plugin-dir", h.faulty.Dir)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(h.prefix, "bin", "certwright"), append(all, args...)...).CombinedOutput()
	return plugintest.Printed(t, out), err
}

func (h *host) do(t *testing.T, verb string, args ...string) string {
	t.Helper()
	out, err := h.try(t, verb, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", verb, args, err, out)
	}
	return out
}

func (h *host) live(t *testing.T, name, file string) string {
	t.Helper()
	return read(t, filepath.Join(h.dir, "state", "live", name, file))
}

// Everything as a user has it, with two accounts at two Pritunls for one
// certificate: obtained, deployed, proven by a handshake, renewed and taken back
// twice, the key included.
func TestCertificatesInPritunl(t *testing.T) {
	fakes := map[string]*fake{"vpn-one": newFake(t), "vpn-two": newFake(t)}
	old := issued(t, "old.test")
	fakes["vpn-two"].give(t, old.FullchainPEM, old.KeyPEM)
	write(t, fakes["vpn-two"].caFile, string(old.ChainPEM))
	delete(fakes["vpn-one"].admins, otherToken)
	delete(fakes["vpn-two"].admins, goodToken)
	accounts := map[string][2]string{"vpn-one": {goodToken, goodSecret}, "vpn-two": {otherToken, otherSecret}}
	secrets, instances := t.TempDir(), ""
	for name, account := range accounts {
		write(t, filepath.Join(secrets, name), account[1]+"\n")
		instances += fmt.Sprintf(`  - name: %s
    plugin: pritunl
    sandbox: required
    settings: {endpoint: "%s", api_token: %s, api_secret: {file: %s}, ca_file: %s}
`, name, fakes[name].server.URL, account[0], filepath.Join(secrets, name), fakes[name].caFile)
	}
	h := newHost(t, install(t), instances)
	serves := func(what string) (leaf string) {
		t.Helper()
		leaf = h.live(t, "vpn.a.test", "cert.pem")
		for name, f := range fakes {
			equal(t, name+what+leaf, name+what+shown(t, f.address()))
			equal(t, strings.TrimSpace(h.live(t, "vpn.a.test", "privkey.pem")), f.has("server_key"))
		}
		return leaf
	}
	out := h.do(t, "run", "-a", "standalone", "-i", "vpn-one", "-i", "vpn-two", "-d", "vpn.a.test,www.a.test")
	for name, f := range fakes {
		if !strings.Contains(out, name+" serves version 1, proven at "+f.address()) {
			t.Errorf("%s is not proven:\n%s", name, out)
		}
	}
	first, key := serves(" first\n"), fakes["vpn-one"].has("server_key")
	h.do(t, "renew", "--force-renewal")
	if serves(" second\n") == first {
		t.Error("it was not renewed")
	}
	for name, f := range fakes {
		h.do(t, "rollback", "-i", name)
		equal(t, first, shown(t, f.address()))
		equal(t, key, f.has("server_key"))
		h.do(t, "rollback", "-i", name)
	}
	equal(t, fakes["vpn-one"].ownLeaf(), shown(t, fakes["vpn-one"].address()))
	equal(t, "", fakes["vpn-one"].has("server_key"))
	equal(t, string(old.LeafPEM), shown(t, fakes["vpn-two"].address()))
	equal(t, trimmed(old.KeyPEM), fakes["vpn-two"].has("server_key"))
}
