package main

import (
	"maps"
	"sync"
)

// wants are the answers that orders of this process want. A CA may give one
// pending authorization to two orders.
type wants struct {
	mu     sync.Mutex
	bodies map[string]string
	owners map[string]map[string]bool
	// gone are tokens that nobody of this process wants any more, by whomever
	// they were put in place.
	gone map[string]bool
}

func (w *wants) add(owner, token, body string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bodies == nil {
		w.bodies, w.owners, w.gone = map[string]string{}, map[string]map[string]bool{}, map[string]bool{}
	}
	if w.owners[token] == nil {
		w.owners[token] = map[string]bool{}
	}
	w.owners[token][owner] = true
	w.bodies[token] = body
	delete(w.gone, token)
}

func (w *wants) remove(owner, token string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.owners[token], owner)
	if len(w.owners[token]) > 0 {
		return
	}
	delete(w.owners, token)
	delete(w.bodies, token)
	if w.gone == nil {
		w.gone = map[string]bool{}
	}
	w.gone[token] = true
}

// of gives what is to be answered where this is answered now: what others have
// put in place stays.
func (w *wants) of(now answers) answers {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := answers{}
	for token, body := range now {
		if !w.gone[token] {
			out[token] = body
		}
	}
	maps.Copy(out, w.bodies)
	return out
}
