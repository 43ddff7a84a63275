package model

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func dns(name string) Identifier { return Identifier{Type: "dns", Value: name} }

func TestRuleMatches(t *testing.T) {
	wildcard := Identifier{Type: "dns", Value: "a.example", Wildcard: true}
	ip := Identifier{Type: "ip", Value: "192.0.2.1"}
	for _, tt := range []struct {
		match string
		yes   []Identifier
		no    []Identifier
	}{
		{"", []Identifier{dns("a.example"), wildcard, ip}, nil},
		{"a.example", []Identifier{dns("a.example")}, []Identifier{wildcard, dns("b.a.example"), ip}},
		{"*.a.example", []Identifier{wildcard}, []Identifier{dns("a.example"), dns("b.a.example"), ip}},
		{".a.example", []Identifier{dns("a.example"), wildcard, dns("c.b.a.example")}, []Identifier{dns("ba.example"), dns("example"), ip}},
		{"type:ip", []Identifier{ip}, []Identifier{dns("a.example"), wildcard}},
		{"type:dns", []Identifier{dns("a.example"), wildcard}, []Identifier{ip}},
		{"192.0.2.1", []Identifier{ip}, []Identifier{dns("a.example")}},
	} {
		for _, id := range tt.yes {
			if !(Rule{Match: tt.match}).Matches(id) {
				t.Errorf("%q does not match %s", tt.match, id)
			}
		}
		for _, id := range tt.no {
			if (Rule{Match: tt.match}).Matches(id) {
				t.Errorf("%q matches %s", tt.match, id)
			}
		}
	}
}

func TestRequestWays(t *testing.T) {
	r := Request{
		Authenticate: []Rule{
			{Match: "a.example", With: []string{"one"}}, {Match: "all.example", WithAll: []string{"two", "three"}},
			{Match: ".example", With: []string{"two", "one"}},
		},
		Deploy: []string{"files", "two"}, Hooks: []string{"notify"},
	}
	for name, want := range map[string][][]string{
		"a.example": {{"one"}}, "all.example": {{"two", "three"}}, "b.example": {{"two"}, {"one"}}, "other.test": nil,
	} {
		if got := r.Ways(dns(name)); !cmp.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff([]string{"files", "notify", "one", "three", "two"}, r.Uses()); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
}

func TestSameNames(t *testing.T) {
	a, b, w := dns("a.example"), dns("b.example"), Identifier{Type: "dns", Value: "a.example", Wildcard: true}
	for _, tt := range []struct {
		x, y []Identifier
		want bool
	}{
		{nil, nil, true},
		{[]Identifier{a, b}, []Identifier{b, a}, true},
		{[]Identifier{a, b, a}, []Identifier{b, a}, true},
		{[]Identifier{a}, []Identifier{w}, false},
		{[]Identifier{a}, []Identifier{a, b}, false},
		{[]Identifier{a}, nil, false},
	} {
		if got := SameNames(tt.x, tt.y); got != tt.want {
			t.Errorf("%v and %v: %v", tt.x, tt.y, got)
		}
	}
}

func TestParts(t *testing.T) {
	failed := errors.New("no")
	v := &Version{Number: 2}
	good, bad, old := Target{Deployed: 2}, Target{Deployed: 1, Error: "no"}, Target{Deployed: 1}
	for name, tt := range map[string]struct {
		o    Outcome
		want Parts
	}{
		"well":                       {Outcome{Issued: true, Version: v, Targets: map[string]Target{"a": good}}, Parts{1, 0}},
		"not issued":                 {Outcome{Err: failed}, Parts{1, 1}},
		"not renewed, still served":  {Outcome{Err: failed, Version: v, Targets: map[string]Target{"a": good, "b": old}}, Parts{1, 1}},
		"issued, not deployed":       {Outcome{Err: failed, Issued: true, Version: v, Tried: []string{"a"}, Targets: map[string]Target{"a": bad}}, Parts{2, 1}},
		"deployed to one of two":     {Outcome{Err: failed, Version: v, Tried: []string{"a", "b"}, Targets: map[string]Target{"a": bad, "b": good}}, Parts{2, 1}},
		"issued, one of three fails": {Outcome{Err: failed, Issued: true, Version: v, Tried: []string{"a", "b", "c"}, Targets: map[string]Target{"a": bad, "b": good, "c": good}}, Parts{4, 1}},
	} {
		if got := tt.o.Parts(); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

func TestACMEError(t *testing.T) {
	for want, e := range map[string]*ACMEError{
		"no such file (unauthorized)":       {Type: "urn:ietf:params:acme:error:unauthorized", Detail: "no such file"},
		"the CA gave no detail (malformed)": {Type: "urn:ietf:params:acme:error:malformed"},
		"busy (https://ca.example/busy)":    {Type: "https://ca.example/busy", Detail: "busy"},
		"busy":                              {Detail: "busy"},
		"some names (rejectedIdentifier); *.a.example: not here (dns)": {
			Type: "urn:ietf:params:acme:error:rejectedIdentifier", Detail: "some names",
			Subproblems: []ACMESubproblem{{Type: "urn:ietf:params:acme:error:dns", Detail: "not here", Identifier: Identifier{Type: "dns", Value: "a.example", Wildcard: true}}},
		},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWhatCannotBeASecret(t *testing.T) {
	r := Request{
		Server:      "https://ca.example:14000/dir",
		Identifiers: []Identifier{{Type: "dns", Value: "www.one.test"}, {Type: "dns", Value: "two.test", Wildcard: true}},
	}
	for text, want := range map[string]bool{
		"www.one.test": true, "ONE.test.": true, "test": true, "two.test": true, "ca.example": true, "https://ca.example:14000": false,
		"127.0.0.1": true, "2001:db8::1": true, "localhost": true, "8081": true, "60": true,
		"ne.test": false, "x.www.one.test": false, "70000": false, "12345678": false, "hunter2": false, "ns.provider.example": false,
	} {
		if got := r.Public(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
