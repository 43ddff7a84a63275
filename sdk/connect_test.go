package sdk_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

// connect serves a plugin over a real gRPC connection and gives the host's end.
func connect(t *testing.T, p sdk.Plugin, opts ...grpc.DialOption) *client.Client {
	t.Helper()
	if p.Name == "" {
		p.Name, p.Version = "test", "1.0.0"
	}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	if err := sdk.Register(server, p); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	conn, err := grpc.NewClient("passthrough:///bufconn", append(opts,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		<-ended
	})
	return client.New(conn)
}

// configured is connect and a Configure without settings.
func configured(t *testing.T, p sdk.Plugin) *client.Client {
	t.Helper()
	c := connect(t, p)
	if problems, err := c.Configure(t.Context(), client.Configuration{}); err != nil || len(problems) > 0 {
		t.Fatalf("Configure: %v, %v", problems, err)
	}
	return c
}

// authenticator is one made of functions.
type authenticator struct {
	perform, cleanup func(context.Context, []sdk.Challenge, sdk.Reporter) error
}

func (a authenticator) Perform(ctx context.Context, cs []sdk.Challenge, r sdk.Reporter) error {
	return a.perform(ctx, cs, r)
}

func (a authenticator) Cleanup(ctx context.Context, cs []sdk.Challenge, r sdk.Reporter) error {
	if a.cleanup == nil {
		return nil
	}
	return a.cleanup(ctx, cs, r)
}

// performs is a plugin for http-01 with this Perform.
func performs(perform func(context.Context, []sdk.Challenge, sdk.Reporter) error) sdk.Plugin {
	return sdk.Plugin{Authenticator: authenticator{perform: perform}, ChallengeTypes: []string{sdk.HTTP01}}
}

var oneChallenge = []sdk.Challenge{{ID: "1", Type: sdk.HTTP01, HTTP: &sdk.HTTPChallenge{}}}

// heard keeps what a call reported.
type heard struct {
	ask func(context.Context, string) (string, error)

	mu       sync.Mutex
	results  []sdk.Result
	progress [][2]string
	said     map[sdk.Stream]string
	asked    []string
}

func (h *heard) Progress(subject, message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.progress = append(h.progress, [2]string{subject, message})
}

func (h *heard) Say(to sdk.Stream, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.said == nil {
		h.said = map[sdk.Stream]string{}
	}
	h.said[to] += text
}

func (h *heard) Ask(ctx context.Context, text string) (string, error) {
	h.mu.Lock()
	h.asked = append(h.asked, text)
	h.mu.Unlock()
	return h.ask(ctx, text)
}

func (h *heard) Result(r sdk.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.results = append(h.results, r)
}
