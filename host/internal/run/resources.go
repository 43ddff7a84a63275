package run

import (
	"context"
	"slices"
	"sync"

	"github.com/certwright/certwright/host/internal/store"
)

// resources are the exclusive resources that this process holds. Orders that
// use one instance share what it holds; everyone else waits.
type resources struct {
	store *store.Store

	mu   sync.Mutex
	held map[string]*holding
}

// holding is one resource in the hands of one instance.
type holding struct {
	instance string
	users    int
	taken    chan struct{} // closed when it is taken, or not to be had
	unlock   func()
	err      error
}

// Hold takes resources in sorted order, so that two orders never wait for each
// other.
func (r *resources) Hold(ctx context.Context, instance string, keys []string) (func(), error) {
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	var held []func()
	release := func() {
		for _, f := range slices.Backward(held) {
			f()
		}
	}
	for _, key := range keys {
		let, err := r.hold(ctx, instance, key)
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, let)
	}
	return release, nil
}

func (r *resources) hold(ctx context.Context, instance, key string) (func(), error) {
	name := instance + " " + key
	r.mu.Lock()
	h := r.held[name]
	if h == nil {
		h = &holding{instance: instance, taken: make(chan struct{})}
		if r.held == nil {
			r.held = map[string]*holding{}
		}
		r.held[name] = h
		h.users++
		r.mu.Unlock()
		h.unlock, h.err = r.store.Lock(ctx, "resource-"+key, true)
		close(h.taken)
	} else {
		h.users++
		r.mu.Unlock()
		<-h.taken
	}
	if h.err != nil {
		r.leave(name, h)
		return nil, h.err
	}
	return func() { r.leave(name, h) }, nil
}

func (r *resources) leave(name string, h *holding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.users--; h.users > 0 {
		return
	}
	if r.held[name] == h {
		delete(r.held, name)
	}
	if h.unlock != nil {
		h.unlock()
		h.unlock = nil
	}
}

func (e *Engine) held() *resources {
	e.resources.mu.Lock()
	defer e.resources.mu.Unlock()
	e.resources.store = e.Store
	return &e.resources
}
