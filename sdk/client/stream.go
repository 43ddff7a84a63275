package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/certwright/certwright/sdk"
	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

// follow reads one stream to its end, passes its events on and gives Done.
func (c *Client) follow(
	ctx context.Context, call string, r sdk.Reporter, limit time.Duration,
	open func(context.Context) (grpc.ServerStreamingClient[pb.Event], error),
) (*pb.Done, error) {
	if c.Timeout > 0 {
		limit = c.Timeout
	}
	expired := sdk.Problemf(sdk.Timeout, "%s did not end within %s", call, limit)
	expired.Hint = "raise timeout of the instance if the work needs longer"
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clock := newClock(limit, func() { cancel(expired) })
	defer clock.stop()

	events, err := open(ctx)
	if err != nil {
		return nil, c.broken(ctx, call, err)
	}
	var answering sync.WaitGroup
	defer answering.Wait()
	defer cancel(nil) // before Wait: it ends the asks
	for {
		event, err := events.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the stream ended without a result")
			}
			return nil, c.broken(ctx, call, err)
		}
		switch kind := event.GetKind().(type) {
		case *pb.Event_Progress:
			r.Progress(c.mask(kind.Progress.GetSubject()), c.mask(kind.Progress.GetMessage()))
		case *pb.Event_Say:
			to := sdk.Stdout
			if kind.Say.GetStream() == pb.Say_STDERR {
				to = sdk.Stderr
			}
			r.Say(to, c.mask(kind.Say.GetText()))
		case *pb.Event_Ask:
			clock.pause()
			answering.Go(func() {
				defer clock.resume()
				c.answer(ctx, kind.Ask, r)
			})
		case *pb.Event_Result:
			r.Result(c.result(kind.Result))
		case *pb.Event_Done:
			if p := c.problem(kind.Done.GetProblem()); p != nil {
				return kind.Done, p
			}
			return kind.Done, nil
		}
	}
}

// answer brings one line. If it cannot be delivered the plugin is gone or asks
// no more, and its stream tells.
func (c *Client) answer(ctx context.Context, ask *pb.Ask, r sdk.Reporter) {
	req := &pb.AnswerRequest{Id: ask.GetId()}
	line, err := r.Ask(ctx, c.mask(ask.GetText()))
	switch {
	case err == nil:
		req.Kind = &pb.AnswerRequest_Line{Line: line}
	case errors.Is(err, sdk.ErrNotInteractive):
		req.Kind = &pb.AnswerRequest_NotInteractive{NotInteractive: true}
	default:
		req.Kind = &pb.AnswerRequest_Eof{Eof: true}
	}
	_, _ = c.base.Answer(ctx, req)
}

// clock is a timer that stands still while an ask is open.
type clock struct {
	mu      sync.Mutex
	timer   *time.Timer
	left    time.Duration
	started time.Time
	paused  int
	expire  func()
}

func newClock(limit time.Duration, expire func()) *clock {
	return &clock{left: limit, started: time.Now(), timer: time.AfterFunc(limit, expire), expire: expire}
}

func (c *clock) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused++; c.paused == 1 {
		c.timer.Stop()
		c.left -= time.Since(c.started)
	}
}

func (c *clock) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused--; c.paused == 0 {
		c.started = time.Now()
		c.timer = time.AfterFunc(max(c.left, 0), c.expire)
	}
}

func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
}
