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

// Everything as a user has it, with two accounts for one certificate: obtained,
// deployed, proven by a handshake, renewed and taken back twice, the key included.
func TestCertificatesInProxmox(t *testing.T) {
	f := newFake(t, "pve1", "pve2")
	f.tokens = map[string]fakeToken{
		goodToken:  {secret: goodSecret, nodes: []string{"pve1"}},
		otherToken: {secret: otherSecret, nodes: []string{"pve2"}},
	}
	secrets := t.TempDir()
	write(t, filepath.Join(secrets, "one"), goodSecret+"\n")
	write(t, filepath.Join(secrets, "two"), otherSecret+"\n")
	builtin := map[string]string{"pve1": shown(t, f.address("pve1")), "pve2": shown(t, f.address("pve2"))}
	instances := ""
	for i, account := range []struct{ token, secret string }{{goodToken, "one"}, {otherToken, "two"}} {
		node := fmt.Sprint("pve", i+1)
		// Each by a way to the API that keeps its certificate, and each proves
		// its own node.
		instances += fmt.Sprintf(`  - name: %s
    plugin: proxmox
    sandbox: required
    settings:
      endpoint: https://%s
      token_id: %s
      token_secret: {file: %s}
      nodes: [%s]
      ca_file: %s
      endpoints: ["%s"]
`, node, f.frontDoor(t), account.token, filepath.Join(secrets, account.secret), node, f.caFile, f.address(node))
	}
	h := newHost(t, install(t), instances)
	out := h.do(t, "run", "-a", "standalone", "-i", "pve1", "-i", "pve2", "-d", "pve.a.test,www.a.test")
	serves := func(what, leaf string, pair [2]string) {
		t.Helper()
		for name := range f.nodes {
			equal(t, what+leaf, what+shown(t, f.address(name)))
			equal(t, pair, f.custom(name))
		}
	}
	for name := range f.nodes {
		if !strings.Contains(out, name+" serves version 1, proven at "+f.address(name)) {
			t.Errorf("%s is not proven:\n%s", name, out)
		}
	}
	first := h.live(t, "pve.a.test", "cert.pem")
	pair := [2]string{h.live(t, "pve.a.test", "fullchain.pem"), h.live(t, "pve.a.test", "privkey.pem")}
	serves("first\n", first, pair)
	h.do(t, "renew", "--force-renewal")
	serves("second\n", h.live(t, "pve.a.test", "cert.pem"), [2]string{h.live(t, "pve.a.test", "fullchain.pem"), h.live(t, "pve.a.test", "privkey.pem")})
	h.do(t, "rollback", "-i", "pve1")
	h.do(t, "rollback", "-i", "pve2")
	serves("first again\n", first, pair)
	h.do(t, "rollback", "-i", "pve1")
	h.do(t, "rollback", "-i", "pve2")
	for name, leaf := range builtin {
		equal(t, leaf, shown(t, f.address(name)))
		equal(t, [2]string{}, f.custom(name))
	}
}
