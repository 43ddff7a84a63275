package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/host/testca"
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

// host is certwright with a state of its own, for one nginx.
type host struct {
	prefix, dir string
	ca          *testca.CA
	web         *web
	// plugins is a directory with the plugin that can be made to fail.
	plugins string
}

func startHost(t *testing.T, prefix string, w *web) *host {
	t.Helper()
	ca, err := testca.Start(t.Context(), testca.Options{HTTPPort: w.http, AuthzReuse: 0})
	must(t, err)
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{prefix: prefix, dir: t.TempDir(), ca: ca, web: w}
	must(t, os.MkdirAll(filepath.Join(h.dir, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(h.dir, "ca.pem"), ca.TLSRoots(), 0o600))
	return h
}

// faulty makes the host use the test binary as the plugin.
func (h *host) faulty(t *testing.T) {
	t.Helper()
	h.plugins = filepath.Join(h.dir, "plugins")
	must(t, os.Mkdir(h.plugins, 0o755))
	from, err := os.Open(os.Args[0])
	must(t, err)
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(h.plugins, pluginName), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	must(t, err)
	_, err = io.Copy(to, from)
	must(t, err)
	must(t, to.Close())
}

// level is that of the plugin's sandbox: one that injects faults reads what they
// are, and writes its steps, beside its binary.
func (h *host) level() string {
	if h.plugins != "" {
		return "off"
	}
	return "required"
}

func (h *host) fault(t *testing.T, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(h.plugins, "fault"), []byte(text), 0o600))
}

func (h *host) state() string { return filepath.Join(h.dir, "state") }

func (h *host) command(t *testing.T, verb string, args ...string) *exec.Cmd {
	t.Helper()
	s := h.web.settings()
	all := []string{verb, "-n", "--config-dir", filepath.Join(h.dir, "etc"), "--state-dir", h.state()}
	if verb != "install" && verb != "rollback" {
		all = append(all, "--ca-bundle", filepath.Join(h.dir, "ca.pem"))
	}
	if h.plugins != "" {
		all = append(all, "--plugin-dir", h.plugins)
	}
	if verb == "run" || verb == "certonly" {
		all = append(all, "--agree-tos", "--server", h.ca.DirectoryURL())
	}
	if verb == "renew" || verb == "rollback" {
		return exec.CommandContext(t.Context(), filepath.Join(h.prefix, "bin", "certwright"), append(all, args...)...)
	}
	for key, value := range map[string]string{
		"binary": s.Binary, "config": s.Config, "prefix": s.Prefix, "error_log": s.ErrorLog,
		"http_port": fmt.Sprint(s.HTTPPort), "https_port": fmt.Sprint(s.HTTPSPort), "sandbox": h.level(),
	} {
		all = append(all, "--set", "nginx."+key+"="+value)
	}
	return exec.CommandContext(t.Context(), filepath.Join(h.prefix, "bin", "certwright"), append(all, args...)...)
}

// try gives all that it printed.
func (h *host) try(t *testing.T, verb string, args ...string) (string, error) {
	t.Helper()
	out, err := h.command(t, verb, args...).CombinedOutput()
	return string(out), err
}

func (h *host) do(t *testing.T, verb string, args ...string) string {
	t.Helper()
	out, err := h.try(t, verb, args...)
	if err != nil {
		log, _ := os.ReadFile(h.web.path("error.log"))
		t.Fatalf("%s %q: %v\n%s\n%s", verb, args, err, out, log)
	}
	return out
}

// leaf is what a link of the state directory leads to.
func (h *host) leaf(t *testing.T, link string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(read(t, filepath.Join(h.state(), link, "cert.pem"))))
	cert, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return cert
}

// visitor opens a connection for each request, all the time, and counts those
// that failed.
type visitor struct {
	stop   chan struct{}
	ended  sync.WaitGroup
	count  atomic.Int64
	mu     sync.Mutex
	failed []string
}

// visit asks an address by HTTP and another one by TLS, until it is stopped.
func visit(t *testing.T, w *web, plainName, tlsName string) *visitor {
	t.Helper()
	v := &visitor{stop: make(chan struct{})}
	loop := func(request func() error) {
		v.ended.Go(func() {
			for {
				select {
				case <-v.stop:
					return
				default:
				}
				if err := request(); err != nil {
					v.mu.Lock()
					v.failed = append(v.failed, err.Error())
					v.mu.Unlock()
				}
				v.count.Add(1)
				// Not faster than a machine has ports.
				const pace = 2 * time.Millisecond
				_ = wait(context.Background(), pace)
			}
		})
	}
	loop(func() error {
		code, body, err := get(both(w.http)[0], plainName, "/")
		if err == nil && (code != 200 || body == "") {
			err = fmt.Errorf("status %d, %q", code, body)
		}
		return err
	})
	loop(func() error {
		_, err := served(both(w.https)[1], tlsName)
		return err
	})
	t.Cleanup(v.end)
	return v
}

func (v *visitor) end() {
	select {
	case <-v.stop:
	default:
		close(v.stop)
	}
	v.ended.Wait()
}

func (v *visitor) wantNoFailure(t *testing.T) {
	t.Helper()
	v.end()
	if v.count.Load() == 0 {
		t.Error("nobody has visited")
	}
	if len(v.failed) > 0 {
		t.Errorf("%d of %d requests failed, the first: %s", len(v.failed), v.count.Load(), v.failed[0])
	}
}
