package sdk

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"context"

	"github.com/certwright/certwright/sdk/internal/wire"
)

// Serve is the main function of a plugin; it does not return. Started by a host
// it serves the plugin until the host is gone. With the argument "describe" it
// prints the description as JSON; with "serve --reattach" it serves hosts that are
// told by CERTWRIGHT_REATTACH to attach to it, for debugging. A wrong declaration is printed to stderr and
// ends the process with code 2, so a test that runs `describe` finds it.
func Serve(p Plugin) {
	d, err := p.Description()
	if err != nil {
		fmt.Fprintf(os.Stderr, "plugin %s cannot be served:\n%v\n", p.Name, err)
		os.Exit(2)
	}
	switch {
	case describing(os.Args):
		os.Exit(printDescription(stdout, d))
	case reattaching(os.Args):
		os.Exit(serveReattached(p, d))
	case !hosted():
		fmt.Fprintf(os.Stderr, "%s %s: %s\n"+
			"This is a Certwright plugin: certwright starts it by itself.\n"+
			"See: certwright plugins describe %s\n"+
			"To run it under a debugger: serve --reattach\n", d.Name, d.Version, d.Summary, d.Name)
		os.Exit(2)
	}
	lifeline := os.Getenv(wire.LifelineKey) == "stdin"
	ignoreTermination()
	go followHost(lifeline)
	os.Stdout = stdout
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{
			wire.Major: {wire.PluginName: &grpcPlugin{server: newServer(p, d)}},
		},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(wire.MaxMessage))...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Name: d.Name, Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
	})
	os.Exit(0)
}

func printDescription(w io.Writer, d Description) int {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		fmt.Fprintf(os.Stderr, "print the description of plugin %s: %v\n", d.Name, err)
		return 1
	}
	return 0
}

// grpcPlugin registers the services. go-plugin calls it after it has read its
// variables and before any author code runs.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server *server
}

func (g *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	dropHandshake()
	g.server.register(s)
	return nil
}

func (g *grpcPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, plugin.ErrProcessNotFound // a plugin is never a client
}
