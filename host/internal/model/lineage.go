package model

import "time"

// Lineage is what is kept of one certificate over its versions:
// lineages/<name>.json.
type Lineage struct {
	Name string `json:"name"`
	// Request is how it was obtained and will be renewed.
	Request Request `json:"request"`
	// Instances are those that the request uses, as they were configured.
	Instances map[string]Instance `json:"instances,omitempty"`
	Created   time.Time           `json:"created"`
	// Version is the newest; nil: none was obtained yet.
	Version *Version `json:"version,omitempty"`
	// Targets is the state of each installer instance, by name.
	Targets map[string]Target `json:"targets,omitempty"`
	// Events that its instances wanted last time, by instance.
	Events   map[string][]string `json:"events,omitempty"`
	Failures *Failures           `json:"failures,omitempty"`
	// Untold says that the hooks have not been told of the newest version yet;
	// nil: they have.
	Untold *Untold `json:"untold,omitempty"`
	// HookCSR says that the newest version was obtained with a certificate request
	// of a hook, whose key is not ours.
	HookCSR bool `json:"hook_csr,omitempty"`
	// Skipped are names that could not be proven and that the request allows to
	// be left out.
	Skipped []Identifier `json:"skipped,omitempty"`
	// ARI is what the CA said of the newest version's renewal.
	ARI *ARI `json:"ari,omitempty"`
}

// Untold is what hooks are told of a version besides the version itself.
type Untold struct {
	OrderURL string `json:"order_url"`
	CSR      []byte `json:"csr,omitempty"`
	// Late says that an earlier run ended before the CA had issued it.
	Late bool `json:"late,omitempty"`
}

// ARI is a renewal window (RFC 9773) and the instant that was picked in it.
type ARI struct {
	RenewalInfo
	// Version that it is about.
	Version int `json:"version"`
	// At is the random instant of the window. Zero: the CA gave no window.
	At time.Time `json:"at,omitzero"`
	// Next is when to ask again.
	Next time.Time `json:"next"`
}

// Version is one certificate of a lineage.
type Version struct {
	// Number counts from 1; its directory is Number with four digits.
	Number int `json:"number"`
	// Serial is hexadecimal, lower case.
	Serial string `json:"serial"`
	// Fingerprint is the SHA-256 of the leaf, hexadecimal, lower case.
	Fingerprint string    `json:"fingerprint"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Issuer      string    `json:"issuer"`
	KeyType     KeyType   `json:"key_type"`
	Names       []string  `json:"names"`
	// Revoked says when and why it was revoked from here; nil: it was not.
	Revoked *Revoked `json:"revoked,omitempty"`
}

// Revoked is what revoke has done to a version.
type Revoked struct {
	At time.Time `json:"at"`
	// Reason as in RFC 5280 section 5.3.1, in lower case.
	Reason string `json:"reason"`
}

// KeyCompromise is the reason after which a key must not be used again.
const KeyCompromise = "keycompromise"

// Failures are those since the last success.
type Failures struct {
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
	Error string    `json:"error"`
}

// Item is one line of a plan.
type Item struct {
	Request Request `json:"request"`
	// Version that there is; 0: none.
	Version int    `json:"version,omitempty"`
	Action  Action `json:"action"`
	// Why, for a person: "expires in 20 days", "not due before 2026-12-01".
	Why string `json:"why"`
	// Due is when it will be due, if Action is None.
	Due time.Time `json:"due,omitzero"`
	// Deploy lists the targets that have to be deployed to.
	Deploy []string `json:"deploy,omitempty"`
	// Diffs are what would be written at each of them.
	Diffs map[string]string `json:"diffs,omitempty"`
}

// Action of a plan's item.
type Action string

// Actions. Issue and Renew also deploy.
const (
	Issue  Action = "issue"
	Renew  Action = "renew"
	Deploy Action = "deploy"
	None   Action = "none"
)

// Plan is what has to be done, sorted by name.
type Plan struct {
	Items []Item `json:"items"`
}

// Outcome is what became of one lineage in a run.
type Outcome struct {
	Name   string
	Action Action
	// Why is the plan's reason.
	Why string
	Due time.Time
	// Issued says that a new version was obtained in this run, Tried lists the
	// targets that it was to be deployed to.
	Issued bool
	Tried  []string
	// Diffs are what a dry run would have written at each target.
	Diffs map[string]string
	// Version that is live now; nil: none.
	Version *Version
	Paths   Paths
	Targets map[string]Target
	// Err is nil if all went well.
	Err error
}

// Parts counts what an outcome consists of: the certificate, if it had to be
// obtained, and each target that had to be deployed to. A lineage of which one
// part went well and another failed is partly failed.
type Parts struct{ All, Failed int }

// Parts of the outcome.
func (o Outcome) Parts() Parts {
	p := Parts{All: 1}
	if o.Err == nil {
		return p
	}
	p.Failed = 1
	if o.Issued {
		p.All++
	}
	for _, name := range o.Tried {
		if t := o.Targets[name]; t.Error == "" && o.Version != nil && t.Deployed == o.Version.Number {
			p.All++
		}
	}
	return p
}
