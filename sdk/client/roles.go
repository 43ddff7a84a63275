package client

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/certwright/certwright/sdk"
	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

var (
	_ sdk.Authenticator = (*Authenticator)(nil)
	_ sdk.Preferrer     = (*Authenticator)(nil)
	_ sdk.Installer     = (*Installer)(nil)
	_ sdk.ConfigTester  = (*Installer)(nil)
	_ sdk.Rollbacker    = (*Installer)(nil)
	_ sdk.Namer         = (*Installer)(nil)
	_ sdk.Enhancer      = (*Installer)(nil)
	_ sdk.Hook          = (*Hook)(nil)
)

type events = grpc.ServerStreamingClient[pb.Event]

// Authenticator is the role of a plugin process. The operation travels in the
// context (sdk.WithOperation).
type Authenticator struct{ c *Client }

// Prefer implements sdk.Preferrer.
func (a *Authenticator) Prefer(ctx context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	resp, err := a.c.auth.Prefer(ctx, &pb.PreferRequest{Identifiers: identifiersToProto(ids)})
	if err != nil {
		return nil, a.c.broken(ctx, "Prefer", err)
	}
	var out []sdk.Preference
	for _, p := range resp.GetPreferences() {
		preference := sdk.Preference{
			Identifier: identifierFromProto(p.GetIdentifier()), ChallengeTypes: p.GetChallengeTypes(),
		}
		if problem := a.c.problem(p.GetProblem()); problem != nil {
			preference.Err = problem
		}
		out = append(out, preference)
	}
	return out, nil
}

// Perform implements sdk.Authenticator.
func (a *Authenticator) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	req := &pb.PerformRequest{Operation: operationToProto(ctx)}
	for _, c := range challenges {
		req.Challenges = append(req.Challenges, challengeToProto(c))
	}
	_, err := a.c.follow(ctx, "Perform", r, PerformTimeout, func(ctx context.Context) (events, error) {
		return a.c.auth.Perform(ctx, req)
	})
	return err
}

// Cleanup implements sdk.Authenticator.
func (a *Authenticator) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	req := &pb.CleanupRequest{Operation: operationToProto(ctx)}
	for _, c := range challenges {
		req.Items = append(req.Items, &pb.CleanupItem{Challenge: challengeToProto(c), Receipt: c.Receipt})
	}
	_, err := a.c.follow(ctx, "Cleanup", r, CallTimeout, func(ctx context.Context) (events, error) {
		return a.c.auth.Cleanup(ctx, req)
	})
	return err
}

// Installer is the role of a plugin process.
type Installer struct{ c *Client }

// Names implements sdk.Namer.
func (i *Installer) Names(ctx context.Context) ([]sdk.Site, error) {
	resp, err := i.c.inst.Names(ctx, &pb.NamesRequest{})
	if err != nil {
		return nil, i.c.broken(ctx, "Names", err)
	}
	if p := i.c.problem(resp.GetProblem()); p != nil {
		return nil, p
	}
	var out []sdk.Site
	for _, s := range resp.GetSites() {
		out = append(out, sdk.Site{ID: s.GetId(), Names: s.GetNames(), File: s.GetFile(), TLS: s.GetTls()})
	}
	return out, nil
}

// Deploy implements sdk.Installer.
func (i *Installer) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	req := &pb.DeployRequest{Operation: operationToProto(ctx), Deployment: deploymentToProto(d)}
	_, err := i.c.follow(ctx, "Deploy", r, CallTimeout, func(ctx context.Context) (events, error) {
		return i.c.inst.Deploy(ctx, req)
	})
	return err
}

// Save implements sdk.Installer.
func (i *Installer) Save(ctx context.Context, s sdk.SaveRequest, r sdk.Reporter) (sdk.Checkpoint, error) {
	req := &pb.SaveRequest{Operation: operationToProto(ctx), Title: s.Title, Temporary: s.Temporary}
	done, err := i.c.follow(ctx, "Save", r, CallTimeout, func(ctx context.Context) (events, error) {
		return i.c.inst.Save(ctx, req)
	})
	checkpoint := checkpointFromProto(done.GetCheckpoint())
	checkpoint.Title = i.c.mask(checkpoint.Title)
	return checkpoint, err
}

// ConfigTest implements sdk.ConfigTester; a plugin that has no test passes.
func (i *Installer) ConfigTest(ctx context.Context, r sdk.Reporter) error {
	req := &pb.ConfigTestRequest{Operation: operationToProto(ctx)}
	_, err := i.c.follow(ctx, "ConfigTest", r, CallTimeout, func(ctx context.Context) (events, error) {
		return i.c.inst.ConfigTest(ctx, req)
	})
	return err
}

// Restart implements sdk.Installer.
func (i *Installer) Restart(ctx context.Context, r sdk.Reporter) error {
	req := &pb.RestartRequest{Operation: operationToProto(ctx)}
	_, err := i.c.follow(ctx, "Restart", r, CallTimeout, func(ctx context.Context) (events, error) {
		return i.c.inst.Restart(ctx, req)
	})
	return err
}

// Rollback implements sdk.Rollbacker.
func (i *Installer) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	if count < 0 || count > 1<<20 {
		return errors.New("the number of checkpoints to roll back must not be negative")
	}
	req := &pb.RollbackRequest{Operation: operationToProto(ctx), Count: int32(count)}
	_, err := i.c.follow(ctx, "Rollback", r, CallTimeout, func(ctx context.Context) (events, error) {
		return i.c.inst.Rollback(ctx, req)
	})
	return err
}

// Enhance implements sdk.Enhancer.
func (i *Installer) Enhance(ctx context.Context, name, enhancement string, r sdk.Reporter) error {
	req := &pb.EnhanceRequest{Operation: operationToProto(ctx), Name: name, Enhancement: enhancement}
	_, err := i.c.follow(ctx, "Enhance", r, CallTimeout, func(ctx context.Context) (events, error) {
		return i.c.inst.Enhance(ctx, req)
	})
	return err
}

// Hook is the role of a plugin process.
type Hook struct{ c *Client }

// Run implements sdk.Hook.
func (h *Hook) Run(ctx context.Context, e sdk.HookEvent, r sdk.Reporter) (sdk.HookResult, error) {
	req := &pb.RunRequest{Operation: operationToProto(ctx), Event: hookEventToProto(h.c.maskEvent(e))}
	done, err := h.c.follow(ctx, "Run", r, CallTimeout, func(ctx context.Context) (events, error) {
		return h.c.hook.Run(ctx, req)
	})
	result := done.GetHookResult()
	return sdk.HookResult{CSR: result.GetCsr(), Warnings: h.c.problems(result.GetWarnings())}, err
}
