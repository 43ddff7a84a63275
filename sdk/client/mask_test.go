package client

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/certwright/certwright/sdk"
	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

func masking(text string) string { return strings.ReplaceAll(text, "hunter2", "[secret]") }

// everything keeps all that a plugin says.
type everything struct {
	listener
	results []sdk.Result
}

func (e *everything) Progress(subject, message string) { e.add(subject + ": " + message) }
func (e *everything) Say(_ sdk.Stream, text string)    { e.add(text) }
func (e *everything) Result(r sdk.Result)              { e.results = append(e.results, r) }
func (e *everything) Ask(_ context.Context, text string) (string, error) {
	e.add(text)
	return "", nil
}

// TestMask: a secret in what the plugin says reaches nobody; what identifies
// something stays as it is.
func TestMask(t *testing.T) {
	problem := &pb.Problem{Code: pb.Problem_CREDENTIALS, Summary: "s hunter2", Detail: "d hunter2", Hint: "h hunter2", Subject: "hunter2"}
	plugin := &scripted{perform: func(events grpc.ServerStreamingServer[pb.Event]) error {
		for _, event := range []*pb.Event{
			{Kind: &pb.Event_Progress{Progress: &pb.Progress{Subject: "of hunter2", Message: "is hunter2"}}},
			{Kind: &pb.Event_Say{Say: &pb.Say{Text: "say hunter2"}}},
			{Kind: &pb.Event_Ask{Ask: &pb.Ask{Id: "1", Text: "ask hunter2"}}},
			{Kind: &pb.Event_Result{Result: &pb.Result{Subject: "hunter2", Diff: "+hunter2", Problem: problem}}},
		} {
			if err := events.Send(event); err != nil {
				return err
			}
		}
		return status.Error(codes.Internal, "broken by hunter2")
	}}
	c := serve(t, plugin)
	c.Mask = masking
	var heard everything
	err := c.Authenticator().Perform(t.Context(), nil, &heard)
	if err == nil || !strings.Contains(err.Error(), "broken by [secret]") || status.Code(err) != codes.Internal {
		t.Errorf("the call broke by %v", err)
	}
	said := strings.Join(heard.log, "\n")
	for _, want := range []string{"of [secret]: is [secret]", "say [secret]", "ask [secret]"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %q", want, said)
		}
	}
	if len(heard.results) != 1 {
		t.Fatalf("results %+v", heard.results)
	}
	result := heard.results[0]
	p := sdk.ProblemOf(result.Err)
	if result.Subject != "hunter2" || p.Subject != "hunter2" {
		t.Errorf("the subjects are %q and %q", result.Subject, p.Subject)
	}
	if text := said + result.Diff + p.Summary + p.Detail + p.Hint; strings.Contains(text, "hunter2") || p.Hint != "h [secret]" || result.Diff != "+[secret]" {
		t.Errorf("%q, %+v", text, p)
	}

	// The failure of one plugin is told to another, and is not changed by that.
	event := sdk.HookEvent{Problem: sdk.Problemf(sdk.Internal, "of hunter2"), Messages: []string{"site: hunter2"}}
	told := c.maskEvent(event)
	if told.Problem.Summary != "of [secret]" || told.Messages[0] != "site: [secret]" || event.Problem.Summary != "of hunter2" || event.Messages[0] != "site: hunter2" {
		t.Errorf("told %+v of %+v", told, event)
	}
}
