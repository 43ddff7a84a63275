package host

import (
	"strings"
	"testing"
)

func TestReasons(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "unspecified": 0, "keycompromise": 1, "keyCompromise": 1, "cacompromise": 2, "affiliationchanged": 3,
		"superseded": 4, "cessationofoperation": 5, "certificatehold": 6, "removefromcrl": 8, "privilegewithdrawn": 9,
		"aacompromise": 10, "0": 0, "1": 1, "10": 10,
	} {
		if got, err := parseReason(text); got != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"7", "-1", "11", "lost", " superseded"} {
		if _, err := parseReason(text); err == nil || !strings.Contains(err.Error(), "is not one of unspecified, keycompromise") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
