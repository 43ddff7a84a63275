package model

import (
	"fmt"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// Order is an ACME order (RFC 8555 section 7.1.3).
type Order struct {
	URL            string
	Status         string
	Expires        time.Time
	Identifiers    []Identifier
	Authorizations []string
	Finalize       string
	Certificate    string
	Error          *ACMEError
}

// NewOrder is what an order asks for (RFC 8555 section 7.4).
type NewOrder struct {
	Identifiers []Identifier
	// NotBefore and NotAfter; zero: the CA decides.
	NotBefore time.Time
	NotAfter  time.Time
	// Profile; empty: the CA's default.
	Profile string
	// Replaces is the ARI identifier of the certificate that this one follows
	// (RFC 9773 section 5); empty: none.
	Replaces string
}

// RenewalInfo is when a CA wants a certificate to be renewed (RFC 9773 section
// 4.2).
type RenewalInfo struct {
	Start       time.Time     `json:"start"`
	End         time.Time     `json:"end"`
	Explanation string        `json:"explanation,omitempty"`
	RetryAfter  time.Duration `json:"-"`
}

// Authorization is an ACME authorization (RFC 8555 section 7.1.4).
type Authorization struct {
	URL        string
	Status     string
	Identifier Identifier
	Challenges []ACMEChallenge
	// Combinations of challenge indices of which one suffices; ACMEv2 sends
	// none, and nil means each challenge alone.
	Combinations [][]int
	Expires      time.Time
}

// ACMEChallenge is one challenge as the CA offers it (RFC 8555 section 8).
type ACMEChallenge struct {
	Type   string
	URL    string
	Status string
	// Token is empty for types that carry none.
	Token   string
	Error   *ACMEError
	RawJSON []byte
}

// Statuses of RFC 8555 section 7.1.6.
const (
	StatusPending     = "pending"
	StatusReady       = "ready"
	StatusProcessing  = "processing"
	StatusValid       = "valid"
	StatusInvalid     = "invalid"
	StatusDeactivated = "deactivated"
	StatusExpired     = "expired"
	StatusRevoked     = "revoked"
)

// What stands in place of the status of an account whose CA did not say it.
const (
	StatusRefused = "refused"
	StatusUnknown = "unknown"
)

// ACMEError is a problem document of a CA (RFC 8555 section 6.7).
type ACMEError struct {
	// Type is the URN as sent.
	Type   string
	Detail string
	// Status is the HTTP status; 0 if it came inside another object.
	Status int
	// RetryAfter as the CA asked; zero: it did not.
	RetryAfter  time.Duration
	Subproblems []ACMESubproblem
	// Method and URL of the request that failed; empty inside another object.
	Method string
	URL    string
}

// Refusal is an answer of a CA that is no success.
type Refusal struct {
	ACMEError
	// Resource of the directory that was asked for ("newOrder", "directory"
	// itself); empty: none of them.
	Resource string
	Header   []sdk.HTTPHeader
	Body     []byte
}

// ACMESubproblem is about one identifier (RFC 8555 section 6.7.1).
type ACMESubproblem struct {
	Type       string
	Detail     string
	Identifier Identifier
}

const acmeURN = "urn:ietf:params:acme:error:"

// Short is the type without the ACME URN; another type stays whole.
func (e *ACMEError) Short() string { return strings.TrimPrefix(e.Type, acmeURN) }

func (e *ACMEError) Error() string {
	var b strings.Builder
	b.WriteString(e.Detail)
	if b.Len() == 0 {
		b.WriteString("the CA gave no detail")
	}
	if e.Short() != "" {
		fmt.Fprintf(&b, " (%s)", e.Short())
	}
	for _, s := range e.Subproblems {
		fmt.Fprintf(&b, "; %s: %s (%s)", s.Identifier, s.Detail, strings.TrimPrefix(s.Type, acmeURN))
	}
	return b.String()
}

// Directory is what a CA says of itself (RFC 8555 section 7.1.1).
type Directory struct {
	URL         string
	Terms       string
	Website     string
	EABRequired bool
	Profiles    map[string]string
	RenewalInfo string
}

// Account is an ACME account as it is kept.
type Account struct {
	Name    string    `json:"name"`
	Server  string    `json:"server"`
	URL     string    `json:"url"`
	Contact []string  `json:"contact,omitempty"`
	Terms   string    `json:"terms_agreed,omitempty"`
	Created time.Time `json:"created"`
	EABKid  string    `json:"eab_kid,omitempty"`
	// CABundle is a file of roots for the connection to the CA; empty: the
	// system's.
	CABundle string `json:"ca_bundle,omitempty"`
}

// AccountState is an account as it is kept, and what the CA says of it.
type AccountState struct {
	Account
	// Thumbprint of its key (RFC 8555 section 8.1), for servers that answer
	// http-01 for any token.
	Thumbprint string
	// Changing says that a change of its key was interrupted: the next command
	// that uses it ends the change.
	Changing bool
	// Status is valid, deactivated or revoked as the CA says; refused if it does
	// not let the account speak, or unknown if it could not be asked: Err says
	// why.
	Status string
	Err    error
}

// Issued is a certificate that came from a CA, with its key.
type Issued struct {
	LeafPEM      []byte
	ChainPEM     []byte
	FullchainPEM []byte
	KeyPEM       []byte
}
