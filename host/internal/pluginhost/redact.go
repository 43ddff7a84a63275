package pluginhost

import (
	"regexp"
	"strings"

	"github.com/certwright/certwright/host/internal/redact"
)

// masker takes the secrets of all instances out of text.
type masker struct {
	secrets redact.Secrets
	also    func(string) string
}

func newMasker(also func(string) string) *masker {
	if also == nil {
		also = func(s string) string { return s }
	}
	return &masker{also: also}
}

// add makes secrets known.
func (m *masker) add(secrets map[string][]byte) {
	for _, secret := range secrets {
		m.secrets.Add(secret)
	}
}

// mask gives the text without secrets.
func (m *masker) mask(s string) string { return m.also(m.secrets.Redact(s)) }

// maskCut is mask for a text that is cut off at its end, maybe in a secret.
func (m *masker) maskCut(s string) string { return m.also(m.secrets.RedactCut(s)) }

// keyLines follows lines of which some are a private key in PEM: each of them
// alone shows nothing of what it is.
type keyLines struct{ within bool }

const (
	keyBegins = "PRIVATE KEY-----"
	keyEnds   = "-----END "
)

// keyBody is what stands between the first and the last line (RFC 7468, and the
// headers of RFC 1421, which old programs write).
var keyBody = regexp.MustCompile(`^(\s*[A-Za-z0-9+/=]*\s*|(Proc-Type|DEK-Info): .*)$`)

// hide says that the line is part of a key and must not be shown. The first
// line is shown: redact knows it.
func (k *keyLines) hide(line string) bool {
	if k.within {
		if strings.HasPrefix(strings.TrimSpace(line), keyEnds) {
			k.within = false
			return true
		}
		if keyBody.MatchString(line) {
			return true
		}
	}
	k.within = strings.Contains(line, keyBegins) && !strings.Contains(line, keyEnds)
	return false
}
