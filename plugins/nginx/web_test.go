package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

const binary = "/usr/sbin/nginx"

// web is an nginx of the test's own, with all its files in a directory.
type web struct {
	dir         string
	http, https int
	cmd         *exec.Cmd
	ended       chan struct{}
}

// layout gives the files of a server by their path in its directory; what is in
// nginx.conf is put into the http block if it has none.
type layout func(w *web) map[string]string

// header is what a server needs to be one of many, run by anybody.
func (w *web) header() string {
	return "daemon off;\nworker_processes 2;\npid nginx.pid;\nerror_log error.log notice;\nevents { worker_connections 128; }\n"
}

func (w *web) httpHeader() string {
	var b strings.Builder
	b.WriteString("    access_log off;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "    %s_temp_path tmp_%s;\n", kind, kind)
	}
	return b.String()
}

func (w *web) main(inHTTP string) string {
	return w.header() + "http {\n" + w.httpHeader() + inHTTP + "}\n"
}

// listen gives the lines for both address families.
func listens(port int, more string) string {
	return fmt.Sprintf("        listen 127.0.0.1:%d%s;\n        listen [::1]:%d%s;\n", port, more, port, more)
}

// written puts a layout on disk without starting anything.
func written(t *testing.T, files layout) *web {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	w := &web{dir: dir}
	w.write(t, files)
	return w
}

func (w *web) write(t *testing.T, files layout) {
	t.Helper()
	w.http, w.https = freePort(t), freePort(t)
	selfSigned(t, filepath.Join(w.dir, "old"), "old.test")
	for path, text := range files(w) {
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			must(t, os.MkdirAll(filepath.Dir(w.path(path)), 0o755))
			_ = os.Remove(w.path(path))
			must(t, os.Symlink(target, w.path(path)))
			continue
		}
		put(t, w.path(path), text)
	}
}

// running starts it; another process may have taken a port meanwhile.
func running(t *testing.T, files layout) *web {
	t.Helper()
	w := written(t, files)
	for range 10 {
		if w.start(t) {
			return w
		}
		w.write(t, files)
	}
	t.Fatalf("nginx does not start:\n%s", read(t, w.path("error.log")))
	return nil
}

// start gives false if an address was in use.
func (w *web) start(t *testing.T) bool {
	t.Helper()
	if err := os.Remove(w.path("error.log")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	w.cmd = exec.Command(binary, "-p", w.dir+"/", "-c", w.path("nginx.conf"), "-e", w.path("error.log"))
	var out bytes.Buffer
	w.cmd.Stdout, w.cmd.Stderr = &out, &out
	must(t, w.cmd.Start())
	ended := make(chan struct{})
	w.ended = ended
	cmd := w.cmd
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() { w.stop(cmd, ended) })
	deadline := time.NewTimer(patient)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(w.path("nginx.pid")); err == nil && strings.TrimSpace(string(data)) == fmt.Sprint(cmd.Process.Pid) {
			if workers, err := serving(cmd.Process.Pid); err == nil && len(workers) == 2 {
				return true
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			log, _ := os.ReadFile(w.path("error.log"))
			if strings.Contains(string(log)+out.String(), "in use") {
				return false
			}
			t.Fatalf("nginx ended:\n%s%s", out.String(), log)
		case <-deadline.C:
			t.Fatal("nginx does not start")
		}
	}
}

func (w *web) stop(cmd *exec.Cmd, ended chan struct{}) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(patient):
		_ = cmd.Process.Kill()
		<-ended
	}
}

func (w *web) path(name string) string { return filepath.Join(w.dir, name) }

func (w *web) settings() settings {
	return settings{
		Binary: binary, Config: w.path("nginx.conf"), Prefix: w.dir, ErrorLog: w.path("error.log"),
		HTTPPort: w.http, HTTPSPort: w.https,
	}
}

// plugin gives an instance, as a new process would be.
func (w *web) plugin(t *testing.T, state string) *nginx {
	t.Helper()
	n := newNginx()
	n.settings = w.settings()
	must(t, n.Configure(t.Context(), sdk.Instance{Name: "nginx", StateDir: state}))
	return n
}

// tree is all of the configuration, with what a rollback must bring back.
func (w *web) tree(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(w.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			if err == nil && (strings.HasPrefix(e.Name(), "tmp_") || e.Name() == "lineages") {
				return fs.SkipDir
			}
			return err
		}
		if name := e.Name(); name == "error.log" || name == "nginx.pid" {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if e.Type() == fs.ModeSymlink {
			link, err := os.Readlink(path)
			out[path] = "-> " + link
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = fmt.Sprintf("%s %s\n%s", info.Mode(), info.ModTime().UTC().Format(time.RFC3339Nano), data)
		return err
	}))
	return out
}

// freePort is one on both loopback addresses that nobody else gets as long as the
// test lasts: it stays bound, and who listens on it sets SO_REUSEADDR as we do.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		four, port, err := bound(&syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, syscall.AF_INET)
		must(t, err)
		six, _, err := bound(&syscall.SockaddrInet6{Addr: [16]byte{15: 1}, Port: port}, syscall.AF_INET6)
		if err != nil {
			_ = syscall.Close(four)
			continue
		}
		t.Cleanup(func() { _, _ = syscall.Close(four), syscall.Close(six) })
		return port
	}
	t.Fatal("no port is free")
	return 0
}

func bound(address syscall.Sockaddr, family int) (fd, port int, err error) {
	if fd, err = syscall.Socket(family, syscall.SOCK_STREAM, 0); err != nil {
		return 0, 0, err
	}
	syscall.CloseOnExec(fd)
	err = errors.Join(syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1), syscall.Bind(fd, address))
	var got syscall.Sockaddr
	if err == nil {
		got, err = syscall.Getsockname(fd)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return 0, 0, err
	}
	if four, ok := got.(*syscall.SockaddrInet4); ok {
		return fd, four.Port, nil
	}
	return fd, got.(*syscall.SockaddrInet6).Port, nil
}
