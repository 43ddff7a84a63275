package journal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Perform is what is recorded before an authenticator is asked to put
// challenges in place.
type Perform struct {
	// Instance as it is configured: what undoes this later may not find the
	// same configuration.
	Instance    model.Instance
	Lineage     string
	OperationID string
	// Challenges; the private keys of ALPN challenges are not recorded.
	Challenges []model.Challenge
}

// Receipt is what Perform reported of one challenge.
type Receipt struct {
	ChallengeID string `json:"challenge"`
	Data        []byte `json:"data,omitempty"`
}

// Deploy is what is recorded before a target is changed.
type Deploy struct {
	Lineage  string         `json:"lineage"`
	Instance model.Instance `json:"instance"`
	// From is the version that the target serves, To the one it will; From is 0
	// if there is none.
	From int `json:"from"`
	To   int `json:"to"`
	// RunID of the run that began it: part of its operations' IDs.
	RunID string `json:"run_id,omitempty"`
	// Identifiers of the certificate.
	Identifiers []model.Identifier `json:"identifiers,omitempty"`
	// Undo is a checkpoint of an earlier deployment that is being taken back on
	// the user's word: to undo is what was begun. Empty: it is a deployment.
	Undo string `json:"undo,omitempty"`

	// What follows is known from later records only.

	// Checkpoint that was finalised. Empty: none, or the run died before it
	// could say so.
	Checkpoint string `json:"-"`
	// Restarting: Restart was about to be called.
	Restarting bool `json:"-"`
	// RolledBack: the checkpoint was taken back.
	RolledBack bool `json:"-"`
}

// Order is an ACME order that is under way.
type Order struct {
	Lineage  string `json:"lineage"`
	Server   string `json:"server"`
	Account  string `json:"account"`
	OrderURL string `json:"order_url,omitempty"`
	// OrderID names the directory of its key in the store.
	OrderID string `json:"order_id"`
	// Follows is the version that was the newest when it was begun; 0: there
	// was none. A later one makes the order pointless.
	Follows int `json:"follows,omitempty"`
	// Expires is when the CA forgets the order; zero: it did not say.
	Expires time.Time `json:"expires,omitzero"`
	// Request and Instances are what a run needs that finishes the order.
	Request   model.Request             `json:"request"`
	Instances map[string]model.Instance `json:"instances,omitempty"`
	// Asked is the request without the certificate request of a hook, which
	// Request has; nil: they are the same.
	Asked *model.Request `json:"asked,omitempty"`
}

// Entry is one thing that a run began and did not end. Exactly one of Perform,
// Deploy and Order is set.
type Entry struct {
	// File is the journal's name, without its directory.
	File string
	Seq  int64
	ID   string
	// Perform holds only the challenges that were not cleaned, with the
	// receipts that are known.
	Perform *Perform
	Deploy  *Deploy
	Order   *Order
	// Attempts to recover it that failed; at most three are counted.
	Attempts int

	// recovering is its journal while Recover has handed it out.
	recovering *file
}

// Saved records that the undoing of a deployment has found the checkpoint that
// it had finalised. It is for the entries that [Recover] hands out.
func (e Entry) Saved(checkpoint string) error {
	return e.note(record{Step: stepSaved, Checkpoint: checkpoint})
}

// RolledBack records that the undoing of a deployment has taken the checkpoint
// back. It is for the entries that [Recover] hands out.
func (e Entry) RolledBack() error { return e.note(record{Step: stepRolledBack}) }

func (e Entry) note(r record) error {
	if e.recovering == nil || e.Deploy == nil {
		return fmt.Errorf("write the journal %s: entry %s is no deployment that is being recovered", e.File, e.ID)
	}
	r.Op, r.ID = opStep, e.ID
	_, err := e.recovering.append(r, true)
	return err
}

// Lineage is the name of the certificate that it is about.
func (e Entry) Lineage() string {
	switch {
	case e.Perform != nil:
		return e.Perform.Lineage
	case e.Deploy != nil:
		return e.Deploy.Lineage
	case e.Order != nil:
		return e.Order.Lineage
	}
	return ""
}

// String says what is pending, for a person.
func (e Entry) String() string {
	switch {
	case e.Perform != nil:
		names := make([]string, 0, len(e.Perform.Challenges))
		for _, c := range e.Perform.Challenges {
			names = append(names, c.Type+" for "+c.Identifier.String())
		}
		return fmt.Sprintf("challenges of certificate %s by instance %s (%s)", e.Perform.Lineage, e.Perform.Instance.Name, strings.Join(names, ", "))
	case e.Deploy != nil && e.Deploy.Undo != "":
		return fmt.Sprintf("roll back of certificate %s at instance %s (version %d to %d)", e.Deploy.Lineage, e.Deploy.Instance.Name, e.Deploy.To, e.Deploy.From)
	case e.Deploy != nil:
		return fmt.Sprintf("deployment of certificate %s to instance %s (version %d to %d)", e.Deploy.Lineage, e.Deploy.Instance.Name, e.Deploy.From, e.Deploy.To)
	case e.Order != nil:
		return fmt.Sprintf("order %s for certificate %s at %s", e.Order.OrderURL, e.Order.Lineage, e.Order.Server)
	}
	return "nothing"
}

const formatVersion = 1

type header struct {
	V int `json:"v"`
}

// Operations of records.
const (
	opPerform  = "perform"
	opReceipts = "receipts"
	opCleaned  = "cleaned"
	opDeploy   = "deploy"
	opStep     = "step"
	opOrder    = "order"
	opDone     = "done"
	opFailed   = "failed"
)

// Steps of a deployment.
const (
	stepSaved      = "saved"
	stepRestarting = "restarting"
	stepRolledBack = "rolled-back"
)

// record is one line.
type record struct {
	Seq int64  `json:"seq"`
	Op  string `json:"op"`
	// ID of the entry that this is about; empty in a record that begins one,
	// whose ID is its sequence number.
	ID       string       `json:"id,omitempty"`
	Perform  *performWire `json:"perform,omitempty"`
	Deploy   *Deploy      `json:"deploy,omitempty"`
	Order    *Order       `json:"order,omitempty"`
	Receipts []Receipt    `json:"receipts,omitempty"`
	Cleaned  []string     `json:"cleaned,omitempty"`
	// IDs, in place of ID, of entries that are done together or not at all.
	IDs []string `json:"ids,omitempty"`
	// Step of a deployment, and the checkpoint of stepSaved.
	Step       string `json:"step,omitempty"`
	Checkpoint string `json:"checkpoint,omitempty"`
	// Outcome of what is done, for a person only.
	Outcome string `json:"outcome,omitempty"`
}

// performWire and challengeWire fix the format, whatever becomes of the SDK's
// types.
type performWire struct {
	Instance    model.Instance  `json:"instance"`
	Lineage     string          `json:"lineage"`
	OperationID string          `json:"operation_id"`
	Challenges  []challengeWire `json:"challenges"`
}

type challengeWire struct {
	ID               string           `json:"id"`
	Type             string           `json:"type"`
	Identifier       model.Identifier `json:"identifier"`
	Token            string           `json:"token,omitempty"`
	KeyAuthorization string           `json:"key_authorization,omitempty"`
	HTTP             *httpWire        `json:"http,omitempty"`
	DNS              *dnsWire         `json:"dns,omitempty"`
	ALPN             *alpnWire        `json:"alpn,omitempty"`
	Raw              []byte           `json:"raw,omitempty"`
	Receipt          []byte           `json:"receipt,omitempty"`
}

type httpWire struct {
	Path string `json:"path"`
	Body []byte `json:"body,omitempty"`
}

type dnsWire struct {
	Name  string        `json:"name"`
	Value string        `json:"value"`
	Zone  string        `json:"zone,omitempty"`
	TTL   time.Duration `json:"ttl,omitempty"`
}

// alpnWire has no key: Cleanup needs none, and a secret has no place here.
type alpnWire struct {
	ServerName string `json:"server_name"`
	CertPEM    []byte `json:"cert,omitempty"`
}

func performToWire(p Perform) *performWire {
	w := &performWire{Instance: p.Instance, Lineage: p.Lineage, OperationID: p.OperationID}
	for _, c := range p.Challenges {
		cw := challengeWire{
			ID: c.ID, Type: c.Type, Identifier: c.Identifier, Token: c.Token, KeyAuthorization: c.KeyAuthorization,
			Raw: c.RawJSON, Receipt: c.Receipt,
		}
		if c.HTTP != nil {
			cw.HTTP = &httpWire{Path: c.HTTP.Path, Body: c.HTTP.Body}
		}
		if c.DNS != nil {
			cw.DNS = &dnsWire{Name: c.DNS.Name, Value: c.DNS.Value, Zone: c.DNS.Zone, TTL: c.DNS.TTL}
		}
		if c.ALPN != nil {
			cw.ALPN = &alpnWire{ServerName: c.ALPN.ServerName, CertPEM: c.ALPN.CertPEM}
		}
		w.Challenges = append(w.Challenges, cw)
	}
	return w
}

func performFromWire(w *performWire) *Perform {
	p := &Perform{Instance: w.Instance, Lineage: w.Lineage, OperationID: w.OperationID}
	for _, cw := range w.Challenges {
		c := model.Challenge{
			ID: cw.ID, Type: cw.Type, Identifier: cw.Identifier, Token: cw.Token, KeyAuthorization: cw.KeyAuthorization,
			RawJSON: cw.Raw, Receipt: cw.Receipt,
		}
		if cw.HTTP != nil {
			c.HTTP = &sdk.HTTPChallenge{Path: cw.HTTP.Path, Body: cw.HTTP.Body}
		}
		if cw.DNS != nil {
			c.DNS = &sdk.DNSChallenge{Name: cw.DNS.Name, Value: cw.DNS.Value, Zone: cw.DNS.Zone, TTL: cw.DNS.TTL}
		}
		if cw.ALPN != nil {
			c.ALPN = &sdk.ALPNChallenge{ServerName: cw.ALPN.ServerName, CertPEM: cw.ALPN.CertPEM}
		}
		p.Challenges = append(p.Challenges, c)
	}
	return p
}

func encode(v any) ([]byte, error) {
	line, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode a journal record: %w", err)
	}
	return append(line, '\n'), nil
}

// challengeIDs lists the IDs, which MUST differ: receipts name them.
func challengeIDs(p Perform) ([]string, error) {
	if len(p.Challenges) == 0 {
		return nil, fmt.Errorf("record the challenges of %s: there are none", p.Lineage)
	}
	ids := make([]string, 0, len(p.Challenges))
	for _, c := range p.Challenges {
		if slices.Contains(ids, c.ID) {
			return nil, fmt.Errorf("record the challenges of %s: two have the ID %q", p.Lineage, c.ID)
		}
		ids = append(ids, c.ID)
	}
	return ids, nil
}
