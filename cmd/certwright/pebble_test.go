//go:build slow

package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk/plugintest"
)

// TestSeparatePebble obtains certificates from a Pebble and a DNS server that
// were started from their own binaries, as a stranger would start them, with
// Pebble's default rejection of nonces.
func TestSeparatePebble(t *testing.T) {
	dir := t.TempDir()
	const pebble = "github.com/letsencrypt/pebble/v2"
	build := exec.Command("go", "build", "-o", dir+"/", pebble+"/cmd/pebble", pebble+"/cmd/pebble-challtestsrv")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build Pebble: %v\n%s", err, out)
	}
	source, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", pebble).Output()
	if err != nil {
		t.Fatal(err)
	}
	certs := filepath.Join(strings.TrimSpace(string(source)), "test", "certs")
	listen, management, dns := plugintest.Port(t), plugintest.Port(t), plugintest.Port(t)
	mgmt, web, alpn := plugintest.Port(t), plugintest.Port(t), plugintest.Port(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": local(listen), "managementListenAddress": local(management),
		"certificate": certs + "/localhost/cert.pem", "privateKey": certs + "/localhost/key.pem",
		"httpPort": web, "tlsPort": alpn, "retryAfter": map[string]int{"authz": 0, "order": 0}, "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 7776000}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/pebble.json", config, 0o600); err != nil {
		t.Fatal(err)
	}
	background(t, exec.Command(dir+"/pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-dnsserver", local(dns), "-management", local(mgmt)))
	server := exec.Command(dir+"/pebble", "-config", dir+"/pebble.json", "-dnsserver", local(dns))
	server.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	background(t, server)
	directory := fmt.Sprintf("https://localhost:%d/dir", listen)
	awaitHTTPS(t, directory)

	state := filepath.Join(dir, "state")
	certonly := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(prefix, "bin", "certwright"), append([]string{
			"certonly", "--server", directory, "--ca-bundle", certs + "/pebble.minica.pem", "-a", "standalone",
			"--set", fmt.Sprintf("standalone.http_port=%d", web), "-m", "x@example.com", "--agree-tos", "-n",
			"--state-dir", state, "--config-dir", dir,
		}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("certonly %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	certonly("-d", "a.test", "-d", "b.test")
	live := filepath.Join(state, "live", "a.test")
	info, err := os.Stat(live + "/privkey.pem")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("privkey.pem: %v, %v", info, err)
	}
	root := filepath.Join(dir, "root.pem")
	fetch(t, fmt.Sprintf("https://%s/roots/0", local(management)), root)
	verify := exec.Command("openssl", "verify", "-CAfile", root, "-untrusted", live+"/chain.pem", live+"/cert.pem")
	if out, err := verify.CombinedOutput(); err != nil {
		t.Errorf("openssl verify: %v\n%s", err, out)
	}
	if out := certonly("-d", "a.test", "-d", "b.test"); !strings.Contains(out, "a.test: not due before") {
		t.Errorf("the same command again: %s", out)
	}
	certonly("-d", "a.test", "-d", "b.test", "--force-renewal")
	if target, err := os.Readlink(live); err != nil || filepath.Base(target) != "0002" {
		t.Errorf("after a forced renewal live leads to %s, %v", target, err)
	}
	for i := range 20 {
		certonly("-d", fmt.Sprintf("run-%d.test", i))
	}
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// background runs a server until the test ends.
func background(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(cmd.Path), log.String())
		}
	})
}

// stranger is a client that trusts anybody: it only looks whether a server is
// up, and fetches a test root.
var stranger = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
	TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a test CA on this machine
}}

func awaitHTTPS(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		resp, err := stranger.Get(url)
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func fetch(t *testing.T, url, file string) {
	t.Helper()
	resp, err := stranger.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
