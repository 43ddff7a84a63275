package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
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

// patience bounds what must happen sooner or later on a busy machine.
const patience = time.Minute

// The whole program, installed as a user would have it, with the plugin in its
// sandbox, and a CA that really looks.
func TestCertificates(t *testing.T) {
	prefix := install(t)
	t.Run("LiveDNS", func(t *testing.T) { t.Parallel(); byLiveDNS(t, prefix) })
	t.Run("Simple Hosting", func(t *testing.T) { t.Parallel(); onSimpleHosting(t, prefix) })
}

// Two accounts with a domain each, wildcards and their base names, in one
// certificate.
func byLiveDNS(t *testing.T, prefix string) {
	p := newProgram(t, prefix, 80)
	f := newFakeDNS(t, p.ca.DNS())
	one, two := f.account(bearer, "one.test"), f.account("Bearer "+plugintest.Secret("other"), "two.test")
	two.sharing = "org"
	f.force(one, "one.test", acme, 1800, `"of another program"`)
	before := f.everything(one)
	p.do(t, "certonly", "--cert-name", "both",
		"--set", "a.plugin=gandi", "--set", "a.sandbox=required", "--set", "a.endpoint="+f.endpoint(), "--set", "a.token=@"+p.file(t, goodToken),
		"--set", "b.plugin=gandi", "--set", "b.sandbox=required", "--set", "b.endpoint="+f.endpoint(), "--set", "b.token=@"+p.file(t, plugintest.Secret("other")),
		"--set", "b.sharing_id=org",
		"-a", "a", "-d", "one.test", "-d", "*.one.test", "-a", "b", "-d", "two.test", "-d", "*.two.test", "-d", "www.two.test")
	leaf, err := x509.ParseCertificate(p.leaf(t, "live/both"))
	must(t, err)
	if got := slices.Sorted(slices.Values(leaf.DNSNames)); !slices.Equal(got, []string{"*.one.test", "*.two.test", "one.test", "two.test", "www.two.test"}) {
		t.Errorf("the certificate is for %q", got)
	}
	if after := f.everything(one); after != before || f.everything(two) != "" {
		t.Errorf("left over\n%s\n%s", after, f.everything(two))
	}

	out, err := p.run(t, "certonly", "--set", "c.plugin=gandi", "--set", "c.sandbox=required", "--set", "c.endpoint="+f.endpoint(),
		"--set", "c.token=@"+p.file(t, plugintest.Secret("expired")), "-a", "c", "-d", "one.test")
	if err == nil || !strings.Contains(out, "401 Unauthorized") || !strings.Contains(out, "hint: make a new personal access token") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A PHP instance whose site rewrites every request: proven by a file, uploaded,
// renewed, and taken back.
func onSimpleHosting(t *testing.T, prefix string) {
	dir := workDir(t)
	files, api := startSSH(t, dir), newFakeRPC(t)
	api.paas = map[string]any{
		"id": 126276, "name": "shop", "type": "phpmysql", "user": 1656411, "ftp_server": "sftp.example",
		"vhosts": []any{map[string]any{"name": "a.test", "state": "running"}},
	}
	for _, name := range []string{"a.test", "www.a.test"} {
		docs := mkdirs(t, dir, "vhosts", name, "htdocs")
		must(t, os.WriteFile(filepath.Join(docs, ".htaccess"), []byte("RewriteEngine on\nRewriteRule ^ /index.php [END]\n"), 0o644))
		must(t, os.WriteFile(filepath.Join(docs, "index.php"), []byte("the site"), 0o644))
	}
	before := tree(t, dir)
	p := newProgram(t, prefix, startApache(t, dir))
	s := files.settings()
	for key, value := range map[string]string{
		"plugin": "gandi", "sandbox": "required", "instance": "shop", "rpc_endpoint": api.endpoint(), "api_key": "@" + p.file(t, goodKey),
		"sftp_server": s.SFTPServer, "sftp_user": s.SFTPUser, "sftp_key": "@" + p.file(t, string(s.SFTPKey)), "host_key": s.HostKey,
		"endpoints": "[" + api.listener.Addr().String() + "]",
	} {
		p.settings = append(p.settings, "--set", "hosting."+key+"="+value)
	}
	out := p.do(t, "run", "-a", "hosting", "-i", "hosting", "-d", "a.test", "-d", "www.a.test")
	first := p.leaf(t, "live/a.test")
	if !strings.Contains(out, "proven at "+api.listener.Addr().String()) {
		t.Errorf("it is not proven\n%s", out)
	}
	p.served(t, api, first, 1)
	if after := tree(t, dir); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	p.do(t, "renew", "--force-renewal")
	second := p.leaf(t, "live/a.test")
	if bytes.Equal(first, second) {
		t.Fatal("it was not renewed")
	}
	p.served(t, api, second, 1) // the old one is deleted
	p.do(t, "rollback")
	p.served(t, api, first, 1) // and uploaded again
	p.do(t, "rollback")
	if left := api.hosts(); len(left) > 0 {
		t.Errorf("still hosted: %v", left)
	}
}

// served holds what a client sees, and how many certificates are hosted.
func (p *program) served(t *testing.T, api *fakeRPC, leaf []byte, count int) {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: "www.a.test"}}
	conn, err := dialer.DialContext(t.Context(), "tcp", api.listener.Addr().String())
	must(t, err)
	defer func() { _ = conn.Close() }()
	if got := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw; !bytes.Equal(got, leaf) {
		t.Error("another certificate is served")
	}
	if hosted := api.hosts(); len(hosted) != count {
		t.Errorf("hosted are %v, want %d", hosted, count)
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

// workDir can be entered by Apache's workers, who are somebody else if the test
// runs as root.
func workDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

// startApache serves vhosts/NAME/htdocs as the hosting does, .htaccess included,
// and gives the port. One that is taken between our choice and Apache's start is
// chosen again.
func startApache(t *testing.T, dir string) int {
	t.Helper()
	var words string
	for range 3 {
		run := t.TempDir()
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		must(t, err)
		port := listener.Addr().(*net.TCPAddr).Port
		must(t, listener.Close())
		conf := filepath.Join(run, "apache.conf")
		must(t, os.WriteFile(conf, fmt.Appendf(nil, `ServerRoot %[1]s
PidFile %[1]s/pid
Mutex file:%[1]s default
ErrorLog %[1]s/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so
LoadModule vhost_alias_module /usr/lib/apache2/modules/mod_vhost_alias.so
User www-data
Group www-data
StartServers 1
ServerName main.test
Listen 127.0.0.1:%[2]d
UseCanonicalName Off
VirtualDocumentRoot %[3]s/vhosts/%%0/htdocs
<Directory %[3]s>
    AllowOverride All
    Require all granted
</Directory>
`, run, port, dir), 0o600))
		log, err := os.Create(filepath.Join(run, "out.log"))
		must(t, err)
		cmd := exec.CommandContext(t.Context(), "/usr/sbin/apache2", "-DFOREGROUND", "-f", conf)
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = log, log, patience
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		must(t, cmd.Start())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait()
			_ = log.Close()
		}()
		t.Cleanup(func() { _ = cmd.Cancel(); <-ended })
		if answers(t, port, ended) {
			return port
		}
		_ = cmd.Cancel()
		<-ended
		for _, name := range []string{"out.log", "error.log"} {
			text, _ := os.ReadFile(filepath.Join(run, name))
			words += string(text)
		}
	}
	t.Fatalf("Apache did not start:\n%s", words)
	return 0
}

// answers waits until the site is served, rewritten as it is.
func answers(t *testing.T, port int, ended <-chan struct{}) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/.well-known/x", port), nil)
		must(t, err)
		req.Host = "a.test"
		if resp, err := client.Do(req); err == nil {
			var body bytes.Buffer
			_, _ = body.ReadFrom(resp.Body)
			_ = resp.Body.Close()
			if body.String() == "the site" {
				return true
			}
		}
		select {
		case <-ended:
			return false
		case <-ctx.Done():
			return false
		case <-again.C:
		}
	}
}
