package run

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
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
	for {
		h, first := r.join(name, instance)
		if first {
			r.take(ctx, name, key, h)
		} else {
			select {
			case <-h.taken:
			case <-ctx.Done():
				r.leave(name, h)
				return nil, context.Cause(ctx)
			}
		}
		if h.err == nil {
			return func() { r.leave(name, h) }, nil
		}
		r.leave(name, h)
		if first {
			return nil, h.err
		}
		// The order that waited for all of us has given up; this one has not.
	}
}

// join adds a user to what the instance holds; the first one has to take it.
func (r *resources) join(name, instance string) (h *holding, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h = r.held[name]; h == nil {
		h, first = &holding{instance: instance, taken: make(chan struct{})}, true
		if r.held == nil {
			r.held = map[string]*holding{}
		}
		r.held[name] = h
	}
	h.users++
	return h, first
}

func (r *resources) take(ctx context.Context, name, key string, h *holding) {
	h.unlock, h.err = r.store.Lock(ctx, store.ResourceLock(key), true)
	if h.err != nil {
		r.mu.Lock()
		delete(r.held, name)
		r.mu.Unlock()
	}
	close(h.taken)
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

// guarded is what an instance of a lineage claims against everybody who would
// edit the same: the configuration of its server, or all that it has.
func (t *team) guarded(lineage, instance string) []string {
	m := t.byLineage[lineage][instance]
	if m == nil {
		return nil
	}
	return guarded(m.description, m.config)
}

func guarded(d sdk.Description, i model.Instance) []string {
	return slices.DeleteFunc(pluginhost.ResourceKeys(d, i.Name, i.Settings), func(key string) bool {
		kind, _, _ := strings.Cut(key, "/")
		return kind != "server" && kind != sdk.InstanceResource
	})
}

func (e *Engine) held() *resources {
	e.resources.mu.Lock()
	defer e.resources.mu.Unlock()
	e.resources.store = e.Store
	return &e.resources
}
