// Command demo shows the whole way on one machine, without root and without a
// network: a test CA, the real certwright with its plugins as separate
// processes, and a web server that serves what was deployed. It is run by
// `make demo` and not installed. `make ca` runs it as `demo ca`: the test CA alone,
// for whoever writes a plugin.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/host/testca"
)

// name of the certificate and of the web site.
const name = "demo.test"

func main() {
	prefix := flag.String("prefix", "", "directory that certwright is installed to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *prefix, flag.Args())
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, prefix string, args []string) error {
	if len(args) == 0 {
		return demo(ctx, prefix)
	}
	if args[0] != "ca" {
		return fmt.Errorf("there is no mode %q; without one the demo runs, with ca the test CA", args[0])
	}
	o, err := parseCA(args[1:])
	if err != nil {
		return err
	}
	return runCA(ctx, o, os.Stdout)
}

// stage is everything that the demo runs beside certwright.
type stage struct {
	dir    string
	prefix string
	ca     *testca.CA
	site   *site
	// challengePort is where the CA looks for http-01 in place of port 80.
	challengePort int
}

func demo(ctx context.Context, prefix string) (err error) {
	dir, err := os.MkdirTemp("", "certwright-demo-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &stage{dir: dir, prefix: prefix}
	if s.challengePort, err = freePort(); err != nil {
		return err
	}
	if s.ca, err = testca.Start(ctx, testca.Options{HTTPPort: s.challengePort}); err != nil {
		return fmt.Errorf("start the test CA: %w", err)
	}
	defer func() { err = errors.Join(err, s.ca.Close()) }()
	if err := os.WriteFile(s.path("ca.pem"), s.ca.TLSRoots(), 0o600); err != nil {
		return fmt.Errorf("write the CA's root: %w", err)
	}
	if s.site, err = serve(s.path("site.pem"), s.path("site.key")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.site.close()) }()

	say("1. A test CA runs at %s, a web server at https://%s", s.ca.DirectoryURL(), s.site.address)
	say("2. certwright obtains a certificate: standalone proves the name, files deploys it")
	if err := s.certwright(ctx, "run", "--server", s.ca.DirectoryURL(), "--ca-bundle", s.path("ca.pem"),
		"-a", "standalone", "--set", "standalone.http_port="+strconv.Itoa(s.challengePort),
		"-i", "files", "--set", "files.fullchain="+s.path("site.pem"), "--set", "files.key="+s.path("site.key"),
		"--set", "files.endpoints=["+s.site.address+"]",
		"-d", name, "-m", "ops@example.com", "--agree-tos", "-n"); err != nil {
		return err
	}
	say("3. A client that trusts the test root only fetches the page")
	first, err := s.fetch(ctx)
	if err != nil {
		return err
	}
	say("4. certwright renews, and the same page is served with another certificate")
	if err := s.certwright(ctx, "renew", "--force-renewal", "-n"); err != nil {
		return err
	}
	second, err := s.fetch(ctx)
	if err != nil {
		return err
	}
	if first == second {
		return fmt.Errorf("the served serial is still %s after the renewal", first)
	}
	say("The served serial changed from %s to %s. That was the whole way.", first, second)
	return nil
}

func (s *stage) path(file string) string { return filepath.Join(s.dir, file) }

// certwright runs the installed program with a state of its own.
func (s *stage) certwright(ctx context.Context, args ...string) error {
	args = append(args, "--state-dir", s.path("state"), "--config-dir", s.dir)
	fmt.Printf("   $ certwright %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, filepath.Join(s.prefix, "bin", "certwright"), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		fmt.Printf("   | %s", line)
	}
	if err != nil {
		return fmt.Errorf("certwright %s: %w", args[0], err)
	}
	return nil
}

// fetch gets the page over TLS, prints the chain and gives the leaf's serial.
func (s *stage) fetch(ctx context.Context) (string, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.ca.IssuerRoots()) {
		return "", errors.New("the test CA has no root")
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.site.address)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+name+"/", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("fetch the page: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return "", fmt.Errorf("read the page: %w", err)
	}
	fmt.Printf("   GET https://%s/ -> %s: %s", name, resp.Status, page)
	for i, cert := range resp.TLS.VerifiedChains[0] {
		fmt.Printf("   chain %d  %s\n            issued by %s, serial %x, valid until %s\n", i, subject(cert), cert.Issuer, cert.SerialNumber, cert.NotAfter.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%x", resp.TLS.PeerCertificates[0].SerialNumber), nil
}

func subject(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return strings.Join(c.DNSNames, ", ")
	}
	return c.Subject.String()
}

func say(format string, args ...any) { fmt.Printf("\n"+format+"\n", args...) }

// freePort finds a port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener
	return port, l.Close()
}
