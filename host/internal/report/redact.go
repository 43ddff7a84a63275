package report

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

// Secrets masks what must not be shown. The zero value masks nothing.
type Secrets struct {
	mu    sync.RWMutex
	known []string
}

// Add makes a secret known. One of fewer than four characters would mask half
// of every text and is not.
func (s *Secrets) Add(secret []byte) {
	text := string(bytes.TrimSpace(secret))
	if len(text) < 4 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.known, text) {
		s.known = append(s.known, text)
		// The longest first: one secret may hold another.
		slices.SortFunc(s.known, func(a, b string) int { return len(b) - len(a) })
	}
}

// Redact replaces every known secret.
func (s *Secrets) Redact(text string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range s.known {
		text = strings.ReplaceAll(text, k, "[secret]")
	}
	return text
}
