package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "example.com/certwright-plugin-v1plugin/pluginv1"
)

type stream = grpc.ServerStreamingServer[pb.Event]

func done(s stream, d *pb.Done) error {
	return s.Send(&pb.Event{Kind: &pb.Event_Done{Done: d}})
}

func result(s stream, r *pb.Result) error {
	return s.Send(&pb.Event{Kind: &pb.Event_Result{Result: r}})
}

func failure(code pb.Problem_Code, summary string, err error) *pb.Problem {
	p := &pb.Problem{Code: code, Retry: pb.Problem_PERMANENT, Summary: summary}
	if err != nil {
		p.Detail = err.Error()
	}
	return p
}

type authenticator struct {
	pb.UnimplementedAuthenticatorServer
	*state
}

func (authenticator) Prefer(_ context.Context, req *pb.PreferRequest) (*pb.PreferResponse, error) {
	resp := &pb.PreferResponse{}
	for _, id := range req.GetIdentifiers() {
		p := &pb.Preference{Identifier: id}
		if id.GetWildcard() {
			p.Problem = failure(pb.Problem_UNSUPPORTED, "http-01 proves no wildcard", nil)
		} else {
			p.ChallengeTypes = []string{"http-01"}
		}
		resp.Preferences = append(resp.Preferences, p)
	}
	return resp, nil
}

func (a authenticator) Perform(req *pb.PerformRequest, s stream) error {
	defer a.begin(req.GetOperation())()
	if a.settings.Web == "" {
		return status.Error(codes.FailedPrecondition, "Configure comes first")
	}
	if a.settings.Question {
		if err := a.ask(s, "Put it in place? "); err != nil {
			return err
		}
	}
	_ = s.Send(&pb.Event{Kind: &pb.Event_Progress{Progress: &pb.Progress{Message: "writing into " + a.settings.Web}}})
	for _, c := range req.GetChallenges() {
		r := &pb.Result{Subject: c.GetId()}
		if c.GetType() != "http-01" {
			r.Problem = failure(pb.Problem_UNSUPPORTED, "v1plugin does not answer "+c.GetType(), nil)
		} else if err := write(filepath.Join(a.settings.Web, c.GetHttp().GetPath()), c.GetHttp().GetBody()); err != nil {
			r.Problem = failure(pb.Problem_PERMISSION, "the response could not be written", err)
		} else {
			r.Receipt = []byte("written")
		}
		if err := result(s, r); err != nil {
			return err
		}
	}
	return done(s, &pb.Done{})
}

// ask waits for the line that Answer brings, and says it again.
func (a authenticator) ask(s stream, text string) error {
	a.mu.Lock()
	a.asked++
	id := fmt.Sprint("ask-", a.asked)
	waiting := make(chan *pb.AnswerRequest, 1)
	a.asks[id] = waiting
	a.mu.Unlock()
	if err := s.Send(&pb.Event{Kind: &pb.Event_Ask{Ask: &pb.Ask{Id: id, Text: text}}}); err != nil {
		return err
	}
	select {
	case answer := <-waiting:
		return s.Send(&pb.Event{Kind: &pb.Event_Say{Say: &pb.Say{
			Stream: pb.Say_STDERR, Text: fmt.Sprintf("the answer was %q\n", answer.GetLine()),
		}}})
	case <-s.Context().Done():
		return s.Context().Err()
	}
}

func (a authenticator) Cleanup(req *pb.CleanupRequest, s stream) error {
	defer a.begin(req.GetOperation())()
	for _, item := range req.GetItems() {
		c := item.GetChallenge()
		r := &pb.Result{Subject: c.GetId()}
		if c.GetType() == "http-01" {
			err := os.Remove(filepath.Join(a.settings.Web, c.GetHttp().GetPath()))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				r.Problem = failure(pb.Problem_PERMISSION, "the response could not be removed", err)
			}
		}
		if err := result(s, r); err != nil {
			return err
		}
	}
	return done(s, &pb.Done{})
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}
