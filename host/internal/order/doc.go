// Package order turns a request into a certificate: newOrder, one proof for
// each name, finalize, download (RFC 8555 section 7.4). It declares what it
// needs of the CA, of plugins and of the disk, and knows none of them.
package order

import (
	"context"
	"crypto"
	"time"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// CA is the certificate authority, with the account that orders are made for.
type CA interface {
	Directory(ctx context.Context) (model.Directory, error)
	NewOrder(ctx context.Context, n model.NewOrder) (model.Order, error)
	Order(ctx context.Context, url string) (model.Order, error)
	Authorization(ctx context.Context, url string) (model.Authorization, error)
	// PollAuthorization waits until it is no longer pending.
	PollAuthorization(ctx context.Context, url string) (model.Authorization, error)
	// Accept tells the CA that a challenge is in place.
	Accept(ctx context.Context, challengeURL string) error
	// PollOrder waits for one of the statuses, or for invalid.
	PollOrder(ctx context.Context, url string, until ...string) (model.Order, error)
	Finalize(ctx context.Context, o model.Order, csr []byte) (model.Order, error)
	// Certificate downloads the chain, or of several the first that is wanted;
	// found is false if none is, and the CA's default is given. A nil want takes
	// the default.
	Certificate(ctx context.Context, url string, want func(chainPEM []byte) bool) (chain []byte, found bool, err error)
	DeactivateAuthorization(ctx context.Context, url string) error

	KeyAuthorization(token string) (string, error)
	DNS01Value(token string) (string, error)
	DNSAccount01Name(domain string) (string, error)
	HTTP01Path(token string) (string, error)
	TLSALPN01Certificate(token string, id model.Identifier) (certPEM, keyPEM []byte, err error)
}

// Instance is one running authenticator.
type Instance struct {
	Config      model.Instance
	Description sdk.Description
	Authenticator
}

// Authenticator is what a running instance can do.
type Authenticator interface {
	sdk.Authenticator
	sdk.Preferrer
}

// Instances gives running instances by name; it waits for one that is just
// being started.
type Instances func(ctx context.Context, name string) (Instance, error)

// Journal records what is in flight, durably, before it happens.
type Journal interface {
	// Performing is called before Perform. What it returns is told of receipts
	// and of what was cleaned up.
	Performing(lineage, operation string, i model.Instance, challenges []model.Challenge) (Entry, error)
	// Ordering is called when an order exists; done ends the entry.
	Ordering(r model.Request, o model.Order) (done func() error, err error)
}

// Entry is one Perform in the journal.
type Entry interface {
	// Receipts come while Perform runs, those that came together in one call.
	Receipts([]Receipt) error
	Cleaned(challengeIDs []string) error
}

// Receipt is what Perform reported of one challenge, for Cleanup.
type Receipt struct {
	ChallengeID string
	Data        []byte
}

// Keys keeps the private key of an order, durably before it is used.
type Keys interface {
	NewKey(lineage, orderID string, kt model.KeyType) (crypto.Signer, error)
	// ReuseKey gives the order the key of the live version, if there is one.
	ReuseKey(lineage, orderID string, kt model.KeyType) (crypto.Signer, error)
	// KeepRequest keeps a request made elsewhere in place of a key.
	KeepRequest(lineage, orderID string, csr []byte) error
	DropOrder(lineage, orderID string) error
}

// Resources are what two processes cannot use at once ("tcp/80"). Hold waits
// for all of them; orders of one instance in one process share.
type Resources interface {
	Hold(ctx context.Context, instance string, keys []string) (release func(), err error)
}

// Story is what the user is told while it happens.
type Story interface {
	Tell(lineage, format string, args ...any)
	Warn(lineage, format string, args ...any)
	// Reporter receives what a plugin has to say; its Result is not used.
	Reporter(lineage, instance string) sdk.Reporter
}

// Hooks are told of what becomes of an order, and wait until plugins that want
// to know it have been.
type Hooks interface {
	// Attempt is called when there is an order of which nothing is proven yet. An
	// error gives the order up. request gives its certificate request (DER), for
	// which the key has to be made first.
	Attempt(ctx context.Context, orderURL string, request func() ([]byte, error)) error
	// ChallengeInvalid is called while what was performed is still in place. The
	// challenge's RawJSON is as the CA shows it now.
	ChallengeInvalid(ctx context.Context, c model.Challenge, err error)
}

// Deps is what an order needs.
type Deps struct {
	CA        CA
	Instances Instances
	// Fresh gives an instance whose process is certainly alive, by starting
	// another one if need be. Nil: clean-up is left to the next run.
	Fresh   Instances
	Journal Journal
	Keys    Keys
	Story   Story
	// Hooks; nil: nobody wants to know.
	Hooks Hooks
	RunID string
	// ResourceKeys names the exclusive resources of an instance.
	ResourceKeys func(Instance) []string
	Resources    Resources
	// DNS finds zones and waits for records, for plugins that leave it to the
	// host.
	DNS DNS
	// Resume is the URL of an order that an earlier run began; it is continued
	// if it is still good for the same names. Empty: there is none.
	Resume string
	// Replaces is the ARI identifier of the version that is renewed; empty:
	// none.
	Replaces string
	// NewKey makes a new key even if the request reuses keys.
	NewKey bool
	// Debug shows what is in place and waits for the user before the CA is told.
	Debug bool
	// DryRun gives up what the CA has validated before, so that every challenge
	// is really run.
	DryRun bool
	Now    func() time.Time
}

// Result is a certificate that is issued but not stored. Its key is kept by
// Keys under OrderID.
type Result struct {
	OrderID  string
	OrderURL string
	// CSR that the certificate was issued for, DER.
	CSR    []byte
	Issued model.Issued
	// Skipped are names that the request allows to be left out.
	Skipped []model.Identifier
	// Done ends the order's journal entry, once the certificate is stored.
	Done func() error
}
