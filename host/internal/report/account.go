package report

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

// AccountAction is what a verb has done to an account.
type AccountAction string

// Actions on an account. Existing: there was one, and nothing was done.
const (
	Registered   AccountAction = "registered"
	Existing     AccountAction = "existing"
	Updated      AccountAction = "updated"
	RolledOver   AccountAction = "rolled_over"
	Unregistered AccountAction = "unregistered"
)

type accountLine struct {
	Type       string        `json:"type"`
	Name       string        `json:"name"`
	Action     AccountAction `json:"action,omitempty"`
	Server     string        `json:"server"`
	URL        string        `json:"url"`
	Contact    []string      `json:"contact,omitempty"`
	Created    time.Time     `json:"created,omitzero"`
	EABKid     string        `json:"eab_kid,omitempty"`
	Terms      string        `json:"terms_agreed,omitempty"`
	Status     string        `json:"status,omitempty"`
	Thumbprint string        `json:"thumbprint,omitempty"`
	Changing   bool          `json:"changing_key,omitempty"`
	Error      *errorJSON    `json:"error,omitempty"`
}

func lineOf(a model.Account) accountLine {
	return accountLine{
		Type: "account", Name: a.Name, Server: a.Server, URL: a.URL, Contact: a.Contact,
		Created: a.Created.UTC(), EABKid: a.EABKid, Terms: a.Terms,
	}
}

// AccountChanged shows what became of an account.
func (t *Terminal) AccountChanged(a model.Account, action AccountAction) {
	if t.JSON {
		line := lineOf(a)
		line.Action = action
		t.json(line)
		return
	}
	var text string
	switch action {
	case Registered:
		text = "registered at " + a.Server + " as " + a.URL
	case Existing:
		text = "exists already at " + a.Server + " as " + a.URL
	case Updated:
		text = "at " + a.Server + " is updated"
	case RolledOver:
		text = "at " + a.Server + " has a new key"
	case Unregistered:
		text = "at " + a.Server + " is given up and deleted here"
	}
	t.Print(a.Name + ": " + text + "\n")
	if action == Updated {
		t.Print("  contact " + contacts(a.Contact) + "\n")
	}
}

// Accounts lists accounts with what their CAs say of them.
func (t *Terminal) Accounts(states []model.AccountState) {
	for _, s := range states {
		if t.JSON {
			line := lineOf(s.Account)
			line.Status, line.Thumbprint, line.Changing, line.Error = s.Status, s.Thumbprint, s.Changing, toErrorJSON(s.Err)
			t.json(line)
			continue
		}
		t.account(s)
	}
	if len(states) == 0 {
		t.Tell("", "there are no accounts")
	}
}

func (t *Terminal) account(s model.AccountState) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", name, value)
		}
	}
	fmt.Fprintf(w, "%s\n", s.Name)
	row("server", s.Server)
	row("url", s.URL)
	row("contact", contacts(s.Contact))
	if !s.Created.IsZero() {
		row("created", day(s.Created))
	}
	row("bound to", s.EABKid)
	row("thumbprint", s.Thumbprint)
	status := s.Status
	if s.Err != nil {
		status += ": " + s.Err.Error()
	}
	row("status", status)
	if s.Changing {
		row("key", "a change was interrupted; the next command that uses the account ends it")
	}
	_ = w.Flush() // a strings.Builder takes everything
	t.Print(b.String())
}

func contacts(urls []string) string {
	if len(urls) == 0 {
		return "none"
	}
	out := make([]string, 0, len(urls))
	for _, u := range urls {
		out = append(out, strings.TrimPrefix(u, "mailto:"))
	}
	return strings.Join(out, ", ")
}

// Revoked is a certificate that is revoked.
type Revoked struct {
	// Lineage that it is of, and its version; empty: none that is known here.
	Lineage string
	Version int
	// Serial is hexadecimal, lower case.
	Serial string
	Names  []string
	Server string
	Reason string
}

// Revoked shows that a certificate is revoked.
func (t *Terminal) Revoked(r Revoked) {
	if t.JSON {
		t.json(struct {
			Type    string   `json:"type"`
			Name    string   `json:"name,omitempty"`
			Version int      `json:"version,omitempty"`
			Serial  string   `json:"serial"`
			Names   []string `json:"names"`
			Server  string   `json:"server"`
			Reason  string   `json:"reason"`
		}{"revoked", r.Lineage, r.Version, r.Serial, r.Names, r.Server, r.Reason})
		return
	}
	what := "certificate of " + strings.Join(r.Names, ", ")
	if r.Lineage != "" {
		what = fmt.Sprintf("%s: version %d", r.Lineage, r.Version)
	}
	t.Print(fmt.Sprintf("%s, serial %s, is revoked (%s)\n", what, r.Serial, r.Reason))
}

// Deleted shows that a lineage is deleted.
func (t *Terminal) Deleted(lineage string) {
	if t.JSON {
		t.json(struct {
			Type string `json:"type"`
			Name string `json:"name"`
		}{"deleted", lineage})
		return
	}
	t.Print(lineage + ": deleted with all its versions and keys\n")
}
