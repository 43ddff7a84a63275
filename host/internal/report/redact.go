package report

import (
	"bytes"
	"encoding/json"
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
	for _, form := range []string{text, inJSON(text)} {
		if !slices.Contains(s.known, form) {
			s.known = append(s.known, form)
		}
	}
	// The longest first: one secret may hold another.
	slices.SortFunc(s.known, func(a, b string) int { return len(b) - len(a) })
}

// inJSON is how a text stands in our results: quotes and newlines are escaped.
func inJSON(text string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		return text
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
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
