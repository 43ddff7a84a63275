package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// install gives the directory that the built tree is installed in.
func install(t *testing.T) string {
	t.Helper()
	// Plugins that others may write to are not run. The mask is that of the whole
	// process, and tests that write files for others wait for this one.
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

// host is certwright with a state of its own, for one varnishd.
type host struct {
	prefix, dir string
	ca          *testca.CA
	cache       *cache
	// faulty is the plugin that can be made to fail; nil: the one that is installed.
	faulty *plugintest.Faulty
	set    []string
}

func newHost(t *testing.T, prefix string, c *cache) *host {
	t.Helper()
	_, port, err := net.SplitHostPort(c.web)
	must(t, err)
	number, err := strconv.Atoi(port)
	must(t, err)
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: number})
	must(t, err)
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{prefix: prefix, dir: t.TempDir(), ca: ca, cache: c}
	plugintest.Left(t, h.dir, "plugins/certwright-plugin-*")
	must(t, os.MkdirAll(filepath.Join(h.dir, "etc"), 0o755))
	write(t, filepath.Join(h.dir, "ca.pem"), string(ca.TLSRoots()))
	h.set = []string{"varnish.address=" + c.address(t), "varnish.secret_file=" + c.secret}
	return h
}

// try runs certwright and gives all that it printed.
func (h *host) try(t *testing.T, verb string, args ...string) (string, error) {
	t.Helper()
	all := []string{verb, "-n", "--config-dir", filepath.Join(h.dir, "etc"), "--state-dir", filepath.Join(h.dir, "state"),
		"--ca-bundle", filepath.Join(h.dir, "ca.pem")}
	if h.faulty != nil {
		all = append(all, "--plugin-dir", h.faulty.Dir)
	}
	if verb == "certonly" {
		all = append(all, "--agree-tos", "--server", h.ca.DirectoryURL())
	}
	for _, set := range h.set {
		all = append(all, "--set", set)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(h.prefix, "bin", "certwright"), append(all, args...)...).CombinedOutput()
	return plugintest.Printed(t, out), err
}

func (h *host) do(t *testing.T, verb string, args ...string) string {
	t.Helper()
	out, err := h.try(t, verb, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s\n%s", verb, args, err, out, h.cache.output)
	}
	return out
}

func (h *host) serial(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(h.dir, "state", "live", name, "cert.pem"))
	must(t, err)
	return data
}

// Everything as a user has it: certwright installed, the plugin a process of its
// own in its sandbox, a CA that validates through the varnishd that runs. Two certificates are
// obtained at once, then renewed, and no client notices.
func TestCertificatesThroughVarnish(t *testing.T) {
	prefix := install(t)
	t.Run("a VCL in front", func(t *testing.T) {
		t.Parallel()
		c := start(t, several, severalFiles)
		h := newHost(t, prefix, c)
		write(t, filepath.Join(h.dir, "etc", "certwright.yaml"), fmt.Sprintf(`
server: %s
instances:
  - {name: varnish, sandbox: required, settings: {address: "%s", secret_file: %s}}
certificates:
  - {name: a.test, names: [a.test, www.a.test], authenticate: [{with: [varnish]}]}
  - {name: b.test, names: [b.test, www.b.test], authenticate: [{with: [varnish]}]}
`, h.ca.DirectoryURL(), c.address(t), c.secret))
		h.set = nil
		clients := c.hammer(t)
		h.do(t, "run", "--agree-tos")
		first := h.serial(t, "a.test")
		h.serial(t, "b.test")
		c.asItWas(t, "boot")
		h.do(t, "renew", "--force-renewal")
		if bytes.Equal(first, h.serial(t, "a.test")) {
			t.Error("the certificate was not renewed")
		}
		clients.end(t)
		c.asItWas(t, "boot")
	})
	t.Run("a backend of the VCL", func(t *testing.T) {
		t.Parallel()
		port := plugintest.Port(t)
		c := start(t, fromReadme(t, port), nil)
		h := newHost(t, prefix, c)
		h.set = []string{fmt.Sprint("varnish.listen=", port), "varnish.sandbox=required"}
		h.do(t, "certonly", "-a", "varnish", "-d", "a.test,www.a.test")
		c.asItWas(t, "boot")
	})
	t.Run("a VCL that varnishd refuses", func(t *testing.T) {
		t.Parallel()
		c := start(t, plain, nil)
		h := newHost(t, prefix, c)
		// What was allowed when the VCL was loaded is not any more.
		c.say(t, "param.set", "max_vcl", "1")
		c.say(t, "param.set", "max_vcl_handling", "2")
		out, err := h.try(t, "certonly", "-a", "varnish", "-d", "a.test")
		if err == nil || !strings.Contains(out, "Too many (1) VCLs") || !strings.Contains(out, "hint: ") {
			t.Errorf("%v\n%s", err, out)
		}
		c.asItWas(t, "boot")
	})
}

// fromReadme is the VCL that users are told to write.
func fromReadme(t *testing.T, port int) string {
	t.Helper()
	data, err := os.ReadFile("README.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(data), "    vcl 4.1;\n")
	if !ok {
		t.Fatal("no VCL in the README")
	}
	vcl := "vcl 4.1;\n"
	for line := range strings.Lines(rest) {
		code, ok := strings.CutPrefix(line, "    ")
		if !ok {
			break
		}
		vcl += code
	}
	vcl = strings.Replace(vcl, `.port = "8402"`, fmt.Sprintf(".port = \"%d\"", port), 1)
	return strings.Replace(vcl, `.host = "127.0.0.1"; .port = "8080";`, "ORIGIN", 1)
}
