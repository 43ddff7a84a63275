package sdk

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"

	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

func logPanic(v any) {
	fmt.Fprintf(os.Stderr, "panic: %v\n%s\n", v, debug.Stack())
}

// reporter sends events of one stream, one at a time.
type reporter struct {
	events grpc.ServerStreamingServer[pb.Event]
	asks   *asks

	mu     sync.Mutex
	closed bool
	seen   map[string]bool
}

func (r *reporter) send(e *pb.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	if result := e.GetResult(); result != nil {
		if r.seen == nil {
			r.seen = map[string]bool{}
		}
		r.seen[result.GetSubject()] = true
	}
	return r.events.Send(e)
}

func (r *reporter) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

func (r *reporter) done(d *pb.Done) error {
	defer r.close()
	return r.send(&pb.Event{Kind: &pb.Event_Done{Done: d}})
}

// The errors of Send are dropped here: they mean that the host is gone or has
// cancelled, which the context of the call tells too.

func (r *reporter) Progress(subject, message string) {
	_ = r.send(&pb.Event{Kind: &pb.Event_Progress{Progress: &pb.Progress{Subject: subject, Message: message}}})
}

func (r *reporter) Say(to Stream, text string) {
	_ = r.send(&pb.Event{Kind: &pb.Event_Say{Say: &pb.Say{Stream: pb.Say_Stream(to), Text: text}}})
}

func (r *reporter) Result(result Result) {
	_ = r.send(&pb.Event{Kind: &pb.Event_Result{Result: resultToProto(result)}})
}

func (r *reporter) Ask(ctx context.Context, text string) (string, error) {
	id, answers := r.asks.begin()
	defer r.asks.bring(id, answer{})
	if err := r.send(&pb.Event{Kind: &pb.Event_Ask{Ask: &pb.Ask{Id: id, Text: text}}}); err != nil {
		return "", err
	}
	select {
	case a := <-answers:
		return a.line, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	case <-r.events.Context().Done(): // the call has ended: nobody will answer
		return "", r.events.Context().Err()
	}
}

// missing reports the subjects that the author did not.
func (r *reporter) missing(subjects []string, report func(subject string)) {
	r.mu.Lock()
	var left []string
	for _, s := range subjects {
		if !r.seen[s] {
			left = append(left, s)
		}
	}
	r.mu.Unlock()
	for _, s := range left {
		report(s)
	}
}

type authenticatorServer struct {
	pb.UnimplementedAuthenticatorServer
	server *server
	role   Authenticator
}

func (a *authenticatorServer) Prefer(ctx context.Context, req *pb.PreferRequest) (*pb.PreferResponse, error) {
	ids := identifiersFromProto(req.GetIdentifiers())
	resp := &pb.PreferResponse{}
	preferrer, ok := roleAs[Preferrer](a.role)
	if !ok {
		for _, id := range req.GetIdentifiers() {
			resp.Preferences = append(resp.Preferences, &pb.Preference{Identifier: id})
		}
		return resp, nil
	}
	var preferences []Preference
	err := guarded(func() (err error) {
		preferences, err = preferrer.Prefer(ctx, ids)
		return err
	})
	if err != nil {
		preferences = nil
		for _, id := range ids {
			preferences = append(preferences, Preference{Identifier: id, Err: err})
		}
	}
	for _, p := range preferences {
		resp.Preferences = append(resp.Preferences, &pb.Preference{
			Identifier: identifierToProto(p.Identifier), ChallengeTypes: p.ChallengeTypes,
			Problem: problemToProto(ProblemOf(p.Err)),
		})
	}
	return resp, nil
}

func (a *authenticatorServer) Perform(req *pb.PerformRequest, events grpc.ServerStreamingServer[pb.Event]) error {
	mine, strange := a.split(challengesFromProto(req.GetChallenges()))
	return a.server.stream(events, req.GetOperation(), func(ctx context.Context, r *reporter) (*pb.Done, error) {
		for _, c := range strange {
			r.Result(Result{Subject: c.ID, Err: forChallenge(unsupported("answer this type"), c)})
		}
		if len(mine) == 0 {
			return nil, nil
		}
		if err := a.role.Perform(ctx, mine, r); err != nil {
			return nil, err
		}
		r.missing(idsOf(mine), func(id string) {
			silent := Problemf(Internal, "the plugin did not say what became of the challenge")
			r.Result(Result{Subject: id, Err: Subject(silent, id)})
		})
		return nil, nil
	})
}

// split keeps from the author what the description does not name: a type of a
// later version brings material that nobody here knows.
func (a *authenticatorServer) split(challenges []Challenge) (mine, strange []Challenge) {
	for _, c := range challenges {
		named := func(t ChallengeType) bool { return t.Type == c.Type }
		if slices.ContainsFunc(a.server.description.ChallengeTypes, named) {
			mine = append(mine, c)
		} else {
			strange = append(strange, c)
		}
	}
	return mine, strange
}

func idsOf(challenges []Challenge) []string {
	var out []string
	for _, c := range challenges {
		out = append(out, c.ID)
	}
	return out
}

func (a *authenticatorServer) Cleanup(req *pb.CleanupRequest, events grpc.ServerStreamingServer[pb.Event]) error {
	var challenges []Challenge
	for _, item := range req.GetItems() {
		c := challengeFromProto(item.GetChallenge())
		c.Receipt = item.GetReceipt()
		challenges = append(challenges, c)
	}
	// What this plugin never puts in place is gone: no result is success.
	mine, _ := a.split(challenges)
	return a.server.stream(events, req.GetOperation(), func(ctx context.Context, r *reporter) (*pb.Done, error) {
		a.server.calls.settle(ctx)
		if len(mine) > 0 {
			if err := a.role.Cleanup(ctx, mine, r); err != nil {
				return nil, err
			}
		}
		r.missing(idsOf(challenges), func(id string) { r.Result(Result{Subject: id}) })
		return nil, nil
	})
}

type installerServer struct {
	pb.UnimplementedInstallerServer
	server *server
	role   Installer
}

func (i *installerServer) Names(ctx context.Context, _ *pb.NamesRequest) (*pb.NamesResponse, error) {
	resp := &pb.NamesResponse{}
	namer, ok := roleAs[Namer](i.role)
	if !ok {
		resp.Problem = problemToProto(unsupported("name what it serves"))
		return resp, nil
	}
	var sites []Site
	err := guarded(func() (err error) {
		sites, err = namer.Names(ctx)
		return err
	})
	resp.Problem = problemToProto(ProblemOf(err))
	for _, s := range sites {
		resp.Sites = append(resp.Sites, &pb.Site{Id: s.ID, Names: s.Names, File: s.File, Tls: s.TLS})
	}
	return resp, nil
}

func (i *installerServer) Deploy(req *pb.DeployRequest, events grpc.ServerStreamingServer[pb.Event]) error {
	d := deploymentFromProto(req.GetDeployment())
	return i.server.stream(events, req.GetOperation(), func(ctx context.Context, r *reporter) (*pb.Done, error) {
		return nil, i.role.Deploy(ctx, d, r)
	})
}

func (i *installerServer) Save(req *pb.SaveRequest, events grpc.ServerStreamingServer[pb.Event]) error {
	return i.server.stream(events, req.GetOperation(), func(ctx context.Context, r *reporter) (*pb.Done, error) {
		c, err := i.role.Save(ctx, SaveRequest{Title: req.GetTitle(), Temporary: req.GetTemporary()}, r)
		return &pb.Done{Checkpoint: checkpointToProto(c)}, err
	})
}

func (i *installerServer) ConfigTest(req *pb.ConfigTestRequest, events grpc.ServerStreamingServer[pb.Event]) error {
	return i.server.stream(events, req.GetOperation(), func(ctx context.Context, r *reporter) (*pb.Done, error) {
		tester, ok := roleAs[ConfigTester](i.role)
		if !ok {
			return nil, nil // nothing to test is no failure
		}
		return nil, tester.ConfigTest(ctx, r)
	})
}

func (i *installerServer) Restart(req *pb.RestartRequest, events grpc.ServerStreamingServer[pb.Event]) error {
	return i.server.stream(events, req.GetOperation(), func(ctx context.Context, r *reporter) (*pb.Done, error) {
		return nil, i.role.Restart(ctx, r)
	})
}

func (i *installerServer) Rollback(req *pb.RollbackRequest, events grpc.ServerStreamingServer[pb.Event]) error {
	return i.server.stream(events, req.GetOperation(), func(ctx context.Context, r *reporter) (*pb.Done, error) {
		rollbacker, ok := roleAs[Rollbacker](i.role)
		if !ok {
			return nil, unsupported("roll back")
		}
		i.server.calls.settle(ctx)
		return nil, rollbacker.Rollback(ctx, int(req.GetCount()), r)
	})
}

func (i *installerServer) Enhance(req *pb.EnhanceRequest, events grpc.ServerStreamingServer[pb.Event]) error {
	return i.server.stream(events, req.GetOperation(), func(ctx context.Context, r *reporter) (*pb.Done, error) {
		enhancer, ok := roleAs[Enhancer](i.role)
		if !ok {
			return nil, unsupported("enhance")
		}
		return nil, enhancer.Enhance(ctx, req.GetName(), req.GetEnhancement(), r)
	})
}

func unsupported(what string) *Problem {
	p := Problemf(Unsupported, "this plugin cannot %s", what)
	p.Retry = RetryNever
	return p
}

type hookServer struct {
	pb.UnimplementedHookServer
	server *server
	role   Hook
}

func (h *hookServer) Run(req *pb.RunRequest, events grpc.ServerStreamingServer[pb.Event]) error {
	e := hookEventFromProto(req.GetEvent())
	return h.server.stream(events, req.GetOperation(), func(ctx context.Context, r *reporter) (*pb.Done, error) {
		if !slices.Contains(h.server.description.HookEvents, e.Event) {
			return nil, nil // not asked for, or of a later version
		}
		result, err := h.role.Run(ctx, e, r)
		return &pb.Done{HookResult: &pb.HookResult{Csr: result.CSR, Warnings: problemsToProto(result.Warnings)}}, err
	})
}
