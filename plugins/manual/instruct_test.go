package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func TestInstructions(t *testing.T) {
	ip := http("2001:db8::1", "t2")
	ip.Identifier.Type = "ip"
	wild := dns("example.test", "v2")
	wild.Identifier.Wildcard = true
	for name, c := range map[string]struct {
		challenges []sdk.Challenge
		// what each text has, and what it has not ("!")
		want [][]string
	}{
		"one file":    {[]sdk.Challenge{http("a.test", "t1")}, [][]string{{"\n    http://a.test/.well-known/acme-challenge/t1\n", "\n    t1.thumb\n", "!in addition", "!dig"}}},
		"one address": {[]sdk.Challenge{ip}, [][]string{{"\n    http://[2001:db8::1]/.well-known/acme-challenge/t2\n"}}},
		"one record": {[]sdk.Challenge{dns("a.test", "v1")}, [][]string{
			{"\n    _acme-challenge.a.test.\n", "\n    v1\n", "!in addition", "dig +short TXT _acme-challenge.a.test.\n"},
		}},
		"base name and wildcard": {[]sdk.Challenge{dns("example.test", "v1"), wild}, [][]string{
			{"control of example.test,", "\n    _acme-challenge.example.test.\n", "\n    v1\n", "!in addition", "!dig"},
			{"control of *.example.test,", "\n    _acme-challenge.example.test.\n", "\n    v2\n", "in addition to the previous ones", "one TXT record for each value", "dig +short"},
		}},
		"records before a file": {[]sdk.Challenge{dns("a.test", "v1"), dns("b.test", "v2"), http("c.test", "t")}, [][]string{
			{"!in addition", "!dig"}, {"in addition", "for each value", "dig"}, {"in addition", "!for each value", "!dig"},
		}},
		"a file before records": {[]sdk.Challenge{http("c.test", "t"), dns("a.test", "v1")}, [][]string{
			{"!in addition", "!dig"}, {"in addition", "!for each value", "dig"},
		}},
		"a long value": {[]sdk.Challenge{dns("a.test", strings.Repeat("x", 256))}, [][]string{{"longer than 255 bytes"}}},
	} {
		m := configured(t, settings{}, sdk.Instance{})
		r := &recorder{answers: make([]string, len(c.challenges))}
		if err := m.Perform(t.Context(), c.challenges, r); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(r.asked) != len(c.want) || len(r.results) != len(c.challenges) {
			t.Errorf("%s: asked %q, results %v", name, r.asked, r.results)
			continue
		}
		for i, words := range c.want {
			for _, word := range words {
				word, not := strings.CutPrefix(word, "!")
				if strings.Contains(r.asked[i], word) == not {
					t.Errorf("%s: %q is wrong about %q", name, r.asked[i], word)
				}
			}
		}
	}
}

func TestTheInputEnds(t *testing.T) {
	m := configured(t, settings{}, sdk.Instance{})
	r := &recorder{answers: []string{""}}
	err := m.Perform(t.Context(), []sdk.Challenge{dns("a.test", "v1"), dns("b.test", "v2")}, r)
	p := sdk.ProblemOf(err)
	if p == nil || p.Code != sdk.Cancelled || !strings.Contains(p.Error(), "dns-01 for b.test") || p.Hint == "" || errors.Is(err, io.EOF) {
		t.Errorf("%+v", p)
	}
	if len(r.results) != 1 || r.results[0].Err != nil {
		t.Errorf("%+v", r.results)
	}
}

func TestWhatIsNeededNoMoreIsSaid(t *testing.T) {
	m := configured(t, settings{}, sdk.Instance{})
	r := clean(t, m, dns("a.test", "v1"), http("b.test", "t"))
	if len(r.progress) != 2 || !strings.Contains(r.progress[0], "_acme-challenge.a.test. with the value v1") ||
		!strings.Contains(r.progress[1], "http://b.test/.well-known/acme-challenge/t") {
		t.Errorf("%q", r.progress)
	}
}

func TestNothingOfThisCanBeDoneByHand(t *testing.T) {
	m := configured(t, settings{}, sdk.Instance{})
	err := m.Perform(t.Context(), []sdk.Challenge{{ID: "i", Type: sdk.TLSALPN01, ALPN: &sdk.ALPNChallenge{}}}, &recorder{answers: []string{""}})
	if p := sdk.ProblemOf(err); p == nil || p.Code != sdk.Unsupported || !strings.Contains(p.Hint, "auth_hook") {
		t.Errorf("%+v", p)
	}
}
