package sdk

import (
	"context"
	"errors"
	"time"
)

// Reporter carries what a running call has to tell, while it runs. Its methods
// may be called from several goroutines; after the call has returned they do
// nothing.
type Reporter interface {
	// Progress adds a line to the story that is shown to the user. subject may
	// be empty.
	Progress(subject, message string)
	// Say speaks to the person or the calling program: text is written to that
	// stream as it is, no newline is added. For scripts and dialogues only;
	// everything else belongs into Progress or the log on stderr.
	Say(to Stream, text string)
	// Ask shows text and waits for one line of input, which comes without its
	// newline. The error is io.EOF when there is no more input,
	// ErrNotInteractive when nobody can be asked, or the context's. The time
	// limit of the call stands still meanwhile.
	Ask(ctx context.Context, text string) (string, error)
	// Result reports the outcome for one subject, as soon as it is known.
	Result(Result)
}

// Stream is where [Reporter.Say] writes.
type Stream int

// Streams of the host.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// ErrNotInteractive is the answer to an ask when nobody can be asked.
var ErrNotInteractive = errors.New("nobody can be asked: the run is not interactive")

// Result is the outcome for one subject of a call.
type Result struct {
	// Subject is the ID of a challenge or the target of an installer.
	Subject string
	// Err is nil if the work for this subject is done.
	Err error
	// Receipt (Perform) is given to Cleanup as Challenge.Receipt, unless it is
	// lost: Cleanup MUST work without it. Never put a secret into it.
	Receipt []byte
	// Changed (Deploy) says that something is different from before.
	Changed bool
	// Diff (Deploy with DryRun) is the change, as a unified diff.
	Diff string
	// Endpoints (Deploy, Restart) are where the certificate is to be seen.
	Endpoints []Endpoint
}

// EndpointKind says how TLS starts at an endpoint.
type EndpointKind string

// Kinds of endpoints: TLS at once, or STARTTLS.
const (
	TLS  EndpointKind = "tls"
	SMTP EndpointKind = "smtp"
	IMAP EndpointKind = "imap"
	POP3 EndpointKind = "pop3"
)

// Endpoint is a place where the host proves, by a handshake that must show the
// new leaf, that a certificate is served.
type Endpoint struct {
	// Address is host:port.
	Address string `json:"address"`
	// ServerName is the name to ask for (SNI). Empty: the name of the call.
	ServerName string `json:"server_name,omitempty"`
	// Kind is TLS when empty.
	Kind EndpointKind `json:"kind,omitempty"`
}

// Identifier is what a challenge proves control of (RFC 8555 section 9.7.7).
type Identifier struct {
	// Type is "dns" or "ip" (RFC 8738).
	Type string `json:"type"`
	// Value is an A-label in lower case without "*.", or an IP address.
	Value string `json:"value"`
	// Wildcard is true for "*." + Value.
	Wildcard bool `json:"wildcard,omitempty"`
}

// String gives the name as it stands in a certificate.
func (i Identifier) String() string {
	if i.Wildcard {
		return "*." + i.Value
	}
	return i.Value
}

// Operation names the piece of work that a call belongs to.
type Operation struct {
	// ID is stable over retries: the same call again MUST have the same
	// outcome, with no duplicate.
	ID string
	// RunID is one per run of the host.
	RunID string
	// Lineage is the certificate's name.
	Lineage string
	// Attempt is 1 for the first try.
	Attempt int
	// Deadline is when the host gives the call up. Zero: not known.
	Deadline time.Time
	// Identifiers are all names of the certificate, in order.
	Identifiers []Identifier
}

type operationKey struct{}

// WithOperation puts an operation into a context; the host does, and tests may.
func WithOperation(ctx context.Context, op Operation) context.Context {
	return context.WithValue(ctx, operationKey{}, op)
}

// OperationFrom gives the operation that a call belongs to; zero if there is
// none.
func OperationFrom(ctx context.Context) Operation {
	op, _ := ctx.Value(operationKey{}).(Operation)
	return op
}
