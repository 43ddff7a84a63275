package model

import (
	"fmt"
	"strings"
	"time"
)

// ParseInstant reads RFC 3339, or +DURATION from now; empty gives the zero time.
func ParseInstant(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if after, relative := strings.CutPrefix(text, "+"); relative {
		d, err := time.ParseDuration(after)
		if err != nil {
			return time.Time{}, fmt.Errorf("%q is not +DURATION such as +720h", text)
		}
		return now.Add(d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time such as 2027-01-31T12:00:00Z nor +DURATION such as +720h", text)
	}
	return t, nil
}
