package pluginhost

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// minSecret is the shortest text that is masked: a shorter one would turn up
// in innocent words.
const minSecret = 4

// masked stands where a secret was.
const masked = "[secret]"

// masker takes the secrets of all instances out of text.
type masker struct {
	also func(string) string

	mu       sync.RWMutex
	secrets  []string
	replacer *strings.Replacer
}

func newMasker(also func(string) string) *masker {
	if also == nil {
		also = func(s string) string { return s }
	}
	return &masker{also: also, replacer: strings.NewReplacer()}
}

// add makes secrets known: whole, line by line, because logs come in lines, and
// as JSON would write them.
func (m *masker) add(secrets map[string][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, secret := range secrets {
		for _, form := range append(strings.Split(string(secret), "\n"), string(secret)) {
			m.addForm(strings.TrimSpace(form))
			if quoted, err := json.Marshal(form); err == nil {
				m.addForm(strings.TrimSpace(string(quoted[1 : len(quoted)-1])))
			}
		}
	}
	// A replacer prefers the earlier of two that match at one place.
	slices.SortFunc(m.secrets, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range m.secrets {
		pairs = append(pairs, s, masked)
	}
	m.replacer = strings.NewReplacer(pairs...)
}

func (m *masker) addForm(s string) {
	if len(s) >= minSecret && !slices.Contains(m.secrets, s) {
		m.secrets = append(m.secrets, s)
	}
}

// mask gives the text without secrets.
func (m *masker) mask(s string) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.also(m.replacer.Replace(s))
}
