package sdk

import (
	"context"
	"time"
)

// Events that a Hook can ask for in [Plugin.HookEvents], in the order in which
// they come.
const (
	// EventStart: once in a run, before anything else. An error gives up every
	// certificate that uses the instance, due or not.
	EventStart = "start"
	// EventUnchanged: a certificate was not due. An error makes it count as failed,
	// unless the user allows it.
	EventUnchanged = "unchanged"
	// EventPre: once in a run, when the first certificate that uses the instance
	// is really due. An error gives up every certificate that uses it, unless the
	// user allows it.
	EventPre = "pre"
	// EventCSR: before the order. The result may hold a CSR to use; the names of
	// the certificate are then taken from it. An error gives the certificate up.
	EventCSR = "csr"
	// EventAttempt: an order and its CSR exist, and nothing is proven yet. It
	// comes again if the same certificate is ordered again in another way. An
	// error gives the certificate up, unless the user allows it.
	EventAttempt = "attempt"
	// EventCAFailure: the CA answered a request with an error. An error of the hook
	// is a warning.
	EventCAFailure = "ca_failure"
	// EventChallengeInvalid: the CA refused a challenge. What was performed is
	// cleaned up when Run has returned. An error is a warning.
	EventChallengeInvalid = "challenge_invalid"
	// EventIssued: the certificate is on disk, before live/ leads to it. An error
	// makes it count as failed, unless the user allows it; the certificate is kept,
	// and deployed.
	EventIssued = "issued"
	// EventSuccess: live/ leads to the certificate, before it is deployed. An
	// error makes it count as failed, unless the user allows it; the certificate
	// is kept, and deployed.
	EventSuccess = "success"
	// EventDryRun: a dry run went well; in place of issued and success. An error
	// makes it count as failed, unless the user allows it.
	EventDryRun = "dry_run"
	// EventAttempted: after all that, whether it went well or not. It does not
	// come after an error of attempt or success that is not allowed. An error is a
	// warning, unless the user forbids it.
	EventAttempted = "attempted"
	// EventPost: once in a run, at its end, to each instance that got pre. An error
	// is a warning, unless the user forbids it.
	EventPost = "post"
	// EventFinish: once in a run, on every exit, before Drain. An error is a warning.
	EventFinish = "finish"
)

// Hook is told what happens.
type Hook interface {
	// Run is called for each event that Plugin.HookEvents names, one after the
	// other. What its error means depends on the event; see there.
	Run(context.Context, HookEvent, Reporter) (HookResult, error)
}

// HookEvent is what happened. Fields that do not belong to the event are zero.
type HookEvent struct {
	Event string
	// Lineage is the certificate's name; empty for start, pre, post and finish,
	// which are about the run.
	Lineage     string
	Identifiers []Identifier
	// KeyType that is wanted: "p256", "rsa2048", ...; Server is the CA's directory
	// URL.
	KeyType string
	Server  string
	DryRun  bool
	// Verb is "run", "certonly", "renew" or "install".
	Verb string
	// Fatal says that an error fails the certificate; for start, pre and post: one
	// at least of those that use the instance.
	Fatal bool

	// OrderURL and CSR (DER): attempt, issued, success, attempted.
	OrderURL string
	CSR      []byte
	// PollIdentifier: attempted, if the CA has not issued yet: where it is asked
	// again. success and attempted, if it has issued only now: where it was asked.
	PollIdentifier string

	// The certificate: issued, success, unchanged, dry_run, and attempted if there
	// is one. Paths are in the new version's directory for issued, in live/ else.
	Paths        Paths
	LeafPEM      []byte
	ChainPEM     []byte
	FullchainPEM []byte
	// CertificateRaw is the leaf, DER.
	CertificateRaw []byte
	NotBefore      time.Time
	NotAfter       time.Time

	// Challenge: challenge_invalid; its RawJSON is what the CA shows now, with the
	// error.
	Challenge *Challenge
	// Problem: challenge_invalid, ca_failure, and attempted and finish if they
	// failed.
	Problem *Problem
	// What was asked and answered: ca_failure. HTTPResource is the name of the
	// directory's resource ("newOrder", "directory" for itself), empty for another
	// URL.
	HTTPStatus   int
	HTTPMethod   string
	HTTPURL      string
	HTTPResource string
	HTTPHeaders  []HTTPHeader
	HTTPBody     []byte

	// Renewed and Failed are certificate names, and their identifiers: post,
	// finish.
	Renewed            []string
	Failed             []string
	RenewedIdentifiers []Identifier
	FailedIdentifiers  []Identifier
	// Outcome is "ok", "failed" or "partial", Messages are what went wrong and
	// what was warned of: finish.
	Outcome  string
	Messages []string
}

// HTTPHeader is one line of a header; a name may come more than once.
type HTTPHeader struct{ Name, Value string }

// HookResult is what a hook gives back.
type HookResult struct {
	// CSR, for EventCSR, is used in place of one made by the host. PEM or DER;
	// empty: none.
	CSR []byte
	// Warnings are told to the user. They fail nothing, unless the user forbids
	// failures of this moment.
	Warnings []*Problem
}
