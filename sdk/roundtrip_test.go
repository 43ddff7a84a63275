package sdk_test

import (
	"context"
	"fmt"
	"reflect"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

// fill sets every field of a value to something that is not zero and, for
// strings and numbers, different from all others.
func fill(v reflect.Value, n *int) {
	*n++
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2031, 1, 2, 3, 4, 5, *n, time.UTC)
		return
	case *sdk.EndpointKind:
		*x = []sdk.EndpointKind{sdk.TLS, sdk.SMTP, sdk.IMAP, sdk.POP3}[*n%4]
		return
	case *error:
		*x = filled[*sdk.Problem]()
		return
	case *sdk.Code:
		*x = sdk.RateLimited
		return
	case *sdk.Retry:
		*x = sdk.RetryLater
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text-%d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n)
			}
		}
	default:
		panic("fill " + v.Type().String())
	}
}

func filled[T any]() T {
	var out T
	n := 0
	fill(reflect.ValueOf(&out).Elem(), &n)
	return out
}

// seen records which fields of which messages were set on the wire.
type seen struct {
	mu     sync.Mutex
	fields map[protoreflect.FullName]bool
}

func (s *seen) message(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		s.fields[f.FullName()] = true
		switch {
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				s.message(v.List().Get(i).Message())
			}
		default:
			s.message(v.Message())
		}
		return true
	})
}

func (s *seen) any(m any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.message(m.(proto.Message).ProtoReflect())
}

func (s *seen) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	s.any(req)
	err := call(ctx, method, req, reply, cc, opts...)
	s.any(reply)
	return err
}

type seenStream struct {
	grpc.ClientStream
	s *seen
}

func (s seenStream) SendMsg(m any) error {
	s.s.any(m)
	return s.ClientStream.SendMsg(m)
}

func (s seenStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.s.any(m)
	return err
}

func (s *seen) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, cc, method, opts...)
	return seenStream{stream, s}, err
}

// unseen names the fields of the contract that no message had set.
func (s *seen) unseen() []string {
	var out []string
	messages := pb.File_certwright_plugin_v1_plugin_proto.Messages()
	for i := range messages.Len() {
		fields := messages.Get(i).Fields()
		for j := range fields.Len() {
			if name := fields.Get(j).FullName(); !s.fields[name] {
				out = append(out, string(name))
			}
		}
	}
	sort.Strings(out)
	return out
}

// everything is a plugin that does every role and ability: it keeps what it is
// given and gives what is filled.
type everything struct {
	mu  sync.Mutex
	got []any
}

func (e *everything) keep(ctx context.Context, v ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if op := sdk.OperationFrom(ctx); op.ID != "" {
		v = append(v, op)
	}
	e.got = append(e.got, v...)
}

func (e *everything) taken() []any {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer func() { e.got = nil }()
	return e.got
}

func (e *everything) tell(r sdk.Reporter) {
	r.Progress("subject", "message")
	r.Say(sdk.Stderr, "said")
	r.Result(filled[sdk.Result]())
}

func (e *everything) Perform(ctx context.Context, cs []sdk.Challenge, r sdk.Reporter) error {
	e.keep(ctx, cs)
	for _, want := range []error{nil, sdk.ErrNotInteractive, errEOF} {
		line, err := r.Ask(ctx, "question")
		e.keep(context.Background(), line, err == want) //nolint:errorlint // the very error
	}
	e.tell(r)
	return filled[*sdk.Problem]()
}

func (e *everything) Cleanup(ctx context.Context, cs []sdk.Challenge, _ sdk.Reporter) error {
	e.keep(ctx, cs)
	return nil
}

func (e *everything) Prefer(ctx context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	e.keep(ctx, ids)
	return filled[[]sdk.Preference](), nil
}

func (e *everything) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	e.keep(ctx, d)
	e.tell(r)
	return nil
}

func (e *everything) Save(ctx context.Context, s sdk.SaveRequest, _ sdk.Reporter) (sdk.Checkpoint, error) {
	e.keep(ctx, s)
	return filled[sdk.Checkpoint](), nil
}

func (e *everything) Restart(ctx context.Context, _ sdk.Reporter) error {
	e.keep(ctx, "restart")
	return nil
}

func (e *everything) ConfigTest(ctx context.Context, _ sdk.Reporter) error {
	e.keep(ctx, "config test")
	return nil
}

func (e *everything) Rollback(ctx context.Context, n int, _ sdk.Reporter) error {
	e.keep(ctx, n)
	return nil
}

func (e *everything) Enhance(ctx context.Context, name, enhancement string, _ sdk.Reporter) error {
	e.keep(ctx, name, enhancement)
	return nil
}

func (e *everything) Names(ctx context.Context) ([]sdk.Site, error) {
	e.keep(ctx, "names")
	return filled[[]sdk.Site](), nil
}

func (e *everything) Run(ctx context.Context, event sdk.HookEvent, _ sdk.Reporter) (sdk.HookResult, error) {
	e.keep(ctx, event)
	return filled[sdk.HookResult](), nil
}

func (e *everything) Configure(ctx context.Context, i sdk.Instance) error {
	e.keep(ctx, i)
	return nil
}

func (e *everything) Health(ctx context.Context, deep bool) error {
	e.keep(ctx, deep)
	return filled[*sdk.Problem]()
}

// Every field of every message of the contract is filled, travels over a real
// connection, and arrives: a field that a converter forgets shows either as a
// difference or as never set on the wire.
func TestEveryFieldTravels(t *testing.T) {
	s := &seen{fields: map[protoreflect.FullName]bool{}}
	e := &everything{}
	var settings struct {
		Text   string            `setting:"text,required" default:"x" doc:"doc" choices:"x,y"`
		Key    sdk.Secret        `setting:"key"`
		On     bool              `setting:"on"`
		Count  int               `setting:"count"`
		Wait   time.Duration     `setting:"wait"`
		List   []string          `setting:"list"`
		Labels map[string]string `setting:"labels"`
	}
	values := []sdk.Value{sdk.Literal("443"), sdk.FromSetting("text")}
	paths := []sdk.Value{sdk.Literal("/a"), sdk.FromSetting("text")}
	plugin := sdk.Plugin{
		Name: "test", Version: "1", Summary: "s", Homepage: "h", Settings: &settings,
		Authenticator: e, Installer: e, Hook: e, ChallengeTypes: []string{sdk.HTTP01, sdk.DNS01},
		ExclusiveResources: []sdk.Resource{{Kind: "tcp", Value: sdk.FromSetting("text")}, {Kind: "stdout"}},
		HookEvents:         []string{sdk.EventSuccess}, DNS: sdk.SelfDNS, Env: sdk.UserEnv, Serial: true,
		Permissions: sdk.Permissions{
			Read: paths, Write: paths, Execute: paths, ConnectTCP: values, BindTCP: values, UnixSockets: values,
			UDP: true, Children: true, Signals: true, Environment: []string{"HOME"}, Key: sdk.KeyBytes,
			Unconfined: true, UnconfinedBy: []string{"on"}, Reason: "why",
		},
	}
	c := connect(t, plugin, grpc.WithUnaryInterceptor(s.unary), grpc.WithStreamInterceptor(s.stream))
	op := filled[sdk.Operation]()
	ctx := sdk.WithOperation(t.Context(), op)
	same := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(sdk.Problem{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}

	want, err := plugin.Description()
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Describe(ctx, "host")
	same("Describe", []any{got, err}, []any{want, nil})

	// One configuration is refused, so that the problems travel too.
	problems, err := c.Configure(ctx, client.Configuration{Settings: map[string]any{"text": 1}})
	if err != nil || len(problems) != 1 || problems[0].Subject != "text" || problems[0].Retry != sdk.RetryNever {
		t.Errorf("Configure with a wrong setting: %v, %v", problems, err)
	}
	instance := filled[sdk.Instance]()
	problems, err = c.Configure(ctx, client.Configuration{
		Instance: instance, Secrets: map[string][]byte{"key": []byte("k")},
		Settings: map[string]any{"text": "y", "on": true, "count": 3, "wait": "90s", "list": []string{"a"}, "labels": map[string]string{"a": "b"}},
	})
	same("Configure", []any{problems, err, e.taken()}, []any{[]*sdk.Problem(nil), nil, []any{instance}})
	same("settings", []any{settings.Text, settings.Key == "k", settings.On, settings.Count, settings.Wait, settings.List, settings.Labels},
		[]any{"y", true, true, 3, 90 * time.Second, []string{"a"}, map[string]string{"a": "b"}})

	challenges := filled[[]sdk.Challenge]()
	for i := range challenges {
		challenges[i].Type = sdk.HTTP01
	}
	h := &heard{ask: answersInTurn()}
	err = c.Authenticator().Perform(ctx, withoutReceipts(challenges), h)
	same("Perform", e.taken(), []any{withoutReceipts(challenges), op, "line", true, "", true, "", true})
	same("the failure", err, filled[*sdk.Problem]())
	same("events", []any{h.results, h.progress, h.said, h.asked}, []any{
		[]sdk.Result{filled[sdk.Result]()}, [][2]string{{"subject", "message"}}, map[sdk.Stream]string{sdk.Stderr: "said"},
		[]string{"question", "question", "question"},
	})
	err = c.Authenticator().Cleanup(ctx, challenges, &heard{})
	same("Cleanup", []any{err, e.taken()}, []any{nil, []any{challenges, op}})
	preferences, err := c.Authenticator().Prefer(ctx, op.Identifiers)
	same("Prefer", []any{preferences, err, e.taken()}, []any{filled[[]sdk.Preference](), nil, []any{op.Identifiers}})

	i := c.Installer()
	deployment := filled[sdk.Deployment]()
	same("Deploy", []any{i.Deploy(ctx, deployment, &heard{}), e.taken()}, []any{nil, []any{deployment, op}})
	checkpoint, err := i.Save(ctx, filled[sdk.SaveRequest](), &heard{})
	same("Save", []any{checkpoint, err, e.taken()}, []any{filled[sdk.Checkpoint](), nil, []any{filled[sdk.SaveRequest](), op}})
	same("ConfigTest", []any{i.ConfigTest(ctx, &heard{}), e.taken()}, []any{nil, []any{"config test", op}})
	same("Restart", []any{i.Restart(ctx, &heard{}), e.taken()}, []any{nil, []any{"restart", op}})
	same("Rollback", []any{i.Rollback(ctx, 3, &heard{}), e.taken()}, []any{nil, []any{3, op}})
	same("Enhance", []any{i.Enhance(ctx, "n", "hsts", &heard{}), e.taken()}, []any{nil, []any{"n", "hsts", op}})
	sites, err := i.Names(ctx)
	same("Names", []any{sites, err, e.taken()}, []any{filled[[]sdk.Site](), nil, []any{"names"}})

	event := filled[sdk.HookEvent]()
	event.Event, event.Challenge.Receipt = sdk.EventSuccess, nil
	result, err := c.Hook().Run(ctx, event, &heard{})
	same("Run", []any{result, err, e.taken()}, []any{filled[sdk.HookResult](), nil, []any{event, op}})

	problems, running, err := c.Health(ctx, true)
	same("Health", []any{problems, running, err, e.taken()}, []any{[]*sdk.Problem{filled[*sdk.Problem]()}, 0, nil, []any{true}})
	if _, err := c.Drain(ctx, time.Second); err != nil {
		t.Errorf("Drain: %v", err)
	}

	same("fields that no message had", s.unseen(), []string{
		// Room for later: the host has no features yet.
		"certwright.plugin.v1.ConfigureRequest.host_features",
		"certwright.plugin.v1.DescribeRequest.host_features",
		// Nothing is running here; see TestDrainNamesWhatIsAbandoned.
		"certwright.plugin.v1.DrainResponse.abandoned_operation_ids",
		"certwright.plugin.v1.HealthResponse.in_flight",
		// Names gave sites; see TestOptionalAbilitiesThatAreMissing.
		"certwright.plugin.v1.NamesResponse.problem",
	})
}

func withoutReceipts(cs []sdk.Challenge) []sdk.Challenge {
	out := append([]sdk.Challenge(nil), cs...)
	for i := range out {
		out[i].Receipt = nil
	}
	return out
}
