package client

import (
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/sdk"
	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

// What a plugin says comes through here once, so that a secret in it gets
// nowhere: not into an error, a log, a file of the host or another plugin.
// Subjects and identifiers are compared with what the host knows and stay as
// they are.

func (c *Client) mask(text string) string {
	if c.Mask == nil {
		return text
	}
	return c.Mask(text)
}

func (c *Client) maskAll(texts []string) []string {
	var out []string
	for _, text := range texts {
		out = append(out, c.mask(text))
	}
	return out
}

// maskProblem gives a copy: the problem may be part of somebody's error.
func (c *Client) maskProblem(p *sdk.Problem) *sdk.Problem {
	if p == nil {
		return nil
	}
	masked := *p
	masked.Summary, masked.Detail, masked.Hint = c.mask(p.Summary), c.mask(p.Detail), c.mask(p.Hint)
	return &masked
}

func (c *Client) problem(p *pb.Problem) *sdk.Problem { return c.maskProblem(problemFromProto(p)) }

func (c *Client) problems(problems []*pb.Problem) []*sdk.Problem {
	var out []*sdk.Problem
	for _, p := range problems {
		out = append(out, c.problem(p))
	}
	return out
}

func (c *Client) result(r *pb.Result) sdk.Result {
	out := resultFromProto(r)
	out.Diff = c.mask(out.Diff)
	if p := c.problem(r.GetProblem()); p != nil {
		out.Err = p
	}
	return out
}

// maskStatus keeps the code, which says what broke.
func (c *Client) maskStatus(err error) error {
	s, ok := status.FromError(err)
	if !ok || c.mask(s.Message()) == s.Message() {
		return err
	}
	return status.Error(s.Code(), c.mask(s.Message()))
}

// maskEvent is for what one plugin is told of the failure of another.
func (c *Client) maskEvent(e sdk.HookEvent) sdk.HookEvent {
	e.Problem, e.Messages = c.maskProblem(e.Problem), c.maskAll(e.Messages)
	return e
}
