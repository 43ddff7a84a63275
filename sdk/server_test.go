package sdk

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

// contextOnly is a stream on which nothing may be sent.
type contextOnly struct {
	grpc.ServerStreamingServer[pb.Event]
	ctx context.Context
}

func (c contextOnly) Context() context.Context { return c.ctx }

// A call that is cancelled before it begins must not reach the author: the
// Cleanup that follows a cancel may be running by then.
func TestCancelledCallDoesNotBegin(t *testing.T) {
	s := &server{configured: true}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.stream(contextOnly{ctx: ctx}, nil, func(context.Context, *reporter) (*pb.Done, error) {
		t.Error("the author's code is called")
		return nil, nil
	})
	if status.Code(err) != codes.Canceled || s.calls.running() != 0 {
		t.Errorf("%v, %d running", err, s.calls.running())
	}
}
