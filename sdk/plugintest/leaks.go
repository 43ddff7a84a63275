package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/certwright/certwright/sdk"
)

// shortestSecret is what can be told from an ordinary word.
const shortestSecret = 6

// leaks listens to all that plugins of the suite say, for its secrets.
type leaks struct {
	secrets map[string]string // by setting

	mu    sync.Mutex
	found []string
}

func newLeaks(secrets map[string][]byte) *leaks {
	l := &leaks{secrets: map[string]string{}}
	for name, secret := range secrets {
		if len(secret) >= shortestSecret {
			l.secrets[name] = string(secret)
		}
	}
	return l
}

func (l *leaks) hear(where, text string) {
	for name, secret := range l.secrets {
		if strings.Contains(text, secret) {
			l.mu.Lock()
			l.found = append(l.found, fmt.Sprintf("the secret %s was in %s", name, where))
			l.mu.Unlock()
		}
	}
}

func (l *leaks) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.found)
	return slices.Compact(l.found)
}

func keepsSecrets(ctx context.Context, b *bench) error {
	if len(b.leaks.secrets) == 0 {
		if slices.ContainsFunc(b.description.Settings, func(s sdk.Setting) bool { return s.Secret }) {
			return unseen(fmt.Sprintf("no secret of %d bytes or more was given to the suite", shortestSecret))
		}
		return notApplicable("the plugin has no secret setting")
	}
	p, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	broken := b.work(ctx, p)
	p.kill() // all that was written is read by now
	if found := b.leaks.all(); len(found) > 0 {
		return errors.New(strings.Join(found, "\n"))
	}
	if broken != nil {
		return worksNot
	}
	return nil
}
