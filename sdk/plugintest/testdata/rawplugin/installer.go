package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

// installer keeps one file; its state directory holds what was there before.
type installer struct {
	pb.UnimplementedInstallerServer
	*state
}

func (i *installer) target() string { return filepath.Join(i.dir, "deployed.pem") }
func (i *installer) undo() string   { return filepath.Join(i.stateDir, "before") }

func (i *installer) Names(context.Context, *pb.NamesRequest) (*pb.NamesResponse, error) {
	site := &pb.Site{Id: "1", Names: []string{"a.test"}}
	if is("nameless") {
		site.Id = ""
	}
	return &pb.NamesResponse{Sites: []*pb.Site{site}}, nil
}

func (i *installer) Deploy(req *pb.DeployRequest, s stream) error {
	d := req.GetDeployment()
	now, _ := os.ReadFile(i.target())
	r := &pb.Result{Subject: i.target(), Changed: !bytes.Equal(now, d.GetFullchainPem())}
	if d.GetDryRun() && !is("no-diff") {
		r.Diff = "+ the certificate"
	}
	if is("appends") && i.staged != nil {
		i.staged = append(i.staged, d.GetFullchainPem()...)
	} else {
		i.staged = d.GetFullchainPem()
	}
	if is("hasty") || is("wet") && d.GetDryRun() {
		_ = os.WriteFile(i.target(), i.staged, 0o600)
	}
	if d.GetDryRun() {
		i.staged = nil
	}
	if !is("no-result") {
		_ = s.Send(&pb.Event{Kind: &pb.Event_Result{Result: r}})
	}
	return done(s, &pb.Done{})
}

func (i *installer) Save(req *pb.SaveRequest, s stream) error {
	if req.GetTitle() != "" {
		_ = os.Rename(i.undo(), i.undo()+"-final")
		return done(s, &pb.Done{Checkpoint: &pb.Checkpoint{Id: "1", Title: req.GetTitle()}})
	}
	if i.staged == nil || is("idle") {
		return done(s, &pb.Done{})
	}
	before, err := os.ReadFile(i.target())
	if err != nil {
		before = []byte("-")
	}
	i.before = before
	if _, err := os.Stat(i.undo()); err != nil && !is("forgets") {
		_ = os.WriteFile(i.undo(), before, 0o600)
	}
	_ = os.WriteFile(i.target(), i.staged, 0o600)
	if is("grows") {
		_ = os.WriteFile(i.target(), append(bytes.TrimSuffix(before, []byte("-")), i.staged...), 0o600)
	}
	if !is("appends") {
		i.staged = nil
	}
	return done(s, &pb.Done{})
}

func (i *installer) ConfigTest(_ *pb.ConfigTestRequest, s stream) error { return done(s, &pb.Done{}) }

func (i *installer) Restart(_ *pb.RestartRequest, s stream) error {
	d := &pb.Done{}
	if i.api != "" {
		a := &authenticator{state: i.state}
		if p, err := a.request(s.Context(), http.MethodPost, &pb.DnsChallenge{Name: "restart"}); err != nil {
			if is("hangs-up-too") {
				return status.Error(codes.Unavailable, p.GetSummary())
			}
			if p == nil { // believes
				_ = os.Remove(i.target())
			}
			d.Problem = p
			i.failed = true
		}
	}
	if i.failed && is("no-restart") {
		d.Problem = problem(pb.Problem_INTERNAL, "it failed before, and does for ever")
	}
	if is("broken-restart") {
		d.Problem = problem(pb.Problem_NOT_RUNNING, "the server is not running")
	}
	return done(s, d)
}

func (i *installer) Rollback(req *pb.RollbackRequest, s stream) error {
	if is("no-rollback") {
		return done(s, &pb.Done{})
	}
	undone := i.restore(i.undo())
	if req.GetCount() > 0 && !i.restore(i.undo()+"-final") && is("counts") && !undone {
		return done(s, &pb.Done{Problem: problem(pb.Problem_NOT_FOUND, "there is no checkpoint")})
	}
	return done(s, &pb.Done{})
}

func (i *installer) restore(from string) bool {
	before, err := os.ReadFile(from)
	if err != nil {
		return false
	}
	if string(before) == "-" {
		_ = os.Remove(i.target())
	} else {
		_ = os.WriteFile(i.target(), before, 0o600)
	}
	return os.Remove(from) == nil
}

type hook struct{ pb.UnimplementedHookServer }

func (hook) Run(req *pb.RunRequest, s stream) error {
	if is("hangs-up") {
		return nil
	}
	if is("fussy-hook") && req.GetEvent().GetEvent() != "success" {
		return done(s, &pb.Done{Problem: problem(pb.Problem_UNSUPPORTED, "unknown event")})
	}
	return done(s, &pb.Done{})
}
