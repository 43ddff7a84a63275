package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
)

const root = "../.."

// What `make ca` prints is enough to be issued a certificate, and Ctrl-C leaves
// nothing of it.
func TestCA(t *testing.T) {
	www, temporary := t.TempDir(), t.TempDir()
	other, err := testca.Start(t.Context(), testca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	other.DNS().SetA("www.zone.test", netip.MustParseAddr("127.0.0.9"))

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "make", "ca", "WWW="+www, "ZONE=zone.test="+other.DNS().Addr())
	cmd.Dir = root
	// A Ctrl-C reaches make and what it runs.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary, "MAKEFLAGS=", "MAKELEVEL=")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waited := false
	defer func() {
		if !waited {
			_ = cmd.Cancel()
			_ = cmd.Wait()
		}
	}()
	var said strings.Builder
	lines := bufio.NewScanner(stdout)
	for !strings.Contains(said.String(), "until Ctrl-C") && lines.Scan() {
		said.WriteString(lines.Text() + "\n")
	}
	found := func(pattern string) string {
		t.Helper()
		match := regexp.MustCompile(pattern).FindStringSubmatch(said.String())
		if match == nil {
			t.Fatalf("the CA does not say %s:\n%s\n%s", pattern, said.String(), complaints.String())
		}
		return match[1]
	}
	found(`http-01 is looked for at (127\.0\.0\.1:\d+), whatever the name, where ` + regexp.QuoteMeta(www) + ` is served\n`)
	found(`tls-alpn-01 is looked for at (127\.0\.0\.1:\d+)\n`)
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, found(`name server (127\.0\.0\.1:\d+);`))
	}}
	for name, want := range map[string]string{"shop.test.": "127.0.0.1", "www.zone.test.": "127.0.0.9"} {
		if addrs, err := resolver.LookupHost(ctx, name); err != nil || len(addrs) != 1 || addrs[0] != want {
			t.Errorf("%s is %v, %v", name, addrs, err)
		}
	}

	// As a person does it: all of it into a shell.
	shell := exec.CommandContext(ctx, "sh", "-euc", said.String()+`"$@"
test -s "$CERTWRIGHT_STATE_DIR/live/shop.test/fullchain.pem"`, "sh",
		program(t), "certonly", "-n", "-m", "you@example.com", "--agree-tos", "-a", "webroot", "--set", "webroot.path="+www, "-d", "shop.test")
	shell.Env = append(os.Environ(), "CERTWRIGHT_CONFIG_DIR="+t.TempDir())
	if out, err := shell.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}

	directory := strings.TrimSuffix(strings.TrimPrefix(found(`CERTWRIGHT_SERVER=(\S+)\n`), "https://"), "/dir")
	bundle := found(`CERTWRIGHT_CA_BUNDLE=(\S+)\n`)
	if !strings.HasPrefix(bundle, temporary) {
		t.Fatalf("the root is not in %s: %s", temporary, bundle)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // until all who hold it have ended
		said.WriteString(lines.Text() + "\n")
	}
	waited = true
	_ = cmd.Wait() // of make, which an interrupt ends as it likes
	if strings.Contains(complaints.String(), "demo:") {
		t.Errorf("the CA complains: %s", complaints.String())
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if conn, err := net.Dial("tcp", directory); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			_ = conn.Close()
		}
		t.Errorf("connect to %s after the end: %v", directory, err)
	}
}

// program builds certwright with the one plugin that the test uses.
func program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "bin", "certwright")
	for source, to := range map[string]string{
		"cmd/certwright":  binary,
		"plugins/webroot": filepath.Join(dir, "libexec/certwright/plugins/certwright-plugin-webroot"),
	} {
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", to, root+"/"+source).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", source, err, out)
		}
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chmod(path, 0o755)) // writable by nobody else, whatever the umask
	})
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func TestCARefuses(t *testing.T) {
	for says, args := range map[string][]string{
		"make it first":        {"ca", "-www", filepath.Join(t.TempDir(), "none")},
		"wants ZONE=HOST:PORT": {"ca", "-zone", "zone.test"},
		"takes no argument":    {"ca", "more"},
		"there is no mode":     {"cd"},
	} {
		if err := run(t.Context(), "", args); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q", args, err, says)
		}
	}
}
