// Command rawplugin is a plugin without the SDK, as it would be written in
// another language: straight from plugin.proto. It does every role against a
// directory. Its name is its mode: certwright-plugin-good keeps the contract,
// every other name breaks one obligation, so that the suite can be seen to fail.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/certwright/certwright/sdk/internal/wire"
	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

var mode = strings.TrimPrefix(filepath.Base(os.Args[0]), "certwright-plugin-")

// is tells whether this process has one of these faults.
func is(faults ...string) bool {
	for _, f := range faults {
		if mode == f {
			return true
		}
	}
	return false
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "describe" {
		describe()
		return
	}
	if is("prints-first") {
		fmt.Println("hello")
	}
	if !is("mortal") {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	}
	if !is("orphan") {
		go followHost()
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{wire.Major: {wire.PluginName: services{}}},
		GRPCServer:       server,
		Logger:           hclog.NewNullLogger(),
	})
}

func server(opts []grpc.ServerOption) *grpc.Server {
	if is("any-rpc") {
		opts = append(opts, grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
			return s.SendMsg(&pb.AnswerResponse{})
		}))
	}
	return plugin.DefaultGRPCServer(opts)
}

func followHost() {
	buf := make([]byte, 1)
	for {
		if _, err := os.Stdin.Read(buf); err != nil {
			os.Exit(1)
		}
	}
}

type services struct{ plugin.NetRPCUnsupportedPlugin }

func (services) GRPCServer(_ *plugin.GRPCBroker, g *grpc.Server) error {
	s := &state{made: map[string]bool{}, cleaned: map[string]bool{}}
	pb.RegisterPluginServer(g, &base{state: s})
	pb.RegisterAuthenticatorServer(g, &authenticator{state: s})
	pb.RegisterInstallerServer(g, &installer{state: s})
	pb.RegisterHookServer(g, hook{})
	return nil
}

func (services) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, plugin.ErrProcessNotFound
}

// state is what the services share.
type state struct {
	mu       sync.Mutex
	work     sync.Mutex // one call at a time does something
	dir      string
	stateDir string
	api      string // of a DNS provider; empty: records are files in dir
	token    string
	running  []string
	made     map[string]bool // what this process has put in place
	cleaned  map[string]bool
	staged   []byte
	failed   bool   // a Restart has
	before   []byte // what was deployed before, when it is kept in memory only
}

// describe prints what Describe answers; the SDK is not imported, so the format
// of docs/protocol.md is written down here once more.
func describe() {
	types := func(name string) map[string]any {
		return map[string]any{"type": name, "identifier_types": []string{"dns"}}
	}
	d := map[string]any{
		"protocol": []int{1}, "name": mode, "version": "1.0.0", "summary": "does it all in a directory",
		"roles":    []string{"authenticator", "installer", "hook"},
		"features": []string{"prefer", "names", "rollback"},
		"settings": []any{
			map[string]any{"name": "dir", "type": "string", "required": true},
			map[string]any{"name": "level", "type": "int"},
			map[string]any{"name": "token", "type": "string", "secret": true},
			map[string]any{"name": "api", "type": "string"},
		},
		"permissions": map[string]any{"key": "path", "write": []any{map[string]any{"setting": "dir"}}},
		"dns":         "host", "env": "minimal",
		"challenge_types": []any{types("http-01"), types("dns-01"), types("tls-alpn-01")},
		"hook_events":     []string{"success"},
	}
	switch {
	case is("garbage"):
		fmt.Println("I am a plugin")
		return
	case is("wrong-name"):
		d["name"] = "another"
	case is("incomplete"):
		delete(d, "hook_events")
		delete(d, "version")
	case is("differs"):
		d["summary"] = "something else"
	}
	_ = json.NewEncoder(os.Stdout).Encode(d)
	if is("noise") {
		fmt.Println("have a nice day")
	}
}

type base struct {
	pb.UnimplementedPluginServer
	*state
}

func (b *base) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	dns := []string{"dns"}
	return &pb.DescribeResponse{
		Name: mode, Version: "1.0.0", Summary: "does it all in a directory",
		Roles: []string{"authenticator", "installer", "hook"}, Features: []string{"prefer", "names", "rollback"},
		Settings: []*pb.Setting{
			{Name: "dir", Type: pb.Setting_STRING, Required: true}, {Name: "level", Type: pb.Setting_INT},
			{Name: "token", Type: pb.Setting_STRING, Secret: true}, {Name: "api", Type: pb.Setting_STRING},
		},
		Permissions: &pb.Permissions{
			Key: pb.Permissions_PATH, Write: []*pb.Value{{Kind: &pb.Value_Setting{Setting: "dir"}}},
		},
		Dns: pb.DescribeResponse_HOST, Env: pb.DescribeResponse_MINIMAL,
		ChallengeTypes: []*pb.ChallengeType{
			{Type: "http-01", IdentifierTypes: dns}, {Type: "dns-01", IdentifierTypes: dns}, {Type: "tls-alpn-01", IdentifierTypes: dns},
		},
		HookEvents: []string{"success"},
	}, nil
}

func (b *base) Configure(_ context.Context, req *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	given := map[string]any{}
	if err := json.Unmarshal(req.GetSettingsJson(), &given); err != nil {
		return nil, err
	}
	resp := &pb.ConfigureResponse{}
	wrong := func(name string) {
		p := &pb.Problem{Code: pb.Problem_INVALID_CONFIG, Summary: "setting " + name + " is wrong", Subject: name}
		if is("no-subject") {
			p.Subject = ""
		}
		resp.Problems = append(resp.Problems, p)
	}
	dir, isString := given["dir"].(string)
	if _, there := given["dir"]; !there && !is("no-missing") || there && !isString && !is("no-types") {
		wrong("dir")
	}
	if level, there := given["level"]; there && !is("no-types") {
		if _, isNumber := level.(float64); !isNumber {
			wrong("level")
		}
	}
	if _, there := given["token"]; there && !is("no-secret") {
		wrong("token")
	}
	for name := range given {
		if name != "dir" && name != "level" && name != "token" && name != "api" && !is("no-unknown") {
			wrong(name)
		}
	}
	api, isText := given["api"].(string)
	if _, there := given["api"]; there && !isText && !is("no-types") {
		wrong("api")
	}
	if is("refuses") {
		wrong("dir")
	}
	b.token = string(req.GetSecrets()["token"])
	b.dir, b.stateDir, b.api = dir, req.GetStateDir(), api
	if is("leaks") {
		// Not os.Stderr: go-plugin has taken that.
		fmt.Fprintf(os.NewFile(2, "stderr"), "the token is %s\n", req.GetSecrets()["token"])
	}
	if is("eager") {
		if api != "" {
			_, _ = http.Get(api)
		} else {
			_ = os.WriteFile(filepath.Join(b.stateDir, "configured"), nil, 0o600)
		}
	}
	return resp, nil
}

func (b *base) Health(context.Context, *pb.HealthRequest) (*pb.HealthResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if is("busy") {
		return &pb.HealthResponse{InFlight: 1}, nil
	}
	return &pb.HealthResponse{InFlight: int32(len(b.running))}, nil
}

func (b *base) Drain(ctx context.Context, req *pb.DrainRequest) (*pb.DrainResponse, error) {
	if is("never-drained") {
		return &pb.DrainResponse{AbandonedOperationIds: []string{"something"}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, req.GetGrace().AsDuration())
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		b.mu.Lock()
		running := slices.Clone(b.running)
		b.mu.Unlock()
		if len(running) == 0 || ctx.Err() != nil {
			return &pb.DrainResponse{AbandonedOperationIds: running}, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}
