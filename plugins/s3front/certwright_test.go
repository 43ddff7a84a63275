package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

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
	ca          *testca.CA
	cloud       *fake
	// faulty is the plugin that can be made to fail; nil: the one that is installed.
	faulty *plugintest.Faulty
}

func newHost(t *testing.T, prefix string, cloud *fake) *host {
	t.Helper()
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: cloud.site})
	must(t, err)
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{prefix: prefix, dir: t.TempDir(), ca: ca, cloud: cloud}
	must(t, os.MkdirAll(h.path("etc"), 0o755))
	must(t, os.WriteFile(h.path("ca.pem"), ca.TLSRoots(), 0o600))
	plugintest.Left(t, h.dir, "*-secret_access_key", "*-session_token", "*-access_key_id", "plugins/certwright-plugin-*")
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// secrets writes the keys of an account, and gives the settings that name them.
func (h *host) secrets(t *testing.T, name string, a *account) string {
	t.Helper()
	var out []string
	for setting, value := range map[string]string{"access_key_id": a.key, "secret_access_key": a.secret, "session_token": a.token} {
		if value == "" {
			continue
		}
		file := h.path(name + "-" + setting)
		must(t, os.WriteFile(file, []byte(value+"\n"), 0o600))
		out = append(out, fmt.Sprintf("%s: {file: %s}", setting, file))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (h *host) configure(t *testing.T, text string) {
	t.Helper()
	must(t, os.WriteFile(h.path("etc/certwright.yaml"), []byte(text), 0o600))
}

func (h *host) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	all := append([]string{args[0], "-n", "--config-dir", h.path("etc"), "--state-dir", h.path("state")}, args[1:]...)
	if h.faulty != nil {
		all = append(all, "--plugin-dir", h.faulty.Dir)
	}
	out, err := exec.CommandContext(ctx, filepath.Join(h.prefix, "bin", "certwright"), all...).CombinedOutput()
	return plugintest.Printed(t, out), err
}

func (h *host) do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.try(t, args...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

func (h *host) leaf(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(h.path("state/live/a.test/cert.pem"))
	must(t, err)
	return data
}

// Two buckets in two accounts prove the names of one certificate; it goes to a
// distribution of the first and one of the second account, is renewed, and taken
// back to what there was.
func TestCertificateThroughAWS(t *testing.T) {
	cloud := start(t)
	h := newHost(t, install(t), cloud)
	one, two := cloud.open(""), cloud.open(plugintest.Secret("session"))
	cloud.bucket("first", one)
	cloud.bucket("second", two)
	cloud.names("first/www", "a.test", "www.a.test")
	cloud.names("second", "b.test")
	cloud.distribution("E1", one, documentOf(byDefaultXML, "a.test", "www.a.test"))
	cloud.distribution("E2", two, documentOf(byDefaultXML, "b.test"))
	documents := []string{cloud.document("E1"), cloud.document("E2")}
	h.configure(t, fmt.Sprintf(`
server: %s
ca_bundle: %s
agree_tos: true
instances:
  - name: one
    plugin: s3front
    sandbox: required
    settings: {endpoint: "%[3]s", bucket: first, prefix: www, verify_port: "", distributions: [E1], wait: 30s, endpoints: ["%[4]s"], %[5]s}
  - name: two
    plugin: s3front
    sandbox: required
    settings: {endpoint: "%[3]s", bucket: second, distributions: [E2], store: iam, %[6]s}
certificates:
  - names: [a.test, www.a.test, b.test]
    authenticate:
      - {match: b.test, with: [two]}
      - {with: [one]}
    deploy: [one, two]
`, h.ca.DirectoryURL(), h.path("ca.pem"), cloud.url, cloud.edge, h.secrets(t, "one", one), h.secrets(t, "two", two)))

	out := h.do(t, "run")
	first := h.leaf(t)
	if !strings.Contains(out, "one serves version 1, proven at "+cloud.edge) {
		t.Errorf("it is not proven:\n%s", out)
	}
	for _, secret := range []string{one.secret, two.secret, two.token, one.key} {
		if strings.Contains(out, secret) {
			t.Errorf("a secret is shown:\n%s", out)
		}
	}
	served := func(leaf []byte) {
		t.Helper()
		for _, name := range []string{"a.test", "www.a.test", "b.test"} {
			cloud.shows(t, name, leaf)
		}
		equal(t, map[string]object{}, cloud.objects("first"))
		equal(t, map[string]object{}, cloud.objects("second"))
		equal(t, 1, len(cloud.acmCertificates()))
	}
	served(first)
	arns, names := cloud.acmCertificates(), cloud.iamCertificates()

	h.do(t, "renew", "--force-renewal")
	second := h.leaf(t)
	served(second)
	equal(t, arns, cloud.acmCertificates())
	if now := cloud.iamCertificates(); len(now) != 1 || now[0] == names[0] {
		t.Errorf("in IAM there was %q and is %q", names, now)
	}
	for _, instance := range []string{"one", "two"} {
		h.do(t, "rollback", "--installer", instance)
	}
	served(first)
	for _, instance := range []string{"two", "one"} {
		h.do(t, "rollback", "--installer", instance)
	}
	for i, id := range []string{"E1", "E2"} {
		was, err := viewerOf([]byte(documents[i]))
		must(t, err)
		now, err := viewerOf([]byte(cloud.document(id)))
		must(t, err)
		equal(t, was, now)
	}
	equal(t, nil, cloud.acmCertificates())
	equal(t, nil, cloud.iamCertificates())
}
