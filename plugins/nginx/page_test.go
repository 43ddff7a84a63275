package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The page about all three web servers: its commands are run in order, in one
// shell, against the three servers, each on a loopback address of its own.
func page(t *testing.T, prefix string) {
	w := running(t, func(w *web) map[string]string {
		out := map[string]string{"nginx.conf": w.main("    include sites/*;\n")}
		for _, name := range []string{"www", "shop"} {
			out["sites/"+name] = fmt.Sprintf("server {\n%s    server_name %s.example.com;\n    return 200 %[2]s;\n}\n", listens(w.http, ""), name)
		}
		return out
	})
	h := startHost(t, prefix, w)
	const apacheAt, haproxyAt = "127.0.0.3", "127.0.0.4"
	h.ca.DNS().SetA("blog.example.com", netip.MustParseAddr(apacheAt))
	h.ca.DNS().SetA("app.example.com", netip.MustParseAddr(haproxyAt))
	apache(t, filepath.Join(h.dir, "httpd"), fmt.Sprintf("%s:%d", apacheAt, w.http))
	// A socket's path must be short.
	short, err := os.MkdirTemp("", "cw") //nolint:usetesting // t.TempDir is too long for a socket
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	haproxy(t, short, haproxyAt, w.http, w.https)

	s := w.settings()
	mapped := strings.NewReplacer(
		"{name: nginx}", fmt.Sprintf("{name: nginx, settings: {config: %s, prefix: %s, error_log: %s, http_port: %d, https_port: %d}}",
			s.Config, s.Prefix, s.ErrorLog, w.http, w.https),
		"{name: apache}", fmt.Sprintf("{name: apache, settings: {ctl: /usr/sbin/apache2, config: %s/httpd/httpd.conf, http_port: %d, https_port: %d}}",
			h.dir, w.http, w.https),
		"settings: {socket: /run/haproxy/", fmt.Sprintf("settings: {config: %s/haproxy.cfg, socket: %[1]s/", short), "/etc/haproxy/", short+"/",
	)
	script, commands := "set -eux\n", 0
	for _, found := range regexp.MustCompile("(?s)```(sh|yaml)\n(.*?)```").FindAllStringSubmatch(read(t, "../../docs/web-servers.md"), -1) {
		if found[1] == "yaml" {
			put(t, filepath.Join(h.dir, "etc", "certwright.yaml"), mapped.Replace(found[2]))
			continue
		}
		script += found[2]
		commands++
	}
	const least = 7
	if commands < least {
		t.Fatalf("the page has %d commands only", commands)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = h.dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(prefix, "bin")+":"+os.Getenv("PATH"),
		"CERTWRIGHT_SERVER="+h.ca.DirectoryURL(), "CERTWRIGHT_CA_BUNDLE="+filepath.Join(h.dir, "ca.pem"),
		"CERTWRIGHT_STATE_DIR="+h.state(), "CERTWRIGHT_CONFIG_DIR="+filepath.Join(h.dir, "etc"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "+        listen 127.0.0.1:"+fmt.Sprint(w.https)+" ssl; "+managed) {
		t.Errorf("the dry run shows no diff\n%s", out)
	}
	for _, name := range []string{"www.example.com", "shop.example.com"} {
		wantLeaf(t, h.leaf(t, "live/www.example.com"), both(w.https)[1], name)
		if code, _, err := get(both(w.http)[0], name, "/"); err != nil || code != 301 {
			t.Errorf("%s is not redirected: %d %v", name, code, err)
		}
	}
	wantLeaf(t, h.leaf(t, "live/app.example.com"), fmt.Sprintf("%s:%d", haproxyAt, w.https), "app.example.com")
	wantLeaf(t, h.leaf(t, "live/www.example.com"), fmt.Sprintf("%s:%d", haproxyAt, w.https), "www.example.com")
	if _, err := os.Stat(filepath.Join(h.dir, "httpd", "httpd-le-ssl.conf")); err == nil {
		t.Error("the roll back has left a file of httpd")
	}
}

// started runs a server until the test ends, and waits until it listens.
func started(t *testing.T, address string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patient):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	deadline := time.NewTimer(patient)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, _, err := get(address, "x", "/"); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("%s ended:\n%s", name, out.String())
		case <-deadline.C:
			t.Fatalf("%s does not answer", name)
		}
	}
}

func apache(t *testing.T, dir, address string) {
	t.Helper()
	const modules = "/usr/lib/apache2/modules"
	var b strings.Builder
	fmt.Fprintf(&b, "ServerRoot %s\nPidFile %[1]s/httpd.pid\nMutex file:%[1]s default\nErrorLog %[1]s/error.log\nServerName main.test\n", dir)
	for _, m := range []string{"mpm_event", "authz_core", "dir", "alias"} {
		fmt.Fprintf(&b, "LoadModule %s_module %s/mod_%[1]s.so\n", m, modules)
	}
	fmt.Fprintf(&b, "User www-data\nGroup www-data\nStartServers 1\nServerLimit 2\nThreadsPerChild 8\nMaxRequestWorkers 16\nMinSpareThreads 1\nMaxSpareThreads 16\n"+
		"Listen %s\n<VirtualHost %[1]s>\n    ServerName blog.example.com\n    DocumentRoot %s\n</VirtualHost>\n", address, dir)
	put(t, filepath.Join(dir, "httpd.conf"), b.String())
	started(t, address, "/usr/sbin/apache2", "-f", filepath.Join(dir, "httpd.conf"), "-D", "FOREGROUND")
}

func haproxy(t *testing.T, dir, host string, http, https int) {
	t.Helper()
	selfSigned(t, filepath.Join(dir, "own"), "own.test")
	put(t, filepath.Join(dir, "certs", "own.pem"), read(t, filepath.Join(dir, "own", "fullchain.pem"))+read(t, filepath.Join(dir, "own", "privkey.pem")))
	put(t, filepath.Join(dir, "acme.map"), "")
	put(t, filepath.Join(dir, "haproxy.cfg"), fmt.Sprintf(`global
    stats socket %[1]s/admin.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend web
    bind %[2]s:%[3]d
    http-request return status 200 content-type text/plain lf-string "%%[path,map_str(%[1]s/acme.map)]" if { path,map_str(%[1]s/acme.map) -m found }
    http-request redirect scheme https
frontend tls
    bind %[2]s:%[4]d ssl crt %[1]s/certs
    http-request return status 200 content-type text/plain string hello
`, dir, host, http, https))
	started(t, fmt.Sprintf("%s:%d", host, http), "/usr/sbin/haproxy", "-db", "-f", filepath.Join(dir, "haproxy.cfg"))
}
