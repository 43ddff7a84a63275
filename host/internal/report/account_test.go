package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

func TestAccountsAreShown(t *testing.T) {
	a := model.Account{
		Name: "main", Server: "https://ca.test/dir", URL: "https://ca.test/acct/1", EABKid: "kid-1",
		Contact: []string{"mailto:a@example.com", "tel:+1"}, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)),
	}
	states := []model.AccountState{
		{Account: a, Status: "valid", Thumbprint: "abc", Changing: true},
		{Account: model.Account{Name: "old"}, Status: model.StatusUnknown, Err: sdk.Hint(errors.New("no answer"), "check it")},
	}
	for _, tt := range []struct {
		json bool
		want string
	}{
		{false, `main
  server      https://ca.test/dir
  url         https://ca.test/acct/1
  contact     a@example.com, tel:+1
  created     2026-01-02
  bound to    kid-1
  thumbprint  abc
  status      valid
  key         a change was interrupted; the next command that uses the account ends it
old
  contact  none
  status   unknown: no answer
`},
		{true, `{"type":"account","name":"main","server":"https://ca.test/dir","url":"https://ca.test/acct/1","contact":["mailto:a@example.com","tel:+1"],` +
			`"created":"2026-01-02T02:04:05Z","eab_kid":"kid-1","status":"valid","thumbprint":"abc","changing_key":true}
{"type":"account","name":"old","server":"","url":"","status":"unknown","error":{"message":"no answer","hint":"check it"}}
`},
	} {
		var out, story bytes.Buffer
		terminal := &Terminal{Out: &out, Err: &story, JSON: tt.json}
		terminal.Accounts(states)
		if diff := cmp.Diff(tt.want, out.String()); diff != "" {
			t.Errorf("json %v (-want +got):\n%s", tt.json, diff)
		}
		terminal.Accounts(nil)
		if !strings.Contains(story.String(), "there are no accounts") {
			t.Errorf("nothing was said of no accounts: %q", story.String())
		}
	}
}

func TestWhatWasDoneIsShown(t *testing.T) {
	a := model.Account{Name: "main", Server: "https://ca.test/dir", URL: "https://ca.test/acct/100%"}
	r := Revoked{Serial: "0a", Names: []string{"a.test", "b.test"}, Server: "https://ca.test/dir", Reason: "superseded"}
	ofLineage := r
	ofLineage.Lineage, ofLineage.Version = "a.test", 2
	for want, do := range map[string]func(*Terminal){
		"main: registered at https://ca.test/dir as https://ca.test/acct/100%\n":     func(t *Terminal) { t.AccountChanged(a, Registered) },
		"main: exists already at https://ca.test/dir as https://ca.test/acct/100%\n": func(t *Terminal) { t.AccountChanged(a, Existing) },
		"main: at https://ca.test/dir is updated\n  contact none\n":                  func(t *Terminal) { t.AccountChanged(a, Updated) },
		"main: at https://ca.test/dir has a new key\n":                               func(t *Terminal) { t.AccountChanged(a, RolledOver) },
		"main: at https://ca.test/dir is given up and deleted here\n":                func(t *Terminal) { t.AccountChanged(a, Unregistered) },
		"certificate of a.test, b.test, serial 0a, is revoked (superseded)\n":        func(t *Terminal) { t.Revoked(r) },
		"a.test: version 2, serial 0a, is revoked (superseded)\n":                    func(t *Terminal) { t.Revoked(ofLineage) },
		"a.test: deleted with all its versions and keys\n":                           func(t *Terminal) { t.Deleted("a.test") },
	} {
		var out bytes.Buffer
		do(&Terminal{Out: &out})
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for want, do := range map[string]func(*Terminal){
		`{"type":"account","name":"main","action":"rolled_over","server":"https://ca.test/dir","url":"https://ca.test/acct/100%"}`:                      func(t *Terminal) { t.AccountChanged(a, RolledOver) },
		`{"type":"revoked","serial":"0a","names":["a.test","b.test"],"server":"https://ca.test/dir","reason":"superseded"}`:                             func(t *Terminal) { t.Revoked(r) },
		`{"type":"revoked","name":"a.test","version":2,"serial":"0a","names":["a.test","b.test"],"server":"https://ca.test/dir","reason":"superseded"}`: func(t *Terminal) { t.Revoked(ofLineage) },
		`{"type":"deleted","name":"a.test"}`: func(t *Terminal) { t.Deleted("a.test") },
	} {
		var out bytes.Buffer
		do(&Terminal{Out: &out, JSON: true})
		if diff := cmp.Diff(want+"\n", out.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
