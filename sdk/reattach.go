package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"google.golang.org/grpc"

	"github.com/certwright/certwright/sdk/internal/wire"
)

// reattaching: the author runs the plugin himself, under a debugger perhaps, and a
// host attaches to it.
func reattaching(args []string) bool {
	return len(args) == 3 && slices.Equal(args[1:], []string{"serve", "--reattach"})
}

// serveReattached serves until it is interrupted, one host after the other, each
// of which configures it anew. There is no TLS: the socket is the user's own. It
// gives the exit code.
func serveReattached(p Plugin, d Description) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := reattachable(ctx, p, d); err != nil {
		fmt.Fprintf(os.Stderr, "serve plugin %s to be attached to: %v\n", d.Name, err)
		return 1
	}
	return 0
}

func reattachable(ctx context.Context, p Plugin, d Description) error {
	dir, err := os.MkdirTemp("", "certwright-plugin-") // 0700
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", filepath.Join(dir, "socket"))
	if err != nil {
		return err
	}
	s := newServer(p, d)
	s.again = true
	g := grpc.NewServer(grpc.MaxRecvMsgSize(wire.MaxMessage))
	s.register(g)
	data, err := json.Marshal(map[string]wire.Reattach{d.Name: {
		Protocol: "grpc", ProtocolVersion: wire.Major, PID: os.Getpid(), Network: "unix", Address: listener.Addr().String(),
	}})
	if err != nil {
		return err
	}
	fmt.Printf("export %s='%s'\n", wire.ReattachKey, data)
	defer context.AfterFunc(ctx, g.Stop)()
	if err := g.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}
