package acmeclient

import "sync"

// maxNonces is more than a run has requests under way at once.
const maxNonces = 64

// nonces are those that the CA's answers brought (RFC 8555 section 6.5), and the
// only ones kept: the newest is used first, since a CA forgets the old ones.
type nonces struct {
	mu    sync.Mutex
	next  int
	stack []nonce
}

// nonce knows its place in the order of arrival.
type nonce struct {
	value string
	at    int
}

func (n *nonces) put(value string) {
	if value == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.stack) == maxNonces {
		n.stack = append(n.stack[:0], n.stack[1:]...)
	}
	n.next++
	n.stack = append(n.stack, nonce{value, n.next})
}

func (n *nonces) take() (nonce, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.stack) == 0 {
		return nonce{}, false
	}
	last := n.stack[len(n.stack)-1]
	n.stack = n.stack[:len(n.stack)-1]
	return last, true
}

// refused drops what is older than a nonce that the CA did not take.
func (n *nonces) refused(bad nonce) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.stack) > 0 && n.stack[0].at < bad.at {
		n.stack = n.stack[1:]
	}
}
