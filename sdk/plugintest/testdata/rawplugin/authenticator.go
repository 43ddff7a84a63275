package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

type stream = grpc.ServerStreamingServer[pb.Event]

func result(s stream, id string, p *pb.Problem) error {
	return s.Send(&pb.Event{Kind: &pb.Event_Result{Result: &pb.Result{Subject: id, Problem: p}}})
}

func done(s stream, d *pb.Done) error {
	return s.Send(&pb.Event{Kind: &pb.Event_Done{Done: d}})
}

func problem(code pb.Problem_Code, summary string) *pb.Problem {
	return &pb.Problem{Code: code, Summary: summary}
}

type authenticator struct {
	pb.UnimplementedAuthenticatorServer
	*state
}

func (a *authenticator) Prefer(_ context.Context, req *pb.PreferRequest) (*pb.PreferResponse, error) {
	resp := &pb.PreferResponse{}
	for _, id := range req.GetIdentifiers() {
		resp.Preferences = append(resp.Preferences, &pb.Preference{Identifier: id})
	}
	switch {
	case is("reverses"):
		slices.Reverse(resp.Preferences)
	case is("answers-one"):
		resp.Preferences = resp.Preferences[:1]
	}
	return resp, nil
}

// place is where a response is kept: a file that the test's servers read. Each
// line of a record set is one value.
func (a *authenticator) place(c *pb.Challenge) (path, line string) {
	switch {
	case c.GetHttp() != nil:
		return filepath.Join(a.dir, c.GetHttp().GetPath()), string(c.GetHttp().GetBody())
	case c.GetDns() != nil:
		return filepath.Join(a.dir, "dns", c.GetDns().GetName()), c.GetDns().GetValue()
	default:
		return filepath.Join(a.dir, "tls", c.GetAlpn().GetServerName()),
			string(c.GetAlpn().GetCertPem()) + string(c.GetAlpn().GetKeyPem())
	}
}

func known(c *pb.Challenge) bool {
	return slices.Contains([]string{"http-01", "dns-01", "tls-alpn-01"}, c.GetType())
}

func (a *authenticator) Perform(req *pb.PerformRequest, s stream) error {
	if is("strict") && len(req.ProtoReflect().GetUnknown()) > 0 {
		return status.Error(codes.InvalidArgument, "unknown field")
	}
	if is("talks") {
		_, _ = os.Stdout.Write(nil)
		_, _ = os.NewFile(1, "stdout").WriteString("working...\n")
	}
	id := req.GetOperation().GetOperationId()
	a.mu.Lock()
	a.running = append(a.running, id)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.running = slices.DeleteFunc(a.running, func(r string) bool { return r == id })
	}()
	if is("deaf") {
		select {}
	}
	a.work.Lock()
	defer a.work.Unlock()
	for _, c := range req.GetChallenges() {
		if !known(c) {
			if is("dies-of-unknown") {
				os.Exit(3)
			}
			if is("takes-unknown") {
				_ = result(s, c.GetId(), nil)
				continue
			}
			_ = result(s, c.GetId(), problem(pb.Problem_UNSUPPORTED, "this type is not answered"))
			continue
		}
		put := a.put
		if a.byAPI(c) {
			put = func(c *pb.Challenge) *pb.Problem { return a.add(s.Context(), c.GetDns()) }
		}
		if p := put(c); p != nil {
			if is("hangs-up-too") {
				return status.Error(codes.Unavailable, p.GetSummary())
			}
			_ = result(s, c.GetId(), p)
			continue
		}
		switch {
		case is("chatters"):
			_ = s.Send(&pb.Event{Kind: &pb.Event_Result{Result: &pb.Result{Subject: c.GetId(), Receipt: []byte("by " + a.token)}}})
		case is("silent"):
		case is("stranger"):
			_ = result(s, "another", nil)
		case is("fails"):
			_ = result(s, c.GetId(), problem(pb.Problem_UNAVAILABLE, "not today"))
		default:
			_ = result(s, c.GetId(), nil)
		}
	}
	return done(s, &pb.Done{})
}

func (a *authenticator) put(c *pb.Challenge) *pb.Problem {
	path, line := a.place(c)
	a.made[path] = true
	if is("liar") {
		return nil
	}
	if is("litters") {
		_ = write(path+".tmp", []string{line})
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return problem(pb.Problem_PERMISSION, err.Error())
	}
	lines := read(path)
	if c.GetDns() == nil {
		lines = nil
	}
	if !slices.Contains(lines, line) || is("duplicates") {
		lines = append(lines, line)
	}
	if err := write(path, lines); err != nil {
		return problem(pb.Problem_PERMISSION, err.Error())
	}
	return nil
}

func (a *authenticator) Cleanup(req *pb.CleanupRequest, s stream) error {
	a.work.Lock()
	defer a.work.Unlock()
	for _, item := range req.GetItems() {
		c := item.GetChallenge()
		if !known(c) {
			continue
		}
		if a.byAPI(c) {
			p := a.remove(s.Context(), c.GetDns())
			if p != nil && is("hangs-up-too") {
				return status.Error(codes.Unavailable, p.GetSummary())
			}
			_ = result(s, c.GetId(), p)
			continue
		}
		path, line := a.place(c)
		lines := read(path)
		switch {
		case is("keeps"), is("memory") && !a.made[path]:
		case is("fussy") && lines == nil, is("fussy-twice") && a.cleaned[path+line]:
			_ = result(s, c.GetId(), problem(pb.Problem_NOT_FOUND, "there is nothing"))
			continue
		case is("sweeps"):
			_ = os.RemoveAll(filepath.Dir(path))
		default:
			if err := write(path, slices.DeleteFunc(lines, func(l string) bool { return l == line })); err != nil {
				return err
			}
		}
		a.cleaned[path+line] = true
		_ = result(s, c.GetId(), nil)
	}
	return done(s, &pb.Done{})
}

const separator = "\x00\n"

func read(path string) []string {
	content, err := os.ReadFile(path)
	if err != nil || len(content) == 0 {
		return nil
	}
	return strings.Split(string(content), separator)
}

func write(path string, lines []string) error {
	if len(lines) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return os.WriteFile(path, []byte(strings.Join(lines, separator)), 0o644)
}
