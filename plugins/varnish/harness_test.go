package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

// patience is how long something that must happen may take on a busy machine.
const patience = 60 * time.Second

const varnishd = "/usr/sbin/varnishd"

// cache is a real varnishd of the test's own, with ports that it has chosen.
type cache struct {
	dir, workdir, secret, config string
	web                          string // host:port
	// held is told of a request for /hold, which is answered when free is closed.
	held chan struct{}
	free chan struct{}
	// failing has the origin fail probes.
	failing atomic.Bool

	process *exec.Cmd
	output  *safeBuffer
	ended   chan struct{}
}

// start runs varnishd with a VCL. In it, DIR stands for the test's directory and
// ORIGIN for the address and port of a backend, as in VCL.
func start(t *testing.T, vcl string, files map[string]string) *cache {
	t.Helper()
	c := &cache{dir: t.TempDir(), held: make(chan struct{}, 1), free: make(chan struct{})}
	c.workdir, c.secret, c.config = filepath.Join(c.dir, "work"), filepath.Join(c.dir, "secret"), filepath.Join(c.dir, "main.vcl")
	write(t, c.secret, "certwright's test\n")
	host, port, err := net.SplitHostPort(c.origin(t))
	must(t, err)
	replacer := strings.NewReplacer("DIR", c.dir, "ORIGIN", fmt.Sprintf(".host = %q; .port = %q;", host, port))
	for name, text := range files {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(c.dir, name)), 0o755))
		write(t, filepath.Join(c.dir, name), replacer.Replace(text))
	}
	write(t, c.config, replacer.Replace(vcl))
	c.run(t)
	return c
}

// run starts varnishd and waits until it answers requests.
func (c *cache) run(t *testing.T) {
	t.Helper()
	c.output, c.ended = &safeBuffer{}, make(chan struct{})
	c.process = exec.Command(varnishd, "-F", "-j", "none", "-n", c.workdir, "-a", "127.0.0.1:0", "-T", "127.0.0.1:0",
		"-S", c.secret, "-f", c.config, "-s", "malloc,16m", "-p", "thread_pool_min=10", "-p", "vcl_cooldown=1", "-p", "vcl_path="+c.dir,
		"-p", "cc_command=exec gcc -O0 -pthread -fpic -shared -Wl,-x -o %o %s") // three times as fast as its default
	c.process.Stdout, c.process.Stderr = c.output, c.output
	c.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, c.process.Start())
	process, ended := c.process, c.ended
	go func() { _ = process.Wait(); close(ended) }()
	t.Cleanup(func() { c.stop(t) })
	eventually(t, "varnishd answers", func() error {
		select {
		case <-ended:
			t.Fatalf("varnishd ended: %s\n%s", process.ProcessState, c.output)
		default:
		}
		where, err := settings{Workdir: c.workdir}.where()
		if err != nil {
			return err
		}
		line, err := dial(t.Context(), where, func(string) {})
		if err != nil {
			return err
		}
		defer line.close()
		if err := line.running(t.Context()); err != nil {
			return err
		}
		all, err := line.backends(t.Context(), "boot")
		for name, b := range all {
			if b.sick() {
				err = fmt.Errorf("%s is sick", name)
			}
		}
		if err != nil {
			return err
		}
		text, err := line.do(t.Context(), "debug.listen_address")
		if f := strings.Fields(text); err == nil && len(f) == 3 {
			c.web = net.JoinHostPort(f[1], f[2])
			return nil
		}
		return fmt.Errorf("it says %q, %w", text, err)
	})
}

// stop ends varnishd with its child.
func (c *cache) stop(t *testing.T) {
	t.Helper()
	if c.process == nil {
		return
	}
	_ = c.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(patience):
		_ = syscall.Kill(-c.process.Process.Pid, syscall.SIGKILL)
		t.Errorf("varnishd did not end\n%s", c.output)
	}
	c.process = nil
}

// say sends one command to varnishd.
func (c *cache) say(t *testing.T, words ...string) string {
	t.Helper()
	text, err := c.line(t).do(t.Context(), words...)
	must(t, err)
	return text
}

func (c *cache) line(t *testing.T) *cli {
	t.Helper()
	where, err := settings{Workdir: c.workdir}.where()
	must(t, err)
	line, err := dial(t.Context(), where, func(string) {})
	must(t, err)
	t.Cleanup(line.close)
	return line
}

func (c *cache) programs(t *testing.T) programs {
	t.Helper()
	all, err := c.line(t).list(t.Context())
	must(t, err)
	return all
}

// address is that of the command line.
func (c *cache) address(t *testing.T) string {
	t.Helper()
	where, err := settings{Workdir: c.workdir}.where()
	must(t, err)
	return where.addresses[0]
}

// asItWas looks for the VCL that is used, and for what is left of ours.
func (c *cache) asItWas(t *testing.T, active string) {
	t.Helper()
	all := c.programs(t)
	if got := all.active(); got != active {
		t.Errorf("the active VCL is %s, not %s", got, active)
	}
	for _, p := range all {
		if own(p.Name) && p.Status != "discarded" {
			t.Errorf("left: %+v", p)
		}
	}
}

// get asks for a path as a client with a connection of its own.
func (c *cache) get(ctx context.Context, host, path string) (int, http.Header, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.web+path, nil)
	if err != nil {
		return 0, nil, "", err
	}
	request.Host, request.Close = host, true
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header, string(body), err
}

// answers looks at what a CA would see.
func (c *cache) answers(t *testing.T, ch sdk.Challenge, want bool) {
	t.Helper()
	code, header, body, err := c.get(t.Context(), ch.Identifier.Value, ch.HTTP.Path)
	must(t, err)
	got := code == http.StatusOK && body == string(ch.HTTP.Body)
	if got != want {
		t.Errorf("%s: %d %q, wanted the answer: %t", ch.HTTP.Path, code, body, want)
	}
	if got && header.Get("Content-Type") != "text/plain" {
		t.Errorf("the type is %q", header.Get("Content-Type"))
	}
}

// origin is a web server that says hello.
func (c *cache) origin(t *testing.T) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			c.held <- struct{}{}
			select {
			case <-c.free:
			case <-r.Context().Done():
			}
		}
		if r.URL.Path == "/probe" { // a probe that takes its time
			_ = sleep(r.Context(), time.Second)
		}
		if r.URL.Path == "/state" && c.failing.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, "hello from "+r.URL.Path)
	})}
	served := make(chan struct{})
	go func() { _ = server.Serve(listener); close(served) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	return listener.Addr().String()
}

// hammer asks one time after the other, with a connection for each request, until
// it is ended; then no request may have failed.
type hammer struct {
	stop    chan struct{}
	workers sync.WaitGroup
	mu      sync.Mutex
	n       int
	errs    []error
}

func (c *cache) hammer(t *testing.T) *hammer {
	t.Helper()
	h := &hammer{stop: make(chan struct{})}
	ctx := context.WithoutCancel(t.Context())
	for range 2 {
		h.workers.Go(func() {
			breath := time.NewTicker(2 * time.Millisecond) // for other tests
			defer breath.Stop()
			for {
				select {
				case <-h.stop:
					return
				case <-breath.C:
				}
				code, _, body, err := c.get(ctx, "site.test", "/page")
				if err == nil && (code != http.StatusOK || body != "hello from /page") {
					err = fmt.Errorf("%d %q", code, body)
				}
				h.mu.Lock()
				if h.n++; err != nil {
					h.errs = append(h.errs, err)
				}
				h.mu.Unlock()
			}
		})
	}
	return h
}

func (h *hammer) end(t *testing.T) {
	t.Helper()
	close(h.stop)
	h.workers.Wait()
	if h.n == 0 {
		t.Error("there was no request")
	}
	if len(h.errs) > 0 {
		t.Errorf("%d of %d requests failed, the first: %v", len(h.errs), h.n, h.errs[0])
	}
}

// plugin gives a configured instance, as a new process would be.
func plugin(t *testing.T, s settings) *varnish {
	t.Helper()
	v := newVarnish()
	v.settings = s
	must(t, v.Configure(t.Context(), sdk.Instance{Name: "varnish"}))
	return v
}

func (c *cache) plugin(t *testing.T) *varnish {
	t.Helper()
	return plugin(t, settings{Address: c.address(t), SecretFile: c.secret})
}

func challenge(name, token string) sdk.Challenge {
	return sdk.Challenge{
		ID: token, Type: sdk.HTTP01, Identifier: sdk.Identifier{Type: "dns", Value: name}, Token: token, KeyAuthorization: token + ".thumb-_print",
		HTTP: &sdk.HTTPChallenge{Path: challengePrefix + token, Body: []byte(token + ".thumb-_print")},
	}
}

func perform(t *testing.T, v *varnish, order string, challenges ...sdk.Challenge) {
	t.Helper()
	settled(t, order, v.Perform, challenges)
}

func cleanup(t *testing.T, v *varnish, order string, challenges ...sdk.Challenge) {
	t.Helper()
	settled(t, order, v.Cleanup, challenges)
}

func settled(t *testing.T, order string, call func(context.Context, []sdk.Challenge, sdk.Reporter) error, challenges []sdk.Challenge) {
	t.Helper()
	if err := outcome(t.Context(), order, call, challenges); err != nil {
		t.Errorf("%s: %v\n%s", order, err, sdk.ProblemOf(err).Hint)
	}
}

func outcome(ctx context.Context, order string, call func(context.Context, []sdk.Challenge, sdk.Reporter) error, challenges []sdk.Challenge) error {
	r := &recorder{}
	if err := call(sdk.WithOperation(ctx, sdk.Operation{ID: order, Lineage: order}), challenges, r); err != nil {
		return err
	}
	for _, result := range r.results {
		if result.Err != nil {
			return result.Err
		}
	}
	if len(r.results) != len(challenges) {
		return fmt.Errorf("%d results for %d challenges", len(r.results), len(challenges))
	}
	return nil
}

// recorder keeps what a call reports.
type recorder struct {
	mu      sync.Mutex
	results []sdk.Result
}

func (r *recorder) Result(result sdk.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

func (r *recorder) Progress(string, string)                     {}
func (r *recorder) Say(sdk.Stream, string)                      {}
func (r *recorder) Ask(context.Context, string) (string, error) { return "", io.EOF }

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
		if sleep(ctx, pause) != nil {
			t.Fatalf("%s: not in time: %v", what, err)
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
	must(t, os.WriteFile(path, []byte(text), 0o644))
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

func names(all programs) []string {
	var out []string
	for _, p := range all {
		out = append(out, p.Name)
	}
	slices.Sort(out)
	return out
}

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
