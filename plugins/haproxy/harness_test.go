package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

// patience is how long something that must happen may take on a busy machine.
const patience = 60 * time.Second

const program = "/usr/sbin/haproxy"

// proxy is a real haproxy of the test's own.
type proxy struct {
	dir      string
	config   string
	web, tls int // ports on 127.0.0.1 and ::1
	listen   int // of the plugin
	// master: the socket is that of a master, which can reload.
	master bool
	socket string

	process *exec.Cmd
	output  *safeBuffer
	ended   chan struct{}
}

// setup says what kind of proxy.
type setup struct {
	listener bool // challenges go to the plugin's listener, not through the map
	crtList  bool
	master   bool
	// edit changes the configuration before the start.
	edit func(p *proxy, config string) string
	// without leaves the directory empty, else it has a certificate for haproxy
	// to start with.
	without bool
	stopped bool
}

// start writes the configuration of the README and runs haproxy with it.
func start(t *testing.T, s setup) *proxy {
	t.Helper()
	p := &proxy{dir: shortDir(t), web: reserve(t), tls: reserve(t), listen: reserve(t), master: s.master}
	p.config, p.socket = filepath.Join(p.dir, "haproxy.cfg"), filepath.Join(p.dir, "admin.sock")
	must(t, os.Mkdir(p.certs(), 0o700))
	write(t, p.acmeMap(), "")
	if !s.without {
		write(t, filepath.Join(p.certs(), "0-default.pem"), string(pemOf(t, issue(t, "default.test"))))
	}
	write(t, p.crtList(), "# certificates\n")
	if s.crtList && !s.without {
		write(t, p.crtList(), "# certificates\n"+filepath.Join(p.certs(), "0-default.pem")+"\n")
	}
	config := p.fromReadme(t, s)
	if s.edit != nil {
		config = s.edit(p, config)
	}
	write(t, p.config, config)
	if !s.stopped {
		p.run(t)
	}
	return p
}

func (p *proxy) certs() string   { return filepath.Join(p.dir, "certs") }
func (p *proxy) crtList() string { return filepath.Join(p.dir, "crt-list.txt") }
func (p *proxy) acmeMap() string { return filepath.Join(p.dir, "acme.map") }
func (p *proxy) file(name string) string {
	return filepath.Join(p.certs(), name+".pem")
}

// shortDir is a directory with a path short enough for a socket in it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hap") //nolint:usetesting // its directories are named after the test, too long for a socket
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// fromReadme gives the configuration that users are told to write, with the
// test's paths and ports.
func (p *proxy) fromReadme(t *testing.T, s setup) string {
	t.Helper()
	blocks := readmeBlocks(t)
	config := blocks["global"]
	if s.listener {
		config = replaceSection(t, config, "frontend web", blocks["frontend web"])
	}
	if s.crtList {
		config = replaceSection(t, config, "frontend tls", blocks["frontend tls"])
	}
	config += "backend app\n    http-request return status 200 content-type text/plain string hello\n"
	return strings.NewReplacer(
		"/run/haproxy/", p.dir+"/", "/etc/haproxy/", p.dir+"/", "127.0.0.1:8402", loopback(p.listen),
		"bind :80", "bind "+loopback(p.web), "bind :::80", "bind "+loopback6(p.web),
		"bind :443", "bind "+loopback(p.tls), "bind :::443", "bind "+loopback6(p.tls),
	).Replace(config)
}

// readmeBlocks gives the parts of haproxy.cfg in the README by their first line.
func readmeBlocks(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	var now strings.Builder
	end := func() {
		first, _, _ := strings.Cut(now.String(), "\n")
		if _, ok := out[first]; ok && first != "" {
			t.Fatalf("the README has two parts that begin with %q", first)
		}
		out[first] = now.String()
		now.Reset()
	}
	for line := range strings.Lines(read(t, "README.md")) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			now.WriteString(code)
		} else if now.Len() > 0 {
			end()
		}
	}
	if now.Len() > 0 {
		end()
	}
	return out
}

// replaceSection puts the sections of a part in place of one section.
func replaceSection(t *testing.T, config, name, part string) string {
	t.Helper()
	section := regexp.MustCompile(`(?m)^` + name + `\n(?: .*\n)+`)
	if !section.MatchString(config) || part == "" {
		t.Fatalf("no section %q in\n%s", name, config)
	}
	return section.ReplaceAllLiteralString(config, part)
}

func loopback(port int) string  { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
func loopback6(port int) string { return net.JoinHostPort("::1", strconv.Itoa(port)) }

// reserve gives a port that nobody else gets as long as the test lasts: it stays
// bound, and who listens on it sets SO_REUSEADDR as we do.
func reserve(t *testing.T) int {
	t.Helper()
	for range 100 {
		v4, port, err := bound(&syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, syscall.AF_INET)
		must(t, err)
		v6, _, err := bound(&syscall.SockaddrInet6{Addr: [16]byte{15: 1}, Port: port}, syscall.AF_INET6)
		if err != nil {
			_ = syscall.Close(v4)
			continue
		}
		t.Cleanup(func() { _ = syscall.Close(v4); _ = syscall.Close(v6) })
		return port
	}
	t.Fatal("no port is free on 127.0.0.1 and ::1")
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
	if v4, ok := got.(*syscall.SockaddrInet4); ok {
		return fd, v4.Port, nil
	}
	return fd, got.(*syscall.SockaddrInet6).Port, nil
}

// run starts haproxy and waits until its socket answers.
func (p *proxy) run(t *testing.T) {
	t.Helper()
	args := []string{"-db", "-f", p.config}
	if p.master {
		p.socket = filepath.Join(p.dir, "master.sock")
		args = []string{"-W", "-db", "-S", p.socket, "-f", p.config}
	}
	p.output, p.ended = &safeBuffer{}, make(chan struct{})
	p.process = exec.Command(program, args...)
	p.process.Stdout, p.process.Stderr = p.output, p.output
	must(t, p.process.Start())
	process, ended := p.process, p.ended
	go func() { _ = process.Wait(); close(ended) }()
	t.Cleanup(func() { p.stop(t) })
	eventually(t, "haproxy answers", func() error {
		select {
		case <-ended:
			t.Fatalf("haproxy ended: %s\n%s", process.ProcessState, p.output)
		default:
		}
		_, err := (&runtime{address: p.socket, step: func(string) {}}).ask(t.Context(), "show info", nil)
		return err
	})
}

// stop ends haproxy, a master with its workers.
func (p *proxy) stop(t *testing.T) {
	t.Helper()
	if p.process == nil {
		return
	}
	again, late := time.NewTicker(time.Second), time.After(patience)
	defer again.Stop()
	for ended := false; !ended; {
		// A master that begins a reload at this moment forgets that it is to end.
		_ = p.process.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
			ended = true
		case <-again.C:
		case <-late:
			_ = p.process.Process.Kill()
			t.Fatalf("haproxy did not end\n%s", p.output)
		}
	}
	p.process = nil
}

// say sends one command to haproxy.
func (p *proxy) say(t *testing.T, command string, payload ...string) string {
	t.Helper()
	r := &runtime{address: p.socket, step: func(string) {}}
	var content []byte
	if len(payload) > 0 {
		content = []byte(payload[0])
	}
	out, err := r.ask(t.Context(), command, content)
	must(t, err)
	return out
}

// settings are those of an instance for this proxy.
func (p *proxy) settings(s setup) settings {
	out := settings{Binary: program, Config: p.config, Socket: p.socket, CrtDir: p.certs(), Map: p.acmeMap()}
	if s.listener {
		out.Map, out.Listen = "", p.listen
	}
	if s.crtList {
		out.CrtList = p.crtList()
	}
	return out
}

// plugin gives a configured instance, as a new process would be.
func plugin(t *testing.T, s settings, state string) *haproxy {
	t.Helper()
	h := newHAProxy()
	h.settings = s
	h.systemd.booted = filepath.Join(state, "no-systemd")
	must(t, h.Configure(t.Context(), sdk.Instance{Name: "haproxy", StateDir: state}))
	return h
}

// eventually tries until there is no error.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			t.Fatalf("%s: not in time: %v", what, err)
		case <-timer.C:
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// tree is what the files of a directory hold.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			out[path] = fmt.Sprint(info.Mode(), " ", info.ModTime().UTC(), "\n", read(t, path))
		}
		return err
	}))
	return out
}

func wantError(t *testing.T, err error, code sdk.Code, parts ...string) {
	t.Helper()
	p := sdk.ProblemOf(err)
	if p == nil {
		t.Fatal("there is no error")
	}
	if p.Code != code {
		t.Errorf("code %s, want %s: %v", p.Code, code, err)
	}
	for _, part := range parts {
		if text := p.Error() + "\n" + p.Hint; !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}

// recorder keeps what a call reports.
type recorder struct {
	mu       sync.Mutex
	results  []sdk.Result
	progress []string
}

func (r *recorder) Progress(_, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = append(r.progress, message)
}

func (r *recorder) Result(result sdk.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

func (r *recorder) Say(sdk.Stream, string)                      {}
func (r *recorder) Ask(context.Context, string) (string, error) { return "", io.EOF }

func (r *recorder) story() string { return strings.Join(r.progress, "\n") }

// safeBuffer may be read while a process writes into it.
type safeBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
