// Package client turns the connection to a plugin into typed roles: it is the
// host's side of package sdk, for the host and for the conformance suite. The
// roles it gives are the same interfaces that authors implement, so a caller
// does not care whether a plugin runs in another process.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/internal/wire"
	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

// Defaults for Client.Timeout.
const (
	PerformTimeout = 10 * time.Minute
	CallTimeout    = 5 * time.Minute
)

// LifelineEnv is the environment entry by which a host tells the plugin that it
// keeps the write end of the plugin's standard input open while it lives.
const LifelineEnv = wire.LifelineKey + "=stdin"

// MaxMessage bounds one message, in bytes.
const MaxMessage = wire.MaxMessage

// PluginName is what to dispense from a go-plugin client.
const PluginName = wire.PluginName

// Majors lists the protocol majors that this package speaks.
func Majors() []int { return []int{wire.Major} }

// Handshake is the handshake of every Certwright plugin.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue}
}

// Plugins are the protocol majors, for go-plugin's ClientConfig. What is
// dispensed as PluginName is a *Client.
func Plugins() map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{wire.Major: {wire.PluginName: grpcPlugin{}}}
}

type grpcPlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (grpcPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("a host serves no plugin")
}

func (grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return New(conn), nil
}

// Client is the connection to one plugin process. Its fields are set before the
// first call and not changed after.
type Client struct {
	// Timeout bounds each streaming call; an open ask stops the clock. Zero:
	// PerformTimeout for Perform, CallTimeout for the others.
	Timeout time.Duration
	// Explain, if set, is given every error of a call that broke, and may add
	// what it knows, for instance the last words of the process.
	Explain func(error) error
	// Mask, if set, is put over every text for people that the plugin sends, and
	// over what a hook is told of a failure.
	Mask func(string) string

	base pb.PluginClient
	auth pb.AuthenticatorClient
	inst pb.InstallerClient
	hook pb.HookClient
}

// New makes a client of a connection.
func New(conn grpc.ClientConnInterface) *Client {
	return &Client{
		base: pb.NewPluginClient(conn), auth: pb.NewAuthenticatorClient(conn),
		inst: pb.NewInstallerClient(conn), hook: pb.NewHookClient(conn),
	}
}

// BrokenError says that a call broke, as opposed to a *sdk.Problem, which says
// that the work failed.
type BrokenError struct {
	// Call is the method's name.
	Call string
	Err  error
}

// CallBroke tells a broken call from a failure that the plugin reported, for
// packages that do not know this one.
func (e *BrokenError) CallBroke() {}

func (e *BrokenError) Error() string {
	if s, ok := status.FromError(e.Err); ok {
		if s.Code() == codes.Unavailable {
			return fmt.Sprintf("%s: the connection to the plugin was lost", e.Call)
		}
		return fmt.Sprintf("%s: %s (%s)", e.Call, s.Message(), s.Code())
	}
	return fmt.Sprintf("%s: %v", e.Call, e.Err)
}

// Unwrap gives the gRPC status error.
func (e *BrokenError) Unwrap() error { return e.Err }

func (c *Client) broken(ctx context.Context, call string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	err = &BrokenError{Call: call, Err: c.maskStatus(err)}
	if c.Explain != nil {
		return c.Explain(err)
	}
	return err
}

// Describe asks the running process what it is.
func (c *Client) Describe(ctx context.Context, hostVersion string) (sdk.Description, error) {
	resp, err := c.base.Describe(ctx, &pb.DescribeRequest{HostVersion: hostVersion})
	if err != nil {
		return sdk.Description{}, c.broken(ctx, "Describe", err)
	}
	return descriptionFromProto(resp), nil
}

// Configuration is what Configure hands over.
type Configuration struct {
	sdk.Instance
	// Settings that are not secret; values are strings, bools, numbers, lists
	// and maps, durations as text.
	Settings map[string]any
	Secrets  map[string][]byte
}

// Configure hands the settings over. What is wrong with them comes as problems,
// one for each setting.
func (c *Client) Configure(ctx context.Context, cfg Configuration) ([]*sdk.Problem, error) {
	settings := cfg.Settings
	if settings == nil {
		settings = map[string]any{}
	}
	object, err := json.Marshal(settings)
	if err != nil {
		return nil, fmt.Errorf("encode the settings of instance %s: %w", cfg.Name, err)
	}
	resp, err := c.base.Configure(ctx, &pb.ConfigureRequest{
		Instance: cfg.Name, SettingsJson: object, Secrets: cfg.Secrets, StateDir: cfg.StateDir,
		ValidateOnly: cfg.ValidateOnly, HostVersion: cfg.HostVersion,
		NonInteractive: cfg.NonInteractive, Quiet: cfg.Quiet,
	})
	if err != nil {
		return nil, c.broken(ctx, "Configure", err)
	}
	return c.problems(resp.GetProblems()), nil
}

// Health asks whether the plugin could work now, and how many calls run.
func (c *Client) Health(ctx context.Context, deep bool) (problems []*sdk.Problem, inFlight int, err error) {
	resp, err := c.base.Health(ctx, &pb.HealthRequest{Deep: deep})
	if err != nil {
		return nil, 0, c.broken(ctx, "Health", err)
	}
	return c.problems(resp.GetProblems()), int(resp.GetInFlight()), nil
}

// Drain ends what runs within the grace and names what did not end.
func (c *Client) Drain(ctx context.Context, grace time.Duration) ([]string, error) {
	resp, err := c.base.Drain(ctx, &pb.DrainRequest{Grace: durationpb.New(grace)})
	if err != nil {
		return nil, c.broken(ctx, "Drain", err)
	}
	return c.maskAll(resp.GetAbandonedOperationIds()), nil
}

// Authenticator gives the role; it also implements sdk.Preferrer.
func (c *Client) Authenticator() *Authenticator { return &Authenticator{c} }

// Installer gives the role; it also implements the optional interfaces, which
// fail with code Unsupported if the plugin lacks the feature.
func (c *Client) Installer() *Installer { return &Installer{c} }

// Hook gives the role.
func (c *Client) Hook() *Hook { return &Hook{c} }
