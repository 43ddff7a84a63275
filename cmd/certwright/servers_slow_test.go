//go:build slow

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
)

// trio is a certificate that nginx, apache and haproxy are to serve, each of
// them real.
type trio struct {
	t   *testing.T
	dir string
	env []string
	// address of each server's TLS, by instance.
	address map[string]string
	config  map[string]string
	apache  *exec.Cmd
}

const (
	nginxConf = `daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log notice;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    server {
        listen 127.0.0.1:{nginx-http};
        server_name a.test;
        return 200 "nginx\n";
    }
}
`
	apacheConf = `ServerRoot {dir}
PidFile {dir}/apache.pid
Mutex file:{dir} default
ErrorLog {dir}/apache.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
StartServers 1
ServerLimit 2
ThreadsPerChild 8
MaxRequestWorkers 16
MinSpareThreads 1
MaxSpareThreads 16
<IfModule unixd_module>
    User www-data
    Group www-data
</IfModule>
ServerName main.test
DocumentRoot {dir}/www
Listen 127.0.0.1:{apache-http}
<VirtualHost 127.0.0.1:{apache-http}>
    ServerName a.test
    DocumentRoot {dir}/www
</VirtualHost>
`
	haproxyConf = `global
    stats socket {dir}/admin.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend tls
    bind 127.0.0.1:{haproxy} ssl crt-list {dir}/crt-list.txt
    default_backend app
backend app
    http-request return status 200 content-type text/plain string haproxy
`
	trioConf = `server: {server}
ca_bundle: {dir}/ca.pem
agree_tos: true
instances:
  - {name: standalone, settings: {address: 127.0.0.8, http_port: {challenge}}}
  - {name: nginx, settings: {config: {dir}/nginx.conf, error_log: {dir}/nginx.log, http_port: {nginx-http}, https_port: {nginx}}}
  - {name: apache, settings: {ctl: /usr/sbin/apache2, config: {dir}/apache.conf, http_port: {apache-http}, https_port: {apache}}}
  - {name: haproxy, settings: {config: {dir}/haproxy.cfg, socket: {dir}/admin.sock, crt_list: {dir}/crt-list.txt, crt_dir: {dir}/certs}}
certificates:
  - {names: [a.test], authenticate: [{with: [standalone]}], deploy: [nginx, apache, haproxy]}
`
)

func newTrio(t *testing.T) *trio {
	dir, err := os.MkdirTemp("", "trio") //nolint:usetesting // short for the socket in it, and open to the servers' users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &trio{t: t, dir: dir, address: map[string]string{}, config: map[string]string{
		"nginx": filepath.Join(dir, "nginx.conf"), "apache": filepath.Join(dir, "apache.conf"), "haproxy": filepath.Join(dir, "haproxy.cfg"),
	}}
	s.check(os.Chmod(dir, 0o755))
	ports := []string{"{dir}", dir}
	for _, name := range []string{"nginx-http", "nginx", "apache-http", "apache", "haproxy"} {
		port := s.reserve(netip.MustParseAddr("127.0.0.1"))
		ports = append(ports, "{"+name+"}", strconv.Itoa(port))
		s.address[name] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	challenge := s.reserve(netip.MustParseAddr("127.0.0.8"))
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: challenge, NonceReject: 5})
	s.check(err)
	t.Cleanup(func() { _ = ca.Close() })
	ca.DNS().SetA("a.test", netip.MustParseAddr("127.0.0.8"))
	fill := strings.NewReplacer(append(ports, "{server}", ca.DirectoryURL(), "{challenge}", strconv.Itoa(challenge))...)
	for _, name := range []string{"etc", "www", "certs"} {
		s.check(os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	for name, text := range map[string]string{
		"nginx.conf": nginxConf, "apache.conf": apacheConf, "haproxy.cfg": haproxyConf, "etc/certwright.yaml": trioConf,
		"crt-list.txt": "{dir}/certs/default.pem\n", "ca.pem": string(ca.TLSRoots()), "certs/default.pem": string(selfSigned(t)),
	} {
		s.check(os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(text)), 0o600))
	}
	s.start("/usr/sbin/nginx", "-c", s.config["nginx"], "-e", filepath.Join(dir, "nginx.log"))
	s.apache = s.start("/usr/sbin/apache2", "-f", s.config["apache"], "-D", "FOREGROUND")
	s.start("/usr/sbin/haproxy", "-db", "-f", s.config["haproxy"])
	for _, name := range []string{"nginx-http", "apache-http", "haproxy"} {
		s.answers(s.address[name])
	}
	s.env = append(os.Environ(), "CERTWRIGHT_STATE_DIR="+filepath.Join(dir, "state"), "CERTWRIGHT_CONFIG_DIR="+filepath.Join(dir, "etc"))
	return s
}

func (s *trio) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// reserve gives a port that nobody else gets as long as the test lasts: it stays
// bound, and servers that listen set SO_REUSEADDR as we do.
func (s *trio) reserve(address netip.Addr) int {
	s.t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	s.check(err)
	syscall.CloseOnExec(fd)
	s.t.Cleanup(func() { _ = syscall.Close(fd) })
	s.check(errors.Join(syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1), syscall.Bind(fd, &syscall.SockaddrInet4{Addr: address.As4()})))
	got, err := syscall.Getsockname(fd)
	s.check(err)
	v4, ok := got.(*syscall.SockaddrInet4)
	if !ok {
		s.t.Fatalf("bound to %v", got)
	}
	return v4.Port
}

// start runs a server until the test ends.
func (s *trio) start(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	s.check(cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
		if s.t.Failed() {
			s.t.Logf("%s said:\n%s", name, &out)
		}
	})
	return cmd
}

// eventually waits for something that must happen.
func (s *trio) eventually(what string, done func() bool) {
	s.t.Helper()
	deadline, tick := time.Now().Add(patience), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain: %s", what)
		}
		<-tick.C
	}
}

func (s *trio) answers(address string) {
	s.t.Helper()
	s.eventually("nobody listens at "+address, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// certwright runs the program and gives what it says.
func (s *trio) certwright(exit int, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(prefix, "bin", "certwright"), args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != exit {
		s.t.Fatalf("certwright %s: exit %d, want %d\n%s", strings.Join(args, " "), got, exit, out)
	}
	return string(out)
}

// serves holds which version each server shows.
func (s *trio) serves(nginx, apache, haproxy int) {
	s.t.Helper()
	for name, version := range map[string]int{"nginx": nginx, "apache": apache, "haproxy": haproxy} {
		data, err := os.ReadFile(filepath.Join(s.dir, "state", "archive", "a.test", fmt.Sprintf("%04d", version), "cert.pem"))
		s.check(err)
		block, _ := pem.Decode(data)
		conn, err := tls.Dial("tcp", s.address[name], &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"}) //nolint:gosec // it is only looked at
		if err != nil {
			s.t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(conn.ConnectionState().PeerCertificates[0].Raw, block.Bytes) {
			s.t.Errorf("%s does not serve version %d", name, version)
		}
		_ = conn.Close()
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
}

func (s *trio) has(text string, wanted ...string) {
	s.t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			s.t.Errorf("%q is not said:\n%s", want, text)
		}
	}
}

// files are all that the servers read, but for what changes by itself.
func (s *trio) files() string {
	s.t.Helper()
	var out strings.Builder
	for _, name := range []string{"nginx.conf", "apache.conf", "haproxy.cfg", "crt-list.txt"} {
		data, err := os.ReadFile(filepath.Join(s.dir, name))
		s.check(err)
		fmt.Fprintf(&out, "%s:\n%s", name, data)
	}
	return out.String()
}

// breakApache makes its configuration one that it does not accept; mend undoes
// that, and its owner reloads it by hand.
func (s *trio) breakApache() (mend func()) {
	s.t.Helper()
	good, err := os.ReadFile(s.config["apache"])
	s.check(err)
	s.check(os.WriteFile(s.config["apache"], append(bytes.Clone(good), "NoSuchDirective on\n"...), 0o600))
	return func() {
		s.t.Helper()
		s.check(os.WriteFile(s.config["apache"], good, 0o600))
		before := s.reloads()
		s.check(s.apache.Process.Signal(syscall.SIGUSR1))
		s.eventually("apache does not reload", func() bool { return s.reloads() > before })
	}
}

func (s *trio) reloads() int {
	data, err := os.ReadFile(filepath.Join(s.dir, "apache.log"))
	s.check(err)
	return strings.Count(string(data), "resuming normal operations")
}

func selfSigned(t *testing.T) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"default.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...)
}

// One certificate on three servers, one of which does not accept its
// configuration: the others serve the new certificate and this one its old one,
// until it is tried again alone; or, with all or nothing, none does. [4]
func TestThreeServers(t *testing.T) {
	s := newTrio(t)
	s.certwright(0, "run", "-n")
	s.serves(1, 1, 1)
	first := s.files()

	mend := s.breakApache()
	said := s.certwright(3, "renew", "--force-renewal", "-n")
	s.has(said, "nginx serves version 2", "haproxy serves version 2", "deploy to apache: ")
	s.serves(2, 1, 2)
	s.has(s.certwright(0, "certificates"), "nginx serves version 2", "haproxy serves version 2", "apache serves version 1", "the next renew tries again: deploy to apache")
	mend()
	s.serves(2, 1, 2)
	if now := s.files(); now != first {
		t.Errorf("a configuration is another one:\n%s\nit was:\n%s", now, first)
	}
	s.has(s.certwright(0, "plan"), "deploy  a.test: the deployment to apache has failed once")
	said = s.certwright(0, "renew", "-n")
	s.has(said, "deploying version 2 to apache", "apache serves version 2")
	for _, other := range []string{"nginx", "haproxy"} {
		if strings.Contains(said, "deploying version 2 to "+other) {
			t.Errorf("%s is deployed to again:\n%s", other, said)
		}
	}
	s.serves(2, 2, 2)

	mend = s.breakApache()
	said = s.certwright(3, "renew", "--force-renewal", "--all-or-nothing", "-n")
	s.has(said, "deploy to nginx: taken back, because apache failed", "deploy to haproxy: taken back, because apache failed")
	s.serves(2, 2, 2)
	mend()
	s.serves(2, 2, 2)
	if now := s.files(); now != first {
		t.Errorf("a configuration is another one:\n%s\nit was:\n%s", now, first)
	}
	s.certwright(0, "renew", "-n", "--all-or-nothing")
	s.serves(3, 3, 3)

	// And back: each to what it was before the certificate came.
	s.certwright(0, "rollback", "-i", "nginx")
	s.certwright(0, "rollback", "-i", "apache")
	for _, name := range []string{"nginx", "apache"} {
		s.eventually(name+" to listen for TLS no more", func() bool {
			conn, err := net.Dial("tcp", s.address[name])
			if err == nil {
				_ = conn.Close()
			}
			return err != nil
		})
	}
}
