package order

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

func offer(types string) []model.ACMEChallenge {
	var out []model.ACMEChallenge
	for _, t := range strings.Fields(types) {
		out = append(out, model.ACMEChallenge{Type: t})
	}
	return out
}

func TestChallengePath(t *testing.T) {
	for name, tt := range map[string]struct {
		offered      string
		preferences  string
		combinations [][]int
		want         []int // nil: errNoPath
	}{
		"the most preferred":                      {"a b c", "c b a", [][]int{{0}, {1}, {2}}, []int{2}},
		"whatever the CA's order":                 {"c a b", "c b a", [][]int{{0}, {1}, {2}}, []int{0}},
		"the second, as the first is not offered": {"a b", "c b a", [][]int{{0}, {1}}, []int{1}},
		"only one supported":                      {"x a y", "a", [][]int{{0}, {1}, {2}}, []int{1}},
		"none supported":                          {"x y", "a b", [][]int{{0}, {1}}, nil},
		"none offered":                            {"", "a", [][]int{}, nil},
		"no preferences":                          {"a", "", [][]int{{0}}, nil},
		"a tie takes the first":                   {"a b a", "a b", [][]int{{2}, {0}}, []int{2}},
		"cheaper together":                        {"a b c", "a b c", [][]int{{2}, {0, 1}}, []int{0, 1}},
		"a tie of sums":                           {"a b c d", "a b c d", [][]int{{0, 3}, {1, 2}}, []int{0, 3}},
		"one of several":                          {"a b c", "a b c", [][]int{{1, 2}, {0, 2}, {0, 1}}, []int{0, 1}},
		"all together":                            {"a b c", "c b a", [][]int{{0, 1, 2}}, []int{0, 1, 2}},
		"an unsupported one spoils it":            {"a x b", "a b", [][]int{{0, 1}, {2}}, []int{2}},
		"every combination is spoilt":             {"a x b", "a b", [][]int{{0, 1}, {1, 2}}, nil},
		"an index that is not there":              {"a b", "a b", [][]int{{0, 7}, {-1}, {1}}, []int{1}},
		"no combinations: all of them":            {"b a", "a b", nil, []int{0, 1}},
		"no combinations, one is wrong":           {"b x", "a b", nil, nil},
		"no combinations, none offered":           {"", "a b", nil, nil},
	} {
		got, err := challengePath(offer(tt.offered), strings.Fields(tt.preferences), tt.combinations)
		if (tt.want == nil) != errors.Is(err, errNoPath) || !cmp.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, tt.want)
		}
	}
}

// The cost of a combination is never so high that one without the unsupported
// looks as bad as one with it, whatever the number of preferences.
func TestLongCombinations(t *testing.T) {
	for n := 1; n <= 12; n++ {
		var types []string
		var all, spoilt []int
		for i := range n {
			types = append(types, string(rune('a'+i)))
			all = append(all, i)
		}
		spoilt = append(append(spoilt, all[1:]...), n)
		offered := offer(strings.Join(types, " ") + " x")
		got, err := challengePath(offered, types, [][]int{spoilt, all})
		if err != nil || !cmp.Equal(got, all) {
			t.Errorf("%d preferences: %v, %v", n, got, err)
		}
	}
}

func TestSingletons(t *testing.T) {
	if diff := cmp.Diff([][]int{{0}, {1}}, singletons(model.Authorization{Challenges: offer("a b")})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	given := [][]int{{0, 1}}
	if diff := cmp.Diff(given, singletons(model.Authorization{Challenges: offer("a b"), Combinations: given})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPreferences(t *testing.T) {
	d := sdk.Description{ChallengeTypes: []sdk.ChallengeType{
		{Type: sdk.HTTP01, IdentifierTypes: []string{"dns", "ip"}},
		{Type: sdk.DNS01}, // of an old plugin: names only
		{Type: sdk.TLSALPN01, IdentifierTypes: []string{"dns"}},
	}}
	name := model.Identifier{Type: "dns", Value: "a.test"}
	wildcard := model.Identifier{Type: "dns", Value: "a.test", Wildcard: true}
	ip := model.Identifier{Type: "ip", Value: "127.0.0.1"}
	for what, tt := range map[string]struct {
		user   string
		id     model.Identifier
		plugin string
		no     error
		want   string
		err    string
	}{
		"the plugin's own order":          {id: name, want: "http-01 dns-01 tls-alpn-01"},
		"what it prefers":                 {id: name, plugin: "tls-alpn-01 http-01", want: "tls-alpn-01 http-01"},
		"what it prefers but cannot":      {id: name, plugin: "dns-account-01 dns-01", want: "dns-01"},
		"the user's order":                {id: name, user: "dns-01 http-01", want: "dns-01 http-01"},
		"the user's, within the plugin's": {id: name, user: "dns-01 http-01", plugin: "http-01", want: "http-01"},
		"not what the user wants":         {id: name, user: "dns-account-01", err: "none of the preferred challenges (dns-account-01) is supported"},
		"not for this name":               {id: name, user: "dns-01", plugin: "http-01", err: "none of the preferred challenges (dns-01) is supported"},
		"a wildcard":                      {id: wildcard, want: "dns-01"},
		"a wildcard by http":              {id: wildcard, user: "http-01", err: "none of the preferred challenges"},
		"an address":                      {id: ip, want: "http-01"},
		"the plugin says no":              {id: name, no: errors.New("not my zone"), err: "not my zone"},
	} {
		got, err := preferences(strings.Fields(tt.user), d, sdk.Preference{Identifier: tt.id, ChallengeTypes: strings.Fields(tt.plugin), Err: tt.no})
		if strings.Join(got, " ") != tt.want || tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %q, %v; want %q, %s", what, got, err, tt.want, tt.err)
		}
	}
	http := sdk.Description{ChallengeTypes: d.ChallengeTypes[:1]}
	if _, err := preferences(nil, http, sdk.Preference{Identifier: wildcard}); err == nil || err.Error() != "it has no DNS challenge, which a wildcard needs" {
		t.Error(err)
	}
	dns := sdk.Description{ChallengeTypes: d.ChallengeTypes[1:2]}
	if _, err := preferences(nil, dns, sdk.Preference{Identifier: ip}); err == nil || err.Error() != "it has no challenge for identifiers of type ip" {
		t.Error(err)
	}
}

func TestServerName(t *testing.T) {
	for in, want := range map[string]string{
		"a.test": "a.test", "192.0.2.10": "10.2.0.192.in-addr.arpa",
		"2001:db8::1": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := serverName(model.Identifier{Value: in}); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
