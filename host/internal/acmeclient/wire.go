package acmeclient

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

// wireIdentifier is an identifier as ACME writes it; a wildcard is part of the
// value in orders.
type wireIdentifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

func (w *wireIdentifier) model() model.Identifier {
	value, wildcard := strings.CutPrefix(w.Value, "*.")
	return model.Identifier{Type: w.Type, Value: strings.ToLower(value), Wildcard: wildcard}
}

// lenientTime is zero when the CA writes something else than RFC 3339: no time
// that a CA sends is worth failing for.
type lenientTime struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *lenientTime) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		t.Time, _ = time.Parse(time.RFC3339, s)
	}
	return nil
}
