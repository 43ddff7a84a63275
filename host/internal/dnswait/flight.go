package dnswait

import (
	"context"
	"errors"
	"sync"
)

// flight keeps what was found by key. Several that look for the same at once
// share one search. Failures are not kept.
type flight[V any] struct {
	mu    sync.Mutex
	calls map[string]*call[V]
}

type call[V any] struct {
	done  chan struct{}
	value V
	err   error
}

var errAbandoned = errors.New("the search was given up")

// do gives what find found. A search that ended with its searcher's context is
// taken over by one of those who waited for it.
func (f *flight[V]) do(ctx context.Context, key string, find func(context.Context) (V, error)) (V, error) {
	for {
		c, mine := f.join(key)
		if mine {
			f.lead(ctx, key, c, find)
			if errors.Is(c.err, errAbandoned) {
				return c.value, context.Cause(ctx)
			}
			return c.value, c.err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			var none V
			return none, context.Cause(ctx)
		}
		if !errors.Is(c.err, errAbandoned) {
			return c.value, c.err
		}
	}
}

func (f *flight[V]) join(key string) (c *call[V], mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.calls[key]; c != nil {
		return c, false
	}
	if f.calls == nil {
		f.calls = map[string]*call[V]{}
	}
	c = &call[V]{done: make(chan struct{}), err: errAbandoned}
	f.calls[key] = c
	return c, true
}

func (f *flight[V]) lead(ctx context.Context, key string, c *call[V], find func(context.Context) (V, error)) {
	defer func() {
		if c.err != nil {
			f.mu.Lock()
			delete(f.calls, key)
			f.mu.Unlock()
		}
		close(c.done)
	}()
	value, err := find(ctx)
	if err != nil && ctx.Err() != nil {
		return // still errAbandoned
	}
	c.value, c.err = value, err
}

// keep notes what was found in another way.
func (f *flight[V]) keep(key string, value V) {
	if c, mine := f.join(key); mine {
		c.value, c.err = value, nil
		close(c.done)
	}
}
