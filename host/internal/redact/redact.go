// Package redact takes secrets out of text.
//
// A secret is found as it is and as programs commonly write one: each of its
// lines, escaped for JSON, Go or a URL, in base64 (also in the middle of
// something longer, as the user and password of HTTP's basic authentication
// are) and in hexadecimal digits. Blocks of PEM that hold a private key are
// always taken out. A program that wants to give its secret away can turn it
// into something else that nobody recognises; what this guards against is the
// careless one.
package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// Mark stands where a secret was.
	Mark = "[secret]"
	// KeyMark stands where a private key was.
	KeyMark = "[private key]"

	// minSecret is the shortest text that is masked: a shorter one would turn
	// up in innocent words. minEncoded is the same for encodings, of which
	// short pieces turn up by chance.
	minSecret  = 4
	minEncoded = 8
)

// Secrets masks what must not be shown. The zero value masks private keys only.
// It may be used from several goroutines.
type Secrets struct {
	mu    sync.RWMutex
	forms map[string]bool
	// sorted are the forms, the longest first; replacer is made of them when it
	// is needed, nil until then.
	sorted   []string
	replacer *strings.Replacer
}

// Add makes a secret known. One of fewer than four characters would mask half
// of every text and is not.
func (s *Secrets) Add(secret []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forms == nil {
		s.forms = map[string]bool{}
	}
	for _, form := range Forms(secret) {
		if !s.forms[form] {
			s.forms[form], s.replacer = true, nil
		}
	}
}

// Redact replaces every known secret and every private key.
func (s *Secrets) Redact(text string) string {
	replacer, _ := s.current()
	if replacer != nil {
		text = replacer.Replace(text)
	}
	return keys(text)
}

// RedactCut is Redact for a text whose end was cut off: a secret that the cut
// went through is replaced, too.
func (s *Secrets) RedactCut(text string) string {
	text = s.Redact(text)
	_, sorted := s.current()
	longest := 0
	for _, form := range sorted {
		for n := min(len(form)-1, len(text)); n >= minSecret && n > longest; n-- {
			if strings.HasSuffix(text, form[:n]) {
				longest = n
			}
		}
	}
	if longest == 0 {
		return text
	}
	return text[:len(text)-longest] + Mark
}

func (s *Secrets) current() (*strings.Replacer, []string) {
	s.mu.RLock()
	replacer, sorted, some := s.replacer, s.sorted, len(s.forms) > 0
	s.mu.RUnlock()
	if replacer != nil || !some {
		return replacer, sorted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sorted = s.sorted[:0:0]
	for form := range s.forms {
		s.sorted = append(s.sorted, form)
	}
	// A replacer prefers the earlier of two that match at one place, and one
	// secret may hold another.
	slices.SortFunc(s.sorted, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	var pairs []string
	for _, form := range s.sorted {
		pairs = append(pairs, form, Mark)
	}
	s.replacer = strings.NewReplacer(pairs...)
	return s.replacer, s.sorted
}

// Forms are the texts in which a secret is looked for.
func Forms(secret []byte) []string {
	whole := bytes.TrimSpace(secret)
	var out []string
	add := func(form string, least int) {
		if len(form) >= least && !slices.Contains(out, form) {
			out = append(out, form)
		}
	}
	texts := [][]byte{secret, whole}
	for line := range bytes.SplitSeq(whole, []byte("\n")) {
		texts = append(texts, bytes.TrimSpace(line))
	}
	for _, text := range texts {
		add(string(text), minSecret)
		for _, form := range escaped(string(text)) {
			add(form, minSecret)
		}
	}
	for _, data := range texts[:2] {
		for _, form := range encoded(data) {
			add(form, minEncoded)
		}
	}
	return out
}

// escaped is how a text stands in JSON, with and without the escaping for HTML,
// in Go's %q, and in URLs.
func escaped(text string) []string {
	out := []string{url.QueryEscape(text), url.PathEscape(text), inside(strconv.Quote(text))}
	for _, html := range []bool{true, false} {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(html)
		if enc.Encode(text) == nil {
			out = append(out, inside(strings.TrimSuffix(b.String(), "\n")))
		}
	}
	return out
}

func inside(quoted string) string {
	return strings.TrimSuffix(strings.TrimPrefix(quoted, `"`), `"`)
}

// encoded are hexadecimal digits, and base64 as it comes at each of the three
// places in a longer text: what also depends on the neighbours is left out.
func encoded(data []byte) []string {
	digits := hex.EncodeToString(data)
	out := []string{digits, strings.ToUpper(digits)}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			text := encoding.EncodeToString(append(make([]byte, before), data...))
			// One byte before leaves its mark in two characters, two in three;
			// what comes after in the last, unless nothing does.
			from, end := []int{0, 2, 3}[before], (before+len(data))%3
			if len(text)-from < 2 {
				continue
			}
			out = append(out, text[from:])
			if end != 0 {
				out = append(out, text[from:]+"=="[end-1:], text[from:len(text)-1])
			}
		}
	}
	return out
}

// privateKey is a block of PEM, also one whose line ends are escaped, and one
// whose end is missing.
var privateKey = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`)

func keys(text string) string {
	if !strings.Contains(text, "PRIVATE KEY-----") {
		return text
	}
	return privateKey.ReplaceAllString(text, KeyMark)
}
