package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

// server is the plugin's side of the connection: it turns messages into plain
// Go and back, and holds authors to nothing but their interface.
type server struct {
	pb.UnimplementedPluginServer
	plugin      Plugin
	description Description
	calls       calls
	asks        asks

	// again: it may be configured more than once, see serveReattached.
	again bool

	mu         sync.Mutex
	configured bool
}

func newServer(p Plugin, d Description) *server {
	return &server{plugin: p, description: d}
}

func (s *server) register(g *grpc.Server) {
	pb.RegisterPluginServer(g, s)
	if s.plugin.Authenticator != nil {
		pb.RegisterAuthenticatorServer(g, &authenticatorServer{server: s, role: s.plugin.Authenticator})
	}
	if s.plugin.Installer != nil {
		pb.RegisterInstallerServer(g, &installerServer{server: s, role: s.plugin.Installer})
	}
	if s.plugin.Hook != nil {
		pb.RegisterHookServer(g, &hookServer{server: s, role: s.plugin.Hook})
	}
}

func (s *server) Describe(ctx context.Context, _ *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	s.mu.Lock()
	configured := s.configured
	s.mu.Unlock()
	d := s.description
	if configured {
		d.Settings = slices.Clone(d.Settings)
		for _, describer := range optional[SettingsDescriber](s.plugin) {
			// A plugin that panics here has told what its struct says.
			_ = guarded(func() error {
				d.Settings = append(d.Settings, describer.DescribeSettings(ctx)...)
				return nil
			})
		}
	}
	return descriptionToProto(d), nil
}

func (s *server) Configure(ctx context.Context, req *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keepStreams()
	if s.again {
		s.configured = false
		clearSettings(s.plugin.Settings)
	}
	if s.configured {
		return nil, status.Error(codes.FailedPrecondition, "this process is configured already: a process serves one instance")
	}
	problems := decodeSettings(s.plugin.Settings, req.GetSettingsJson(), req.GetSecrets())
	if len(problems) == 0 {
		instance := Instance{
			Name: req.GetInstance(), StateDir: req.GetStateDir(),
			ValidateOnly: req.GetValidateOnly(), HostVersion: req.GetHostVersion(),
			NonInteractive: req.GetNonInteractive(), Quiet: req.GetQuiet(),
		}
		for _, c := range optional[Configurer](s.plugin) {
			if err := guarded(func() error { return c.Configure(ctx, instance) }); err != nil {
				problems = append(problems, joined(err)...)
			}
		}
	}
	s.configured = len(problems) == 0
	return &pb.ConfigureResponse{Problems: problemsToProto(problems)}, nil
}

// joined takes errors.Join apart, so that each setting has its own problem.
func joined(err error) []*Problem {
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []*Problem{ProblemOf(err)}
	}
	var out []*Problem
	for _, e := range many.Unwrap() {
		out = append(out, joined(e)...)
	}
	return out
}

func (s *server) Health(ctx context.Context, req *pb.HealthRequest) (*pb.HealthResponse, error) {
	resp := &pb.HealthResponse{InFlight: int32(s.calls.running())}
	for _, h := range optional[HealthChecker](s.plugin) {
		if err := guarded(func() error { return h.Health(ctx, req.GetDeep()) }); err != nil {
			resp.Problems = append(resp.Problems, problemToProto(ProblemOf(err)))
		}
	}
	return resp, nil
}

func (s *server) Drain(ctx context.Context, req *pb.DrainRequest) (*pb.DrainResponse, error) {
	grace := req.GetGrace().AsDuration()
	if grace <= 0 {
		grace = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	return &pb.DrainResponse{AbandonedOperationIds: s.calls.drain(ctx)}, nil
}

func (s *server) Answer(_ context.Context, req *pb.AnswerRequest) (*pb.AnswerResponse, error) {
	a := answer{line: req.GetLine()}
	switch req.GetKind().(type) {
	case *pb.AnswerRequest_Eof:
		a.err = io.EOF
	case *pb.AnswerRequest_NotInteractive:
		a.err = ErrNotInteractive
	}
	return &pb.AnswerResponse{Accepted: s.asks.bring(req.GetId(), a)}, nil
}

// stream runs one author call and sends what it reports. It returns at the
// latest 4 s after the context is done, whatever the author's code does.
func (s *server) stream(
	events grpc.ServerStreamingServer[pb.Event], op *pb.Operation,
	call func(context.Context, *reporter) (*pb.Done, error),
) error {
	s.mu.Lock()
	configured := s.configured
	s.mu.Unlock()
	if !configured {
		return status.Error(codes.FailedPrecondition, "Configure comes first")
	}
	ctx, end := s.calls.begin(WithOperation(events.Context(), operationFromProto(op)))
	if err := ctx.Err(); err != nil {
		// Cancelled before it began: a Cleanup may be running by now, and
		// nothing must be added behind its back.
		end()
		return status.FromContextError(err).Err()
	}
	r := &reporter{events: events, asks: &s.asks}
	finished := make(chan error, 1)
	go func() {
		defer end()
		done := &pb.Done{}
		err := guarded(func() (err error) {
			d, err := call(ctx, r)
			if d != nil {
				done = d
			}
			return err
		})
		if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			finished <- status.FromContextError(ctx.Err()).Err()
			return
		}
		done.Problem = problemToProto(ProblemOf(err))
		finished <- r.done(done)
	}()
	select {
	case err := <-finished:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(4 * time.Second)
	defer late.Stop()
	select {
	case err := <-finished:
		return err
	case <-late.C:
		r.close()
		return status.FromContextError(ctx.Err()).Err()
	}
}

// guarded turns a panic of author code into a problem: the other calls of this
// process go on, and the stack is in the log.
func guarded(call func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			logPanic(v)
			err = Problemf(Internal, "the plugin panicked: %v", v)
		}
	}()
	return call()
}

// calls keeps account of what is running.
type calls struct {
	mu   sync.Mutex
	next int
	open map[int]*openCall
}

type openCall struct {
	operation string
	ctx       context.Context //nolint:containedctx // the record of a call that lives as long as this context
	cancel    context.CancelFunc
	ended     chan struct{}
}

func (c *calls) begin(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	call := &openCall{operation: OperationFrom(ctx).ID, ctx: ctx, cancel: cancel, ended: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[int]*openCall{}
	}
	c.next++
	id := c.next
	c.open[id] = call
	return ctx, func() {
		c.mu.Lock()
		delete(c.open, id)
		c.mu.Unlock()
		cancel()
		close(call.ended)
	}
}

func (c *calls) running() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

func (c *calls) snapshot() []*openCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*openCall, 0, len(c.open))
	for _, call := range c.open {
		out = append(out, call)
	}
	return out
}

// settle waits for calls that were cancelled but have not returned, so that a
// Cleanup does not run into a Perform that is still adding things.
func (c *calls) settle(ctx context.Context) {
	for _, call := range c.snapshot() {
		if call.ctx.Err() == nil {
			continue
		}
		select {
		case <-call.ended:
		case <-ctx.Done():
		}
	}
}

// drain cancels all and names what did not end in time.
func (c *calls) drain(ctx context.Context) []string {
	var abandoned []string
	open := c.snapshot()
	for _, call := range open {
		call.cancel()
	}
	for _, call := range open {
		select {
		case <-call.ended:
		case <-ctx.Done():
			abandoned = append(abandoned, call.operation)
		}
	}
	return abandoned
}

// asks are the questions that wait for Answer.
type asks struct {
	mu   sync.Mutex
	next int
	open map[string]chan answer
}

type answer struct {
	line string
	err  error
}

func (a *asks) begin() (string, <-chan answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil {
		a.open = map[string]chan answer{}
	}
	a.next++
	id := fmt.Sprint(a.next)
	ch := make(chan answer, 1)
	a.open[id] = ch
	return id, ch
}

// bring delivers an answer exactly once.
func (a *asks) bring(id string, what answer) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	ch, ok := a.open[id]
	delete(a.open, id)
	if ok {
		ch <- what
	}
	return ok
}
