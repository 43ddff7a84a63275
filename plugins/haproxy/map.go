package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/certwright/certwright/sdk"
)

// owners are the orders that want an answer: a CA may give one pending
// authorization to two of them.
type owners map[string]bool

// entries are the answers in haproxy's map.
type entries struct {
	turn gate

	mu     sync.Mutex
	owners map[string]owners
}

func (e *entries) own(owner, path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.owners == nil {
		e.owners = map[string]owners{}
	}
	if e.owners[path] == nil {
		e.owners[path] = owners{}
	}
	e.owners[path][owner] = true
}

// disown says whether nobody of this process wants the path any more.
func (e *entries) disown(owner, path string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.owners[path], owner)
	if len(e.owners[path]) > 0 {
		return false
	}
	delete(e.owners, path)
	return true
}

// put adds an entry, once, and sees that haproxy has it.
func (e *entries) put(ctx context.Context, h *haproxy, owner string, c sdk.Challenge) error {
	if err := e.turn.enter(ctx); err != nil {
		return err
	}
	defer e.turn.leave()
	e.own(owner, c.HTTP.Path)
	body := string(c.HTTP.Body)
	value, found, err := h.runtime.entry(ctx, h.settings.Map, c.HTTP.Path)
	if err == nil {
		err = h.edits.Store().Note(c.HTTP.Path)
	}
	if err == nil && found && value != body {
		err = h.runtime.deleteEntry(ctx, h.settings.Map, c.HTTP.Path)
		found = false
	}
	if err != nil || found {
		return h.explainMap(err)
	}
	if err := h.runtime.addEntry(ctx, h.settings.Map, c.HTTP.Path, body); err != nil {
		return h.explainMap(err)
	}
	value, found, err = h.runtime.entry(ctx, h.settings.Map, c.HTTP.Path)
	if err == nil && (!found || value != body) {
		err = sdk.Problemf(sdk.Unavailable, "haproxy does not find what was put into its map %s", h.settings.Map)
		err = sdk.Hint(err, "search it with map_str in haproxy.cfg, as in the lines of the plugin's page")
	}
	return h.explainMap(err)
}

// remove deletes an entry. A haproxy that does not run has none, and one that no
// process has noted was never put there, or is gone already.
func (e *entries) remove(ctx context.Context, h *haproxy, owner string, c sdk.Challenge) error {
	if err := e.turn.enter(ctx); err != nil {
		return err
	}
	defer e.turn.leave()
	if !e.disown(owner, c.HTTP.Path) || !h.edits.Store().Noted(c.HTTP.Path) {
		return nil
	}
	err := h.runtime.deleteEntry(ctx, h.settings.Map, c.HTTP.Path)
	if err != nil && !errors.Is(err, errNotRunning) && !errors.Is(err, errNoMap) {
		return h.explainMap(err)
	}
	return h.edits.Store().Forget(c.HTTP.Path)
}

// errNoMap: no line of the running configuration uses the map.
var errNoMap = errors.New("the running haproxy has no such map")

func (h *haproxy) explainMap(err error) error {
	switch {
	case errors.Is(err, errNoMap):
		err = sdk.Subject(sdk.WithCode(err, sdk.NotFound), "map")
		return sdk.Hint(err, "put the http-request line of the plugin's page, with the same name, into haproxy.cfg, and reload haproxy")
	case errors.Is(err, errLevel):
		return sdk.Hint(sdk.WithCode(err, sdk.PermissionDenied), "write \"level admin\" into the line \"stats socket\" of haproxy.cfg")
	}
	return h.explain(err)
}

// entry looks a key up.
func (r *runtime) entry(ctx context.Context, name, key string) (value string, found bool, err error) {
	answer, err := r.ask(ctx, "get map "+name+" "+key, nil)
	if err != nil {
		return "", false, err
	}
	value, found, ok := parseEntry(answer, key)
	if !ok {
		return "", false, judgeMap("look into the map "+name, answer)
	}
	return value, found, nil
}

func (r *runtime) addEntry(ctx context.Context, name, key, value string) error {
	answer, err := r.ask(ctx, "add map "+name+" "+key+" "+value, nil)
	if err == nil && answer != "" {
		err = judgeMap("add to the map "+name, answer)
	}
	return err
}

// deleteEntry deletes every entry of a key; that there is none is fine.
func (r *runtime) deleteEntry(ctx context.Context, name, key string) error {
	answer, err := r.ask(ctx, "del map "+name+" "+key, nil)
	if err == nil && answer != "" && !isNoEntry(answer) {
		err = judgeMap("delete from the map "+name, answer)
	}
	return err
}

func judgeMap(doing, answer string) error {
	if isNoMap(answer) {
		return fmt.Errorf("%s: %w", doing, errNoMap)
	}
	return judge(doing, answer)
}
