package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	httpd   = "/usr/sbin/apache2"
	modules = "/usr/lib/apache2/modules"
	// waitLimit is generous: machines are busy.
	waitLimit = time.Minute
)

// server is an httpd of the test's own, with everything in a directory.
type server struct {
	t           *testing.T
	dir         string
	http, https int
	// root and config are what the plugin is told.
	root, config, ctl string
	cmd               *exec.Cmd
	ended             chan struct{}
}

// workDir can be entered by httpd's workers, who are somebody else if the test
// runs as root.
func workDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

// base is what every configuration needs; the modules are few on purpose.
const base = `ServerRoot {dir}
PidFile {dir}/run/httpd.pid
Mutex file:{dir}/run default
ErrorLog {dir}/error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_host_module {modules}/mod_authz_host.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule alias_module {modules}/mod_alias.so
StartServers 1
ServerLimit 16
ThreadsPerChild 8
MaxRequestWorkers 16
MinSpareThreads 1
MaxSpareThreads 16
<IfModule unixd_module>
    User www-data
    Group www-data
</IfModule>
ServerName main.test
<Directory />
    Require all denied
</Directory>
<Directory {dir}/www>
    Require all granted
</Directory>
DocumentRoot {dir}/www
` + listens

const listens = "Listen 127.0.0.1:{http}\nListen [::1]:{http}\n"

// stock is the same in the order of Apache's own httpd.conf, with more modules.
func stock(loads string) string {
	before, after, _ := strings.Cut(strings.TrimSuffix(base, listens), "StartServers")
	return listens + before + loads + "StartServers" + after
}

// plain makes a server with one configuration file, and others beside it, and
// starts it.
func plain(t *testing.T, config string, others ...string) *server {
	t.Helper()
	return single(t, base+config, others...)
}

// single is plain without what every configuration needs.
func single(t *testing.T, config string, others ...string) *server {
	t.Helper()
	s := &server{t: t, dir: workDir(t), ctl: httpd}
	s.config = filepath.Join(s.dir, "httpd.conf")
	for _, dir := range []string{"run", "www", "conf.d"} {
		must(t, os.Mkdir(filepath.Join(s.dir, dir), 0o755))
	}
	put(t, filepath.Join(s.dir, "www", "index.html"), "the site\n", 0o644)
	s.serve(func() {
		put(t, s.config, s.fill(config), 0o644)
		for i := 0; i+1 < len(others); i += 2 {
			put(t, filepath.Join(s.dir, others[i]), s.fill(others[i+1]), 0o644)
		}
	})
	return s
}

// debian makes a copy of Debian's tree, with sites as available and enabled, and
// starts it.
func debian(t *testing.T, sites map[string]string) *server {
	t.Helper()
	s := &server{t: t, dir: workDir(t), ctl: "/usr/sbin/apache2ctl"}
	s.root = filepath.Join(s.dir, "etc")
	out, err := exec.CommandContext(t.Context(), "cp", "-a", "/etc/apache2", s.root).CombinedOutput()
	if err != nil {
		t.Fatalf("copy /etc/apache2: %v\n%s", err, out)
	}
	for _, dir := range []string{"run", "www", "log", "lock"} {
		must(t, os.Mkdir(filepath.Join(s.dir, dir), 0o755))
	}
	put(t, filepath.Join(s.dir, "www", "index.html"), "the site\n", 0o644)
	must(t, os.RemoveAll(filepath.Join(s.root, "sites-enabled")))
	must(t, os.Mkdir(filepath.Join(s.root, "sites-enabled"), 0o755))
	as := "www-data" // apache2ctl gives directories to this user
	if os.Getuid() != 0 {
		me, err := user.Current()
		must(t, err)
		as = me.Username
	}
	put(t, filepath.Join(s.root, "envvars"), s.fill(`export APACHE_RUN_USER=`+as+`
export APACHE_RUN_GROUP=www-data
export APACHE_PID_FILE={dir}/run/apache2.pid
export APACHE_RUN_DIR={dir}/run
export APACHE_LOCK_DIR={dir}/lock
export APACHE_LOG_DIR={dir}/log
export LANG=C
`), 0o644)
	s.serve(func() {
		put(t, filepath.Join(s.root, "ports.conf"), s.fill("Listen 127.0.0.1:{http}\nListen [::1]:{http}\nServerName main.test\n"), 0o644)
		for name, text := range sites {
			put(t, filepath.Join(s.root, "sites-available", name), s.fill(text), 0o644)
			if !strings.HasPrefix(name, "off-") {
				link := filepath.Join(s.root, "sites-enabled", name)
				_ = os.Remove(link)
				must(t, os.Symlink("../sites-available/"+name, link))
			}
		}
	})
	return s
}

// fill replaces placeholders.
func (s *server) fill(text string) string {
	return strings.NewReplacer("{dir}", s.dir, "{modules}", modules, "{http}", strconv.Itoa(s.http), "{https}", strconv.Itoa(s.https)).Replace(text)
}

// serve starts the server; ports that somebody else takes meanwhile are tried
// again with others.
func (s *server) serve(write func()) {
	s.t.Helper()
	for range 10 {
		s.http, s.https = freePort(s.t), freePort(s.t)
		write()
		if s.start() {
			s.t.Cleanup(s.stop)
			return
		}
	}
	s.t.Fatalf("httpd does not start:\n%s", s.log())
}

// start gives false if the server ended at once.
func (s *server) start() bool {
	s.t.Helper()
	_ = os.Remove(s.pidFile())
	if s.root != "" {
		s.cmd = exec.Command("/bin/sh", "-c", `. "$0" && exec "$@"`, filepath.Join(s.root, "envvars"), httpd, "-d", s.root, "-D", "FOREGROUND")
	} else {
		s.cmd = exec.Command(httpd, "-f", s.config, "-D", "FOREGROUND")
	}
	s.cmd.Stderr = io.Discard
	must(s.t, s.cmd.Start())
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait()
	}(s.cmd, s.ended)
	return s.until(func() bool {
		_, err := os.Stat(s.pidFile())
		if err != nil {
			return false
		}
		conn, err := net.DialTimeout("tcp", s.addr4(s.http), time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// until waits for something; false: the server ended.
func (s *server) until(ok func() bool) bool {
	s.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	limit := time.NewTimer(waitLimit)
	defer limit.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-s.ended:
			return false
		case <-limit.C:
			s.t.Fatalf("waited for too long\n%s", s.log())
		}
	}
	return true
}

func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(waitLimit):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	s.cmd = nil
}

func (s *server) pidFile() string {
	if s.root != "" {
		return filepath.Join(s.dir, "run", "apache2.pid")
	}
	return filepath.Join(s.dir, "run", "httpd.pid")
}

func (s *server) log() string {
	path := filepath.Join(s.dir, "error.log")
	if s.root != "" {
		path = filepath.Join(s.dir, "log", "error.log")
	}
	data, _ := os.ReadFile(path)
	return string(data)
}

func (s *server) addr4(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
func (s *server) addr6(port int) string { return fmt.Sprintf("[::1]:%d", port) }

// settings are those of an instance for this server.
func (s *server) settings() settings {
	out := settings{Ctl: s.ctl, Config: s.config, ServerRoot: s.root, HTTPPort: s.http, HTTPSPort: s.https}
	if out.Config == "" {
		out.Config = standardConfig
	}
	return out
}

// get asks for a page; the status is in front.
func (s *server) get(address, host, path string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
	must(s.t, err)
	req.Host = host
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	if to := resp.Header.Get("Location"); to != "" {
		body = []byte(to)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, body))
}

// leaf is the certificate that is shown for a name; nil: none.
func (s *server) leaf(address, name string) *x509.Certificate {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: name}} //nolint:gosec // it is only looked at
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	tlsConn, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	return tlsConn.ConnectionState().PeerCertificates[0]
}

// serves waits until a leaf is shown: a reload takes effect in a moment.
func (s *server) serves(name string, want *x509.Certificate) {
	s.t.Helper()
	for _, address := range []string{s.addr4(s.https), s.addr6(s.https)} {
		if !s.until(func() bool {
			got := s.leaf(address, name)
			return got != nil && got.Equal(want)
		}) {
			s.t.Fatalf("httpd ended\n%s", s.log())
		}
	}
}

var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// freePort is free at every loopback address, and never given twice. It is below
// the range that the kernel gives ports from: httpd takes it later, and until
// then nobody else may get it by chance.
func freePort(t *testing.T) int {
	t.Helper()
	const lowest, highest = 15000, 32000
	given.Lock()
	defer given.Unlock()
	for range 1000 {
		port := lowest + rand.IntN(highest-lowest)
		if given.ports[port] || !isFree(port) {
			continue
		}
		given.ports[port] = true
		return port
	}
	t.Fatal("there is no free port")
	return 0
}

func isFree(port int) bool {
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}
