package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/sdk/client"
)

// connection is one process with go-plugin's client of it.
type connection struct {
	limits  limits
	runner  *pluginRunner
	pump    *logPump
	synced  [2]*lineWriter // what Go plugins print after the handshake
	sockets *socketDir
	plugin  *goplugin.Client
	conn    capturedConn
	// detach ends a connection to a process that is not ours; nil: it is ours.
	detach func() error
}

// newConnection prepares; nothing runs yet. close MUST be called, and removes
// the directory.
func newConnection(l limits, b *binary, policy sandbox.Policy, env []string, dir *socketDir, pump *logPump) *connection {
	c := &connection{
		limits: l, pump: pump, sockets: dir, runner: newPluginRunner(b, policy, env, pump),
		synced: [2]*lineWriter{pump.writer(), pump.writer()},
	}
	c.plugin = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  client.Handshake(),
		VersionedPlugins: client.Plugins(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		RunnerFunc:       c.runner.accept,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir.path},
		// Ours comes first and can be cancelled.
		StartTimeout: 2 * l.start,
		// What go-plugin has to say is in our errors.
		Logger:     hclog.NewNullLogger(),
		SyncStdout: c.synced[0], SyncStderr: c.synced[1],
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithContextDialer(c.runner.dial),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: l.start}),
			grpc.WithDefaultCallOptions(
				grpc.MaxCallRecvMsgSize(client.MaxMessage), grpc.MaxCallSendMsgSize(client.MaxMessage)),
			grpc.WithChainStreamInterceptor(c.conn.intercept),
		},
	})
	return c
}

var errHandshakeSlow = errors.New("no answer in time")

// open starts the process and connects. When ctx ends first, the process is
// killed, which ends go-plugin's wait; go-plugin itself cannot be cancelled.
// After an error the caller closes, and then asks failure for the reason.
func (c *connection) open(ctx context.Context) (*client.Client, error) {
	defer close(c.runner.settled)
	stop := context.AfterFunc(ctx, c.runner.kill)
	defer stop()
	if _, err := c.plugin.Start(); err != nil {
		return nil, err
	}
	protocol, err := c.plugin.Client()
	if err != nil {
		return nil, err
	}
	// It takes a plugin that cannot be reached for one without a stdio service.
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	role, err := protocol.Dispense(client.PluginName)
	if err != nil {
		return nil, err
	}
	cl, ok := role.(*client.Client)
	if !ok {
		return nil, fmt.Errorf("go-plugin gave a %T in place of a client", role)
	}
	return cl, nil
}

// failure says why open failed, better than go-plugin can, which knows only
// that the output ended. cause is why the context of open had ended, if it had.
// The connection must be closed by then.
func (c *connection) failure(cause, err error) error {
	p, launchErr := c.runner.process()
	_, seen, _, fault := c.runner.filter.result()
	var fate string
	if p != nil {
		fate = p.fate()
	}
	switch {
	case launchErr != nil:
		return launchErr
	case fault != nil:
		return fault
	case errors.Is(cause, errHandshakeSlow) && !seen:
		return fmt.Errorf("it gave no handshake within %s and was killed; see what it waits for, or rebuild it with the current sdk", c.limits.start)
	case errors.Is(cause, errHandshakeSlow):
		return fmt.Errorf("it gave a handshake but did not accept a connection within %s and was killed", c.limits.start)
	case cause != nil:
		return cause
	case !seen && fate != "" && fate != endedByHost:
		return fmt.Errorf("its process %s before the handshake", fate)
	case !seen:
		return errors.New("it closed its standard output without a handshake; it must call sdk.Serve, or print the line of docs/protocol.md")
	case fate != "" && fate != endedByHost:
		return fmt.Errorf("its process %s right after the handshake", fate)
	}
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

// close ends the process, politely if it can be, and leaves nothing behind. It
// is bounded by the limits shutdown and reap; ctx makes it hurry.
func (c *connection) close(ctx context.Context) error {
	if c.detach != nil {
		return c.detach()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.plugin.Kill()
		if p, _ := c.runner.process(); p != nil {
			<-p.gone
		}
	}()
	if !within(ctx, ended, c.limits.shutdown) {
		c.runner.kill()
	}
	var err error
	if !within(context.WithoutCancel(ctx), ended, c.limits.reap) {
		err = fmt.Errorf("process %s of %s does not end although it was killed", c.runner.ID(), c.runner.binary.path)
	}
	c.conn.close()
	for _, w := range c.synced {
		_ = w.Close()
	}
	return errors.Join(err, c.sockets.remove())
}

// within waits for an end, but not longer than a limit or the context.
func within(ctx context.Context, ended <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	select { // of several that are ready, select takes any
	case <-ended:
		return true
	default:
		return false
	}
}

// capturedConn keeps go-plugin's connection, which go-plugin forgets to close
// when it fails half way, and refuses the broker, which this protocol does
// without.
type capturedConn struct {
	mu   sync.Mutex
	conn *grpc.ClientConn
}

func (c *capturedConn) intercept(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	streamer grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	if strings.HasPrefix(method, "/plugin.GRPCBroker/") {
		return nil, status.Error(codes.Unimplemented, "this host uses no broker")
	}
	return streamer(ctx, desc, conn, method, opts...)
}

func (c *capturedConn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close() // an error says that it is closed already
	}
}
