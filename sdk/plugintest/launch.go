package plugintest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	pluginrunner "github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

// startLimit is how long a plugin may take for its handshake. A host gives 10 s;
// the suite may run on a busy machine.
const startLimit = 30 * time.Second

// process is one running plugin.
type process struct {
	*client.Client
	conn   *grpc.ClientConn
	plugin *plugin.Client
	runner *runner
}

// launch starts the plugin as a host does, not yet configured.
func (b *bench) launch(ctx context.Context) (*process, error) {
	if err := b.possible(launching); err != nil {
		return nil, err
	}
	r := &runner{path: b.Binary, extra: append(b.environment(), client.LifelineEnv), exited: make(chan struct{}), heard: b.ears.hear}
	c := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  client.Handshake(),
		VersionedPlugins: client.Plugins(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     startLimit,
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: b.dir},
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(client.MaxMessage), grpc.MaxCallSendMsgSize(client.MaxMessage))},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (pluginrunner.Runner, error) {
			r.env = cmd.Env
			return r, nil
		},
	})
	p := &process{plugin: c, runner: r}
	b.processes = append(b.processes, p)
	// go-plugin's start knows no context.
	stop := context.AfterFunc(ctx, func() { _ = r.Kill(context.Background()) })
	defer stop()
	protocol, err := c.Client()
	if err != nil {
		return nil, notStarted{fmt.Errorf("the plugin could not be started: %w\n"+
			"print the handshake line to stdout before anything else, and nothing else ever; see docs/protocol.md", err)}
	}
	connection, ok := protocol.(*plugin.GRPCClient)
	if !ok {
		return nil, errors.New("the plugin does not speak gRPC; field five of the handshake line must be grpc")
	}
	p.conn = connection.Conn
	p.Client = client.New(overheard{connection.Conn, b.ears})
	return p, nil
}

// environment is what the host gives: only what the description names, or for
// plugins that run the user's scripts the invoking one less the host's own.
func (b *bench) environment() []string {
	var out []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(name, "CERTWRIGHT_"), strings.HasPrefix(name, "PLUGIN_"):
		case b.description.Env == sdk.UserEnv, slices.Contains(b.description.Permissions.Environment, name):
			out = append(out, entry)
		}
	}
	return append(out, b.Env...)
}

func (b *bench) configuration(stateDir string) client.Configuration {
	return client.Configuration{
		Instance: sdk.Instance{Name: "plugincheck", StateDir: stateDir, HostVersion: "plugincheck"},
		Settings: b.Settings, Secrets: b.Secrets,
	}
}

// instance starts and configures the plugin with the settings of the suite.
func (b *bench) instance(ctx context.Context, stateDir string) (*process, error) {
	if err := b.possible(configuring); err != nil {
		return nil, err
	}
	p, err := b.launch(ctx)
	if err != nil {
		return nil, err
	}
	problems, err := p.Configure(ctx, b.configuration(stateDir))
	if err != nil {
		return nil, fmt.Errorf("the call of Configure broke: %w", err)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("Configure refuses the settings given to the suite: %s", problemTexts(problems))
	}
	return p, nil
}

// fresh is instance with a new state directory.
func (b *bench) fresh(ctx context.Context) (*process, error) {
	dir, err := b.stateDir()
	if err != nil {
		return nil, err
	}
	return b.instance(ctx, dir)
}

// kill ends the process and all that it started, and waits for it.
func (p *process) kill() {
	_ = p.runner.Kill(context.Background())
	p.plugin.Kill()
}

func problemTexts(problems []*sdk.Problem) string {
	var out []string
	for _, p := range problems {
		out = append(out, fmt.Sprintf("%s (code %s, subject %q)", p.Error(), p.Code, p.Subject))
	}
	return strings.Join(out, "; ")
}
