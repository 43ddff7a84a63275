package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/certwright/certwright/sdk"
	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a plugin that sends what a test says: the client must stand any.
type scripted struct {
	pb.UnimplementedPluginServer
	pb.UnimplementedAuthenticatorServer
	perform func(grpc.ServerStreamingServer[pb.Event]) error
	answers chan *pb.AnswerRequest
}

func (s *scripted) Perform(_ *pb.PerformRequest, events grpc.ServerStreamingServer[pb.Event]) error {
	return s.perform(events)
}

func (s *scripted) Answer(_ context.Context, req *pb.AnswerRequest) (*pb.AnswerResponse, error) {
	s.answers <- req
	return &pb.AnswerResponse{Accepted: true}, nil
}

func serve(t *testing.T, s *scripted) *Client {
	t.Helper()
	s.answers = make(chan *pb.AnswerRequest, 10)
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	pb.RegisterPluginServer(server, s)
	pb.RegisterAuthenticatorServer(server, s)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		<-ended
	})
	return New(conn)
}

// listener keeps what it is told.
type listener struct {
	mu  sync.Mutex
	log []string
	ask func(context.Context) (string, error)
}

func (l *listener) add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, text)
}

func (l *listener) Progress(_, message string) { l.add(message) }
func (l *listener) Say(to sdk.Stream, text string) {
	l.add(map[sdk.Stream]string{1: "out ", 2: "err "}[to] + text)
}
func (l *listener) Result(r sdk.Result)                               { l.add(r.Subject) }
func (l *listener) Ask(ctx context.Context, _ string) (string, error) { return l.ask(ctx) }

var done = &pb.Event{Kind: &pb.Event_Done{Done: &pb.Done{}}}

func TestStreamsThatBreak(t *testing.T) {
	for name, c := range map[string]struct {
		perform func(grpc.ServerStreamingServer[pb.Event]) error
		says    string
	}{
		"no done":   {func(grpc.ServerStreamingServer[pb.Event]) error { return nil }, "Perform: the stream ended without a result"},
		"status":    {func(grpc.ServerStreamingServer[pb.Event]) error { return status.Error(codes.DataLoss, "oops") }, "Perform: oops (DataLoss)"},
		"gone":      {func(grpc.ServerStreamingServer[pb.Event]) error { return status.Error(codes.Unavailable, "EOF") }, "Perform: the connection to the plugin was lost"},
		"no status": {func(grpc.ServerStreamingServer[pb.Event]) error { return errors.New("x") }, "Perform: x (Unknown)"},
	} {
		t.Run(name, func(t *testing.T) {
			host := serve(t, &scripted{perform: c.perform})
			err := host.Authenticator().Perform(t.Context(), nil, &listener{})
			if broken := (*BrokenError)(nil); !errors.As(err, &broken) || err.Error() != c.says {
				t.Errorf("%T %v, want a BrokenError %q", err, err, c.says)
			}
			host.Explain = func(err error) error { return errors.Join(err, errors.New("its last words")) }
			if err := host.Authenticator().Perform(t.Context(), nil, &listener{}); !strings.Contains(err.Error(), "its last words") {
				t.Errorf("%v is not explained", err)
			}
		})
	}
}

// What a later version sends beside the known is passed over.
func TestUnknownEventsAreIgnored(t *testing.T) {
	host := serve(t, &scripted{perform: func(events grpc.ServerStreamingServer[pb.Event]) error {
		unknown := &pb.Event{}
		unknown.ProtoReflect().SetUnknown([]byte{0xfa, 0x07, 0x01, 'x'}) // field 127, one byte
		return errors.Join(
			events.Send(unknown),
			events.Send(&pb.Event{Kind: &pb.Event_Say{Say: &pb.Say{Stream: 99, Text: "a"}}}),
			events.Send(&pb.Event{Kind: &pb.Event_Say{Say: &pb.Say{Stream: pb.Say_STDERR, Text: "b"}}}),
			events.Send(&pb.Event{Kind: &pb.Event_Result{Result: &pb.Result{Subject: "1", Endpoints: []*pb.Endpoint{{Kind: 99}}}}}),
			events.Send(done))
	}})
	l := &listener{}
	err := host.Authenticator().Perform(t.Context(), nil, l)
	if got := strings.Join(l.log, ","); err != nil || got != "out a,err b,1" {
		t.Errorf("%v, heard %s", err, got)
	}
}

func TestAnswers(t *testing.T) {
	ask := &pb.Event{Kind: &pb.Event_Ask{Ask: &pb.Ask{Id: "q7", Text: "well?"}}}
	for name, c := range map[string]struct {
		line  string
		err   error
		check func(*pb.AnswerRequest) bool
	}{
		"line":            {"yes", nil, func(a *pb.AnswerRequest) bool { return a.GetLine() == "yes" }},
		"not interactive": {"", sdk.ErrNotInteractive, func(a *pb.AnswerRequest) bool { return a.GetNotInteractive() }},
		"any failure":     {"", errors.New("the terminal is gone"), func(a *pb.AnswerRequest) bool { return a.GetEof() }},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{}
			s.perform = func(events grpc.ServerStreamingServer[pb.Event]) error {
				if err := events.Send(ask); err != nil {
					return err
				}
				if a := <-s.answers; a.GetId() != "q7" || !c.check(a) {
					t.Errorf("answer %v", a)
				}
				return events.Send(done)
			}
			l := &listener{ask: func(context.Context) (string, error) { return c.line, c.err }}
			if err := serve(t, s).Authenticator().Perform(t.Context(), nil, l); err != nil {
				t.Error(err)
			}
		})
	}
}

// A plugin that ends its call with a question open does not leave it waiting.
func TestOpenQuestionEndsWithTheCall(t *testing.T) {
	asked := make(chan struct{})
	host := serve(t, &scripted{perform: func(events grpc.ServerStreamingServer[pb.Event]) error {
		_ = events.Send(&pb.Event{Kind: &pb.Event_Ask{Ask: &pb.Ask{Id: "1"}}})
		<-asked
		return events.Send(done)
	}})
	l := &listener{ask: func(ctx context.Context) (string, error) {
		close(asked)
		<-ctx.Done()
		return "", ctx.Err()
	}}
	if err := host.Authenticator().Perform(t.Context(), nil, l); err != nil {
		t.Error(err)
	}
}

func TestClock(t *testing.T) {
	expired := make(chan struct{}, 1)
	c := newClock(time.Hour, func() { expired <- struct{}{} })
	c.pause()
	c.pause() // two questions at once
	c.left = -time.Second
	c.resume()
	select {
	case <-expired:
		t.Fatal("the clock runs while a question is open")
	default:
	}
	c.resume()
	<-expired // what was left is gone, so it fires at once
	c.stop()
}

func TestProblemOfAnyKind(t *testing.T) {
	for _, c := range []struct {
		in   *pb.Problem
		want sdk.Problem
	}{
		{&pb.Problem{}, sdk.Problem{Code: sdk.Internal, Summary: "the plugin reported a failure without words"}},
		{&pb.Problem{Code: 999, Summary: "s", Retry: 99}, sdk.Problem{Code: sdk.Internal, Summary: "s"}},
	} {
		got := problemFromProto(c.in)
		if got.Code != c.want.Code || got.Summary != c.want.Summary || got.Retry != c.want.Retry {
			t.Errorf("%v gives %+v", c.in, got)
		}
	}
	// Every code of the contract has a name here, and comes back as itself.
	for number, name := range pb.Problem_Code_name {
		if number == 0 {
			continue
		}
		if back := problemFromProto(problemToProto(&sdk.Problem{Code: sdk.Code(name), Summary: "s"})); string(back.Code) != name {
			t.Errorf("%s comes back as %s", name, back.Code)
		}
	}
}

func TestSettingsThatCannotBeSent(t *testing.T) {
	host := serve(t, &scripted{})
	_, err := host.Configure(t.Context(), Configuration{Instance: sdk.Instance{Name: "web"}, Settings: map[string]any{"f": func() {}}})
	if err == nil || !strings.Contains(err.Error(), "instance web") {
		t.Errorf("%v, want the instance named", err)
	}
}
