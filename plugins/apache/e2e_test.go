package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
)

// One that speaks TLS already, one in a file of its own, one that only
// redirects, one without a name that refuses everything.
const mixed = `
LoadModule rewrite_module {modules}/mod_rewrite.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
Listen 127.0.0.1:{https} https
Listen [::1]:{https} https
<VirtualHost *:{http}>
    ServerName default.test
    RewriteEngine on
    RewriteRule .* - [F]
</VirtualHost>
<VirtualHost *:{http}>
    ServerName a.test
    Redirect permanent / https://a.test/
</VirtualHost>
<VirtualHost *:{http}>
    DocumentRoot {dir}/www
    <Location />
        Require all denied
    </Location>
</VirtualHost>
<VirtualHost *:{https}>
    ServerName a.test
    DocumentRoot {dir}/www
    SSLEngine on
    SSLCertificateFile {dir}/old.pem
    SSLCertificateKeyFile {dir}/old.key
</VirtualHost>
IncludeOptional conf.d/*.conf
`

// mixedServer gives the server and the leaf that it serves.
func mixedServer(t *testing.T, b string) (*server, *x509.Certificate) {
	t.Helper()
	old, certPEM, keyPEM := selfSigned(t, "a.test", "b.test")
	s := plain(t, mixed, "conf.d/b.conf", b, "old.pem", string(certPEM), "old.key", string(keyPEM))
	s.serves("a.test", old)
	return s, old
}

// installed is the directory that install has made, to be removed at the end.
var installed string

// install gives the directory that the built tree is installed in, once.
var install = sync.OnceValues(func() (string, error) {
	prefix, err := os.MkdirTemp("", "apache-test-")
	if err != nil {
		return "", err
	}
	installed = prefix
	cmd := exec.Command("make", "--no-print-directory", "-C", "../..", "install", "DESTDIR="+prefix, "PREFIX=")
	for _, entry := range os.Environ() { // those of the make that runs this
		if !strings.HasPrefix(entry, "MAKE") && !strings.HasPrefix(entry, "MFLAGS") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return prefix, fmt.Errorf("make install: %w\n%s", err, out)
	}
	return prefix, nil
})

// program is the installed certwright with a state of its own.
type program struct {
	t       *testing.T
	prefix  string
	dir     string
	ca      *testca.CA
	server  *server
	plugins string // looked at first; empty: as installed
}

func newProgram(s *server) *program {
	s.t.Helper()
	prefix, err := install()
	must(s.t, err)
	ca, err := testca.Start(s.t.Context(), testca.Options{HTTPPort: s.http, NonceReject: 5})
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, ca.Close()) })
	// One name over IPv4, the other over IPv6.
	ca.DNS().SetA("a.test", netip.MustParseAddr("127.0.0.1"))
	ca.DNS().SetAAAA("b.test", netip.MustParseAddr("::1"))
	dir := s.t.TempDir()
	must(s.t, os.Mkdir(filepath.Join(dir, "etc"), 0o755))
	put(s.t, filepath.Join(dir, "ca.pem"), string(ca.TLSRoots()), 0o600)
	return &program{t: s.t, prefix: prefix, dir: dir, ca: ca, server: s}
}

// level is that of the plugin's sandbox: one that is killed at its steps writes
// them elsewhere.
func (p *program) level() string {
	if p.plugins != "" {
		return "off"
	}
	return "required"
}

// command is certwright with a verb.
func (p *program) command(verb string, args ...string) *exec.Cmd {
	set := p.server.settings()
	all := []string{verb, "--config-dir", filepath.Join(p.dir, "etc"), "--state-dir", filepath.Join(p.dir, "state"), "-n"}
	if p.plugins != "" {
		all = append(all, "--plugin-dir", p.plugins)
	}
	if verb == "run" || verb == "certonly" {
		all = append(all, "--server", p.ca.DirectoryURL(), "--ca-bundle", filepath.Join(p.dir, "ca.pem"), "--agree-tos")
	}
	if verb != "renew" && verb != "certificates" {
		for name, value := range map[string]string{
			"ctl": set.Ctl, "config": set.Config, "server_root": set.ServerRoot, "http_port": set.httpPort(), "https_port": set.httpsPort(),
			"sandbox": p.level(), "writes": "[" + filepath.Join(p.server.dir, "run") + "]",
		} {
			if value != "" {
				all = append(all, "--set", "apache."+name+"="+value)
			}
		}
	}
	return exec.CommandContext(p.t.Context(), filepath.Join(p.prefix, "bin", "certwright"), append(all, args...)...)
}

// run gives the exit code and all that was printed.
func (p *program) run(verb string, args ...string) (int, string) {
	p.t.Helper()
	out, err := p.command(verb, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if exit != nil {
		return exit.ExitCode(), string(out)
	}
	return 0, string(out)
}

func (p *program) succeeds(verb string, args ...string) string {
	p.t.Helper()
	code, out := p.run(verb, args...)
	if code != 0 {
		p.t.Fatalf("certwright %s %q: exit code %d\n%s\n%s", verb, args, code, out, p.server.log())
	}
	return out
}

func (p *program) live(lineage string) *x509.Certificate {
	p.t.Helper()
	block, _ := pem.Decode([]byte(read(p.t, filepath.Join(p.dir, "state", "live", lineage, "cert.pem"))))
	if block == nil {
		p.t.Fatal("no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	must(p.t, err)
	return leaf
}

// watch makes a new connection for each request as long as the test runs, and
// gives what ends that: every one must have succeeded, with one of the leaves.
func (s *server) watch(name string) (stop func() []*x509.Certificate) {
	s.t.Helper()
	done := make(chan struct{})
	var all sync.WaitGroup
	var seen []*x509.Certificate
	all.Go(func() {
		pause := time.NewTicker(2 * time.Millisecond)
		defer pause.Stop()
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-pause.C:
			}
			leaf := s.leaf([]string{s.addr4(s.https), s.addr6(s.https)}[n%2], name)
			if leaf == nil {
				s.t.Errorf("request %d fails", n)
				return
			}
			if len(seen) == 0 || !seen[len(seen)-1].Equal(leaf) {
				seen = append(seen, leaf)
			}
		}
	})
	return func() []*x509.Certificate {
		close(done)
		all.Wait()
		return seen
	}
}

func TestTheWholeFlow(t *testing.T) {
	t.Parallel()
	s, old := mixedServer(t, otherSite)
	p := newProgram(s)
	before := s.look()
	stop := s.watch("a.test")

	out := p.succeeds("run", "--apache", "-d", "a.test", "-d", "b.test")
	first := p.live("a.test")
	s.serves("a.test", first)
	s.serves("b.test", first)
	if !strings.Contains(p.succeeds("certificates"), "proven") {
		t.Errorf("nothing is proven: %s", out)
	}
	for _, name := range []string{"a.test", "b.test"} {
		if got := s.get(s.addr4(s.http), name, challengePath+"x"); strings.HasPrefix(got, "200") {
			t.Errorf("a challenge is left: %s", got)
		}
	}
	after := s.look()

	p.succeeds("renew", "--force-renewal")
	second := p.live("a.test")
	if second.Equal(first) {
		t.Fatal("it was not renewed")
	}
	s.serves("a.test", second)
	s.serves("b.test", second)
	equal(t, after, s.look())

	p.succeeds("rollback", "-i", "apache")
	s.serves("a.test", old)
	equal(t, before, s.look())
	for _, leaf := range stop() {
		if !leaf.Equal(old) && !leaf.Equal(first) && !leaf.Equal(second) {
			t.Errorf("serial %s was served", leaf.SerialNumber)
		}
	}
}

// A single file whose Listen stands before what loads mod_ssl, as Apache has it.
func TestTheWholeFlowInStockOrder(t *testing.T) {
	t.Parallel()
	s := single(t, stock(tlsModules)+sites)
	p := newProgram(s)
	before := s.look()
	out := p.succeeds("run", "--apache", "-d", "a.test")
	s.serves("a.test", p.live("a.test"))
	if !strings.Contains(p.succeeds("certificates"), "proven") {
		t.Errorf("nothing is proven: %s", out)
	}
	after := s.look()
	p.succeeds("renew", "--force-renewal")
	s.serves("a.test", p.live("a.test"))
	equal(t, after, s.look())
	p.succeeds("rollback", "-i", "apache")
	if !s.until(func() bool { return s.leaf(s.addr4(s.https), "a.test") == nil }) {
		t.Error("httpd ended")
	}
	equal(t, before, s.look())
}

// The redirect and the header come with the deployment, and are there once.
func TestEnhancedFlow(t *testing.T) {
	t.Parallel()
	s := debian(t, map[string]string{
		"b.conf":     otherSite,
		"off-a.conf": strings.ReplaceAll(otherSite, "b.test", "a.test"),
	})
	p := newProgram(s)
	p.succeeds("run", "--apache", "-d", "b.test", "--redirect", "--hsts")
	s.serves("b.test", p.live("b.test"))
	if !s.until(func() bool {
		return s.get(s.addr6(s.http), "b.test", "/x") == fmt.Sprintf("301 https://b.test:%d/x", s.https)
	}) {
		t.Error("httpd ended")
	}
	if got := read(t, filepath.Join(s.root, "sites-available", "b-le-ssl.conf")); strings.Count(got, hstsHeader) != 1 {
		t.Errorf("the header is not there once:\n%s", got)
	}
	after := s.look()
	p.succeeds("renew", "--force-renewal")
	equal(t, after, s.look())
}

// What httpd does not accept before we start is reported in its own words.
func TestBrokenBefore(t *testing.T) {
	t.Parallel()
	s, old := mixedServer(t, otherSite)
	p := newProgram(s)
	put(t, filepath.Join(s.dir, "conf.d", "c.conf"), "# fine\nNoSuchDirective on\n", 0o644)
	before := s.look()
	code, out := p.run("run", "--apache", "-d", "a.test")
	if code != 1 || !strings.Contains(out, "Syntax error on line 2 of "+s.dir+"/conf.d/c.conf") || !strings.Contains(out, "NoSuchDirective") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	equal(t, before, s.look())
	s.serves("a.test", old)
}

// What is broken by the deployment is taken back in the same run.
func TestBrokenByUs(t *testing.T) {
	t.Parallel()
	s, old := mixedServer(t, "<IfFile {dir}/conf.d/b-le-ssl.conf>\n    NoSuchDirective on\n</IfFile>\n"+otherSite)
	p := newProgram(s)
	before := s.look()
	stop := s.watch("a.test")
	code, out := p.run("run", "--apache", "-d", "a.test", "-d", "b.test")
	if code == 0 || !strings.Contains(out, "conf.d/b.conf") || !strings.Contains(out, "NoSuchDirective") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	equal(t, before, s.look())
	for _, leaf := range stop() {
		if !leaf.Equal(old) {
			t.Error("another leaf was served meanwhile")
		}
	}
	s.serves("a.test", old)
	if ok, words := accepts(t, s.settings()); !ok {
		t.Errorf("it is still broken: %s", words)
	}
}

func TestStoppedStaysStopped(t *testing.T) {
	t.Parallel()
	s, _ := mixedServer(t, otherSite)
	p := newProgram(s)
	p.succeeds("certonly", "-a", "apache", "-d", "a.test")
	before := s.look()
	s.stop()
	code, out := p.run("install", "--cert-name", "a.test", "-i", "apache")
	if code == 0 || !strings.Contains(out, "httpd is not running") || !strings.Contains(out, "-k start") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	code, out = p.run("run", "-a", "apache", "-d", "b.test")
	if code == 0 || !strings.Contains(out, "httpd is not running") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	equal(t, before, s.look())
	if _, running := process(s.pidFile()); running {
		t.Error("somebody has started it")
	}
}

// The challenge is answered, but nobody is given a certificate that he has no
// name for.
func TestNameWithoutVhost(t *testing.T) {
	t.Parallel()
	s, old := mixedServer(t, otherSite)
	p := newProgram(s)
	before := s.look()
	code, out := p.run("run", "--apache", "-d", "c.test")
	if code == 0 || !strings.Contains(out, "no virtual host of httpd serves c.test") || !strings.Contains(out, "add ServerName c.test") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	equal(t, before, s.look())
	s.serves("a.test", old)
}
