package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/certwright/certwright/sdk"
)

// shortestSecret is what can be told from an ordinary word.
const shortestSecret = 8

// ears listen to all that plugins of the suite say, for its secrets.
type ears struct {
	secrets map[string]string // by setting

	mu    sync.Mutex
	found []string
}

func newEars(secrets map[string][]byte) *ears {
	l := &ears{secrets: map[string]string{}}
	for name, secret := range secrets {
		if len(secret) >= shortestSecret {
			l.secrets[name] = string(secret)
		}
	}
	return l
}

func (l *ears) hear(where, text string) {
	for name, secret := range l.secrets {
		if strings.Contains(text, secret) {
			l.mu.Lock()
			l.found = append(l.found, fmt.Sprintf("the secret %s was in %s", name, where))
			l.mu.Unlock()
		}
	}
}

func (l *ears) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.found)
	return slices.Compact(l.found)
}

// overheard is a connection whose answers are listened to, before a client masks
// what it knows to be secret.
type overheard struct {
	grpc.ClientConnInterface
	ears *ears
}

func (o overheard) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	err := o.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	o.ears.message(method, reply, err)
	return err
}

func (o overheard) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := o.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	return overheardStream{stream, method, o.ears}, err
}

type overheardStream struct {
	grpc.ClientStream
	method string
	ears   *ears
}

func (o overheardStream) RecvMsg(m any) error {
	err := o.ClientStream.RecvMsg(m)
	o.ears.message(o.method, m, err)
	return err
}

// message hears an answer as it came: text stands in it as it is.
func (l *ears) message(method string, m any, err error) {
	where := "an answer of " + method[strings.LastIndex(method, "/")+1:]
	if err != nil {
		l.hear(where, err.Error())
		return
	}
	if message, ok := m.(proto.Message); ok {
		if text, err := proto.Marshal(message); err == nil {
			l.hear(where, string(text))
		}
	}
}

func keepsSecrets(ctx context.Context, b *bench) error {
	if len(b.ears.secrets) == 0 {
		if slices.ContainsFunc(b.description.Settings, func(s sdk.Setting) bool { return s.Secret }) {
			return unseen(fmt.Sprintf("no secret of %d bytes or more was given to the suite", shortestSecret))
		}
		return notApplicable("the plugin has no secret setting")
	}
	p, err := b.fresh(ctx)
	if found := b.ears.all(); err != nil && len(found) > 0 { // in a check before this one
		return errors.New(strings.Join(found, "\n"))
	}
	if err != nil {
		return err
	}
	broken := b.work(ctx, p)
	p.kill() // all that was written is read by now
	if found := b.ears.all(); len(found) > 0 {
		return errors.New(strings.Join(found, "\n"))
	}
	if broken != nil {
		return worksNot
	}
	return nil
}
