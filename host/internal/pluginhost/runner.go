package pluginhost

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/certwright/certwright/host/internal/sandbox"
)

// selfEnd is how long a process that has closed its output without a handshake
// may take to end by itself, so that its own exit status is reported.
const selfEnd = time.Second

// pluginRunner is go-plugin's view of a process. It gives go-plugin a handshake
// and otherwise silence: go-plugin's own reading of standard error can be made
// to panic, and its reading of standard output stops at a long line.
type pluginRunner struct {
	binary *binary
	policy sandbox.Policy
	env    []string
	filter *handshakeFilter
	out    *io.PipeReader
	pump   *logPump
	// settled is closed when go-plugin has connected or given up. Until then
	// it is not told of the end of the process: told in between, it would leave
	// a connection behind.
	settled chan struct{}

	mu       sync.Mutex
	handed   []string // environment of the handshake
	proc     *process
	failed   error
	unwanted bool
	conns    []net.Conn
}

var _ runner.Runner = (*pluginRunner)(nil)

func newPluginRunner(b *binary, policy sandbox.Policy, env []string, pump *logPump) *pluginRunner {
	r := &pluginRunner{binary: b, policy: policy, env: env, pump: pump, settled: make(chan struct{})}
	r.filter, r.out = newHandshakeFilter(func(line string, before bool) {
		if before {
			if runes := []rune(line); len(runes) > lastWordsLimit {
				line = string(runes[:lastWordsLimit]) + "…"
			}
			line = "printed to standard output, which belongs to the handshake; print to standard error instead: " + line
			pump.add(rawLine{text: line, level: hclog.Warn})
			return
		}
		pump.add(rawLine{text: line, level: hclog.Debug})
	})
	return r
}

// accept is go-plugin's RunnerFunc. cmd brings the environment of the handshake;
// dir was made for the socket.
func (r *pluginRunner) accept(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
	r.handed = cmd.Env
	if r.policy.User == nil {
		return r, nil
	}
	if err := hand(dir, r.policy.User); err != nil {
		return nil, fmt.Errorf("give the directory of its socket to user %s: %w", r.policy.User.Name, err)
	}
	return r, nil
}

// Start launches the process, unless it was killed before.
func (r *pluginRunner) Start(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unwanted {
		return context.Canceled
	}
	env := append(append([]string(nil), r.env...), r.handed...)
	r.proc, r.failed = launch(r.binary, r.policy, env, true, r.filter, r.pump.writer(), r.disconnect)
	return r.failed
}

// process is nil if there never was one; err is why.
func (r *pluginRunner) process() (p *process, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proc, r.failed
}

// kill ends the process now, or as soon as it would be started.
func (r *pluginRunner) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unwanted = true
	if r.proc != nil {
		r.proc.kill()
	}
}

// Kill is called by go-plugin when the start has failed and when the process
// does not end by itself.
func (r *pluginRunner) Kill(context.Context) error {
	p, _ := r.process()
	if p == nil {
		return nil
	}
	if _, seen, ended, _ := r.filter.result(); ended && !seen {
		timer := time.NewTimer(selfEnd)
		defer timer.Stop()
		select {
		case <-p.exited:
		case <-timer.C:
		}
	}
	p.kill()
	return nil
}

// Wait returns when the process is gone and go-plugin has settled.
func (r *pluginRunner) Wait(context.Context) error {
	if p, _ := r.process(); p != nil {
		<-p.gone
	}
	<-r.settled
	return nil
}

// dial connects to where the handshake says. The connection does not outlive
// the process, even if a grandchild holds the other end.
func (r *pluginRunner) dial(ctx context.Context, _ string) (net.Conn, error) {
	h, _, _, _ := r.filter.result()
	p, _ := r.process()
	var d net.Dialer
	conn, err := d.DialContext(ctx, h.network, h.address)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-p.gone:
		_ = conn.Close()
		return nil, net.ErrClosed
	default:
	}
	r.conns = append(r.conns, conn)
	return conn, nil
}

func (r *pluginRunner) disconnect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	r.conns = nil
}

// Stdout gives the handshake line.
func (r *pluginRunner) Stdout() io.ReadCloser { return r.out }

// Stderr gives nothing, and ends with the process.
func (r *pluginRunner) Stderr() io.ReadCloser {
	p, _ := r.process()
	return silence{p}
}

// Name is the path of the binary.
func (r *pluginRunner) Name() string { return r.binary.path }

// ID is the number of the process, empty if there is none.
func (r *pluginRunner) ID() string {
	p, _ := r.process()
	if p == nil {
		return ""
	}
	return strconv.Itoa(p.cmd.Process.Pid)
}

// Diagnose is left to the host's own errors.
func (r *pluginRunner) Diagnose(context.Context) string { return "" }

// PluginToHost is the identity: both see the same sockets.
func (r *pluginRunner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin is the identity.
func (r *pluginRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// silence is an empty stream that ends with a process.
type silence struct{ p *process }

func (s silence) Read([]byte) (int, error) {
	<-s.p.gone
	return 0, io.EOF
}

func (s silence) Close() error { return nil }
