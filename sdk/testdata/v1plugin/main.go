// Command v1plugin is a plugin as it was when certwright.plugin.v1 was released.
// It is frozen; see README.md.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "example.com/certwright-plugin-v1plugin/pluginv1"
)

// From docs/protocol.md of that day.
var handshake = plugin.HandshakeConfig{
	MagicCookieKey:   "CERTWRIGHT_PLUGIN_COOKIE",
	MagicCookieValue: "6f0d6e5a3b0c4bb5a1c27d3c1b0d7d34a2a1e9f0c7be4e7f8f9a5d1b2c3e4f56",
}

const maxMessage = 16 << 20

func main() {
	if len(os.Args) == 2 && os.Args[1] == "describe" {
		fmt.Print(description)
		return
	}
	// The host decides when a plugin ends, and is gone when stdin is.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if os.Getenv("CERTWRIGHT_LIFELINE") == "stdin" {
		go func() {
			buf := make([]byte, 512)
			for {
				if _, err := os.Stdin.Read(buf); err != nil {
					os.Exit(1)
				}
			}
		}()
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: map[int]plugin.PluginSet{1: {"certwright": services{}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(maxMessage))...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Output: os.Stderr, JSONFormat: true, Level: hclog.Warn}),
	})
}

type services struct{ plugin.NetRPCUnsupportedPlugin }

func (services) GRPCServer(_ *plugin.GRPCBroker, g *grpc.Server) error {
	s := &state{running: map[string]int{}, ended: make(chan struct{}), asks: map[string]chan *pb.AnswerRequest{}}
	pb.RegisterPluginServer(g, base{state: s})
	pb.RegisterAuthenticatorServer(g, authenticator{state: s})
	pb.RegisterInstallerServer(g, installer{state: s})
	pb.RegisterHookServer(g, hook{state: s})
	return nil
}

func (services) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, plugin.ErrProcessNotFound
}

const description = `{
  "protocol": [1], "name": "v1plugin", "version": "1.0.0", "summary": "frozen, does everything once",
  "roles": ["authenticator", "installer", "hook"],
  "features": ["prefer", "config_test", "rollback"],
  "settings": [
    {"name": "web", "type": "string", "required": true, "doc": "document root"},
    {"name": "target", "type": "string", "required": true, "doc": "file for leaf and chain"},
    {"name": "question", "type": "bool", "default": "false", "doc": "ask before anything is put in place"},
    {"name": "token", "type": "string", "secret": true, "doc": "a secret that is used for nothing"}
  ],
  "permissions": {"write": [{"setting": "web"}, {"setting": "target"}], "key": "path"},
  "env": "minimal",
  "challenge_types": [{"type": "http-01", "identifier_types": ["dns", "ip"]}],
  "hook_events": ["success", "finish"]
}
`

// state is what the services share.
type state struct {
	mu       sync.Mutex
	settings struct {
		Web      string `json:"web"`
		Target   string `json:"target"`
		Question bool   `json:"question"`
	}
	stateDir string
	running  map[string]int
	ended    chan struct{} // closed when a call ends
	asks     map[string]chan *pb.AnswerRequest
	asked    int
	staged   []byte
}

// begin counts a call until the function that it returns is called.
func (s *state) begin(op *pb.Operation) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[op.GetOperationId()]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.running[op.GetOperationId()]--; s.running[op.GetOperationId()] == 0 {
			delete(s.running, op.GetOperationId())
		}
		close(s.ended)
		s.ended = make(chan struct{})
	}
}

// still names what runs, and gives a channel that closes when one of it ends.
func (s *state) still() ([]string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.running)), s.ended
}

type base struct {
	pb.UnimplementedPluginServer
	*state
}

func (base) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	return &pb.DescribeResponse{
		Name: "v1plugin", Version: "1.0.0", Summary: "frozen, does everything once",
		Roles: []string{"authenticator", "installer", "hook"}, Features: []string{"prefer", "config_test", "rollback"},
		Settings: []*pb.Setting{
			{Name: "web", Type: pb.Setting_STRING, Required: true, Doc: "document root"},
			{Name: "target", Type: pb.Setting_STRING, Required: true, Doc: "file for leaf and chain"},
			{Name: "question", Type: pb.Setting_BOOL, Default: "false", Doc: "ask before anything is put in place"},
			{Name: "token", Type: pb.Setting_STRING, Secret: true, Doc: "a secret that is used for nothing"},
		},
		Permissions: &pb.Permissions{
			Write: []*pb.Value{{Kind: &pb.Value_Setting{Setting: "web"}}, {Kind: &pb.Value_Setting{Setting: "target"}}},
			Key:   pb.Permissions_PATH,
		},
		Env:            pb.DescribeResponse_MINIMAL,
		ChallengeTypes: []*pb.ChallengeType{{Type: "http-01", IdentifierTypes: []string{"dns", "ip"}}},
		HookEvents:     []string{"success", "finish"},
	}, nil
}

func (b base) Configure(_ context.Context, req *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stateDir != "" {
		return nil, status.Error(codes.FailedPrecondition, "this process is configured already")
	}
	given := map[string]json.RawMessage{}
	if err := json.Unmarshal(req.GetSettingsJson(), &given); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	resp := &pb.ConfigureResponse{}
	wrong := func(name, why string) {
		resp.Problems = append(resp.Problems, &pb.Problem{
			Code: pb.Problem_INVALID_CONFIG, Retry: pb.Problem_PERMANENT, Subject: name,
			Summary: "setting " + name + " " + why, Hint: "see the description of v1plugin",
		})
	}
	targets := map[string]any{"web": &b.settings.Web, "target": &b.settings.Target, "question": &b.settings.Question}
	for name, value := range given {
		if target, known := targets[name]; !known {
			wrong(name, "is unknown, or a secret")
		} else if err := json.Unmarshal(value, target); err != nil {
			wrong(name, "is of the wrong type")
		}
	}
	for name := range req.GetSecrets() {
		if name != "token" {
			wrong(name, "is no secret")
		}
	}
	for _, name := range []string{"web", "target"} {
		if _, there := given[name]; !there {
			wrong(name, "is required")
		}
	}
	if len(resp.GetProblems()) == 0 {
		b.stateDir = filepath.Clean(req.GetStateDir())
	}
	return resp, nil
}

func (b base) Health(context.Context, *pb.HealthRequest) (*pb.HealthResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &pb.HealthResponse{InFlight: int32(len(b.running))}, nil
}

func (b base) Drain(ctx context.Context, req *pb.DrainRequest) (*pb.DrainResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, req.GetGrace().AsDuration())
	defer cancel()
	for {
		left, ended := b.still()
		if len(left) == 0 || ctx.Err() != nil {
			return &pb.DrainResponse{AbandonedOperationIds: left}, nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
}

func (b base) Answer(_ context.Context, req *pb.AnswerRequest) (*pb.AnswerResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting, open := b.asks[req.GetId()]
	if open {
		delete(b.asks, req.GetId())
		waiting <- req // has room for one
	}
	return &pb.AnswerResponse{Accepted: open}, nil
}
