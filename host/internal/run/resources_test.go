package run

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/host/internal/store"
)

func TestMain(m *testing.M) {
	asHost() // does not return in a child
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"),
		goleak.Cleanup(func(code int) {
			if prefix != "" {
				_ = os.RemoveAll(prefix)
			}
			os.Exit(code)
		}))
}

func testStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// alreadyOver is a context that is done: what would wait fails at once.
func alreadyOver(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func mustHold(t *testing.T, r *resources, instance string, keys ...string) func() {
	t.Helper()
	release, err := r.Hold(limited(t), instance, keys)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

// mustNotHold: it MUST not get what another one holds.
func mustNotHold(t *testing.T, r *resources, instance string, keys ...string) {
	t.Helper()
	release, err := r.Hold(alreadyOver(t), instance, keys)
	var held *store.HeldError
	if err == nil {
		release()
		t.Fatalf("%s holds %q, which another one holds", instance, keys)
	}
	if !errors.As(err, &held) || !errors.Is(err, context.Canceled) {
		t.Errorf("%s: %v", instance, err)
	}
}

func TestOneInstanceShares(t *testing.T) {
	dir := t.TempDir()
	here, there := &resources{store: testStore(t, dir)}, &resources{store: testStore(t, dir)}
	first := mustHold(t, here, "web", "tcp/80")
	second := mustHold(t, here, "web", "tcp/80", "tcp/80", "tcp/443")
	mustNotHold(t, there, "web", "tcp/80") // another process, the same instance
	first()
	mustNotHold(t, there, "web", "tcp/80")
	mustNotHold(t, there, "web", "tcp/443")
	second()
	mustHold(t, there, "web", "tcp/80", "tcp/443")()
	if len(here.held)+len(there.held) > 0 {
		t.Errorf("still known: %v %v", here.held, there.held)
	}
}

func TestInstancesExclude(t *testing.T) {
	r := &resources{store: testStore(t, t.TempDir())}
	release := mustHold(t, r, "one", "tcp/80")
	mustNotHold(t, r, "two", "tcp/80")
	mustHold(t, r, "two", "tcp/81")()
	mustHold(t, r, "two")()
	release()
	mustHold(t, r, "two", "tcp/80")()
}

// Who cannot have all has none.
func TestAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	here, there := &resources{store: testStore(t, dir)}, &resources{store: testStore(t, dir)}
	release := mustHold(t, there, "x", "b")
	mustNotHold(t, here, "web", "c", "b", "a")
	mustHold(t, there, "y", "a", "c")()
	release()
	if len(here.held) > 0 {
		t.Errorf("still known: %v", here.held)
	}
}

// Whatever the order of their keys, nobody waits for one who waits for him.
func TestNoDeadlock(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for name, keys := range map[string][]string{"one": {"a", "b", "c"}, "two": {"c", "b", "a"}, "three": {"b", "a"}} {
		r := &resources{store: testStore(t, dir)}
		for range 2 {
			wg.Go(func() {
				for range 3 {
					release, err := r.Hold(limited(t), name, keys)
					if err != nil {
						t.Error(err)
						return
					}
					release()
				}
			})
		}
	}
	wg.Wait()
}

// untilUsers waits until n orders of an instance want a resource.
func untilUsers(t *testing.T, r *resources, name string, n int) {
	t.Helper()
	ctx, tick := limited(t), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		r.mu.Lock()
		got := 0
		if h := r.held[name]; h != nil {
			got = h.users
		}
		r.mu.Unlock()
		if got == n {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d orders want %s, not %d", got, name, n)
		}
	}
}

// waiting is a Hold in the background.
type waiting struct {
	release func()
	err     error
	over    chan struct{}
}

func wait(ctx context.Context, r *resources) *waiting {
	w := &waiting{over: make(chan struct{})}
	go func() {
		defer close(w.over)
		w.release, w.err = r.Hold(ctx, "web", []string{"tcp/80"})
	}()
	return w
}

func TestGivingUp(t *testing.T) {
	gone := errors.New("given up")
	for name, firstLeaves := range map[string]bool{"the first to wait": true, "one who waits with it": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			here, there := &resources{store: testStore(t, dir)}, &resources{store: testStore(t, dir)}
			release := mustHold(t, there, "other", "tcp/80")
			leaves, leave := context.WithCancelCause(limited(t))
			contexts := []context.Context{leaves, limited(t)}
			if !firstLeaves {
				contexts[0], contexts[1] = contexts[1], contexts[0]
			}
			both := make([]*waiting, 2)
			for i, ctx := range contexts {
				both[i] = wait(ctx, here)
				untilUsers(t, here, "web tcp/80", i+1)
			}
			left, stays := both[0], both[1]
			if !firstLeaves {
				left, stays = stays, left
			}
			leave(gone)
			<-left.over
			if !errors.Is(left.err, gone) {
				t.Errorf("who gave up got %v", left.err)
			}
			release()
			<-stays.over
			if stays.err != nil {
				t.Fatalf("who did not give up got %v", stays.err)
			}
			mustNotHold(t, there, "other", "tcp/80")
			stays.release()
			mustHold(t, there, "other", "tcp/80")()
		})
	}
}
