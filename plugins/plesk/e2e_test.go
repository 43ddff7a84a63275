package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk/plugintest"
)

// patience bounds what must happen sooner or later on a busy machine.
const patience = time.Minute

// The whole program, installed as a user would have it, with the plugin in its
// sandbox, and a CA that really looks.
func TestCertificates(t *testing.T) {
	prefix := install(t)
	t.Run("records", func(t *testing.T) { t.Parallel(); byRecords(t, prefix) })
	t.Run("files", func(t *testing.T) { t.Parallel(); byFiles(t, prefix) })
}

// instance gives the settings of one.
func (p *program) instance(t *testing.T, f *fakePlesk, name string, more ...string) []string {
	t.Helper()
	var out []string
	for _, setting := range append([]string{
		"plugin=plesk", "sandbox=required", "server=" + f.URL, "ca_file=" + f.roots(t), "endpoints=[" + f.lis.Addr().String() + "]",
	}, more...) {
		out = append(out, "--set", name+"."+setting)
	}
	return out
}

// Two servers, one of them by the login of a customer: wildcards and their base
// names in one certificate, which is installed on both of them, renewed, and
// taken back.
func byRecords(t *testing.T, prefix string) {
	p := newProgram(t, prefix, 80)
	one, two := newFake(t, p.ca.DNS()), newFake(t, p.ca.DNS())
	one.add(t, "one.test", "one.test")
	one.add(t, "shop.one.test", "one.test")
	two.add(t, "two.test", "two.test").login = "owner"
	two.site("two.test").password = "pass " + plugintest.Mark
	before, beforeTwo := one.everything(), two.everything()
	p.settings = slices.Concat(p.instance(t, one, "a", "secret_key=@"+p.file(t, goodSecret)),
		p.instance(t, two, "b", "login=owner", "password=@"+p.file(t, "pass "+plugintest.Mark)))
	p.do(t, "certonly", "--cert-name", "both", "-a", "a", "-d", "one.test", "-d", "*.one.test", "-a", "b", "-d", "two.test", "-d", "*.two.test")
	leaf, err := x509.ParseCertificate(p.leaf(t, "live/both"))
	must(t, err)
	if got := slices.Sorted(slices.Values(leaf.DNSNames)); !slices.Equal(got, []string{"*.one.test", "*.two.test", "one.test", "two.test"}) {
		t.Errorf("the certificate is for %q", got)
	}
	if after := one.everything(); after != before || two.everything() != beforeTwo {
		t.Errorf("left over\n%s\n%s", after, two.everything())
	}

	p.settings = p.instance(t, one, "a", "secret_key=@"+p.file(t, goodSecret))
	out := p.do(t, "run", "-a", "a", "-i", "a", "-d", "one.test", "-d", "*.one.test", "-d", "shop.one.test")
	if !strings.Contains(out, "proven at "+one.lis.Addr().String()) {
		t.Errorf("it is not proven\n%s", out)
	}
	first := p.leaf(t, "live/one.test")
	serves := func(leaf []byte) {
		t.Helper()
		for _, name := range []string{"one.test", "www.one.test", "shop.one.test"} {
			if !bytes.Equal(one.serves(t, name), leaf) {
				t.Errorf("%s is served with another certificate", name)
			}
		}
	}
	serves(first)
	p.do(t, "renew", "--force-renewal", "--cert-name", "one.test")
	second := p.leaf(t, "live/one.test")
	if bytes.Equal(first, second) {
		t.Fatal("it was not renewed")
	}
	serves(second)
	p.do(t, "rollback", "--cert-name", "one.test")
	serves(first)
	p.do(t, "rollback", "--cert-name", "one.test")
	if after := one.everything(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// On the machine of Plesk: files in the document root of a site that wants a
// password, of which www is another name.
func byFiles(t *testing.T, prefix string) {
	f := newFake(t, nil)
	at, err := url.Parse(f.web.URL)
	must(t, err)
	port, err := strconv.Atoi(at.Port())
	must(t, err)
	p := newProgram(t, prefix, port)
	f.add(t, "a.test", "a.test")
	filemng := standIn(t, "u-a.test")
	before, files := f.everything(), tree(t, vhosts(t))
	p.settings = p.instance(t, f, "local", "secret_key=@"+p.file(t, goodSecret), "filemng="+filemng, "vhosts="+vhosts(t), "challenges=[http-01]")
	p.do(t, "run", "-a", "local", "-i", "local", "-d", "a.test", "-d", "www.a.test")
	if !bytes.Equal(f.serves(t, "www.a.test"), p.leaf(t, "live/a.test")) {
		t.Error("another certificate is served")
	}
	if after := tree(t, vhosts(t)); after != files {
		t.Errorf("before\n%s\nafter\n%s", files, after)
	}
	out, err := p.run(t, "run", "-a", "local", "-i", "local", "-d", "none.test")
	if err == nil || !strings.Contains(out, "1013") || !strings.Contains(out, "hint: add none.test as a domain") {
		t.Errorf("%v\n%s", err, out)
	}
	p.do(t, "rollback", "--cert-name", "a.test")
	if after := f.everything(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

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

// program is certwright with a state of its own, and a CA.
type program struct {
	prefix, dir string
	ca          *testca.CA
	settings    []string
	secrets     int
	// faulty is the plugin that can be made to fail; nil: the one that is installed.
	faulty *plugintest.Faulty
}

func newProgram(t *testing.T, prefix string, httpPort int) *program {
	t.Helper()
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: httpPort, NonceReject: 5})
	must(t, err)
	t.Cleanup(func() { must(t, ca.Close()) })
	p := &program{prefix: prefix, dir: t.TempDir(), ca: ca}
	must(t, os.Mkdir(filepath.Join(p.dir, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(p.dir, "ca.pem"), ca.TLSRoots(), 0o600))
	plugintest.Left(t, p.dir, "secret-*", "plugins/certwright-plugin-*")
	return p
}

// file writes a secret into one, as a user does.
func (p *program) file(t *testing.T, secret string) string {
	t.Helper()
	p.secrets++
	path := filepath.Join(p.dir, fmt.Sprint("secret-", p.secrets))
	must(t, os.WriteFile(path, []byte(secret), 0o600))
	return path
}

// run runs certwright and gives all that it printed.
func (p *program) run(t *testing.T, verb string, args ...string) (string, error) {
	t.Helper()
	_, port, err := net.SplitHostPort(p.ca.DNS().Addr())
	must(t, err)
	all := []string{
		verb, "-n", "--config-dir", filepath.Join(p.dir, "etc"), "--state-dir", filepath.Join(p.dir, "state"),
		"--set", "dns.resolvers=[" + p.ca.DNS().Addr() + "]", "--set", "dns.port=" + port,
	}
	switch verb {
	case "run", "certonly":
		all = append(all, "--agree-tos", "--server", p.ca.DirectoryURL(), "--ca-bundle", filepath.Join(p.dir, "ca.pem"))
	case "renew":
		all = append(all, "--ca-bundle", filepath.Join(p.dir, "ca.pem"))
	}
	if p.faulty != nil {
		all = append(all, "--plugin-dir", p.faulty.Dir)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.prefix, "bin", "certwright"), slices.Concat(all, p.settings, args)...)
	out, err := cmd.CombinedOutput()
	return plugintest.Printed(t, out), err
}

func (p *program) do(t *testing.T, verb string, args ...string) string {
	t.Helper()
	out, err := p.run(t, verb, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", verb, args, err, out)
	}
	return out
}

// leaf is what a link of the state directory leads to.
func (p *program) leaf(t *testing.T, link string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "state", link, "cert.pem"))
	must(t, err)
	block, _ := pem.Decode(text)
	return block.Bytes
}
