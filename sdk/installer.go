package sdk

import (
	"context"
	"time"
)

// Installer puts certificates into a server. The host calls, for one
// certificate: Deploy then Save(untitled) for each name, Save with a title,
// ConfigTest, Restart; and it proves the endpoints that were reported. On any
// failure it calls Rollback and, if something was live, Restart again.
type Installer interface {
	// Deploy stages a certificate for one name. Nothing is live yet, and no
	// file of the server is changed before Save. The same operation again MUST
	// have the same outcome.
	Deploy(context.Context, Deployment, Reporter) error
	// Save writes what is staged, so that it can be taken back. With a title it
	// finalises exactly one checkpoint; on an error there is none. With the same
	// operation again, in a new process too, it MUST give the same checkpoint and
	// make no other: the host asks so what a crash has left.
	Save(context.Context, SaveRequest, Reporter) (Checkpoint, error)
	// Restart makes what was written live. It MUST NOT interrupt the server if
	// a reload does.
	Restart(context.Context, Reporter) error
}

// Deployment is one certificate for one name.
type Deployment struct {
	// Lineage is the certificate's name, Name the one that this call is for,
	// Names all of them.
	Lineage string
	Name    string
	Names   []string

	LeafPEM      []byte
	ChainPEM     []byte
	FullchainPEM []byte
	// KeyPEM is set only if Permissions.Key is KeyBytes.
	KeyPEM []byte

	// Paths are where the new version is, to be copied or given to a script.
	Paths Paths
	// ConfigPaths are what a server's configuration names: they lead to the new
	// version from just before Restart on, and back on a rollback.
	ConfigPaths Paths

	// DryRun asks for a Result with a Diff; Save and Restart will not be called.
	DryRun bool
}

// Paths of the four files of a certificate, absolute.
type Paths struct {
	Cert      string `json:"cert"`
	Chain     string `json:"chain"`
	Fullchain string `json:"fullchain"`
	Privkey   string `json:"privkey"`
}

// SaveRequest says what kind of save is wanted.
type SaveRequest struct {
	// Title finalises a checkpoint under this title. Empty: write only.
	Title string
	// Temporary marks changes that belong to challenges, not to a checkpoint.
	Temporary bool
}

// Checkpoint is a state that Rollback can bring back.
type Checkpoint struct {
	// ID is empty if nothing was changed.
	ID      string
	Title   string
	Created time.Time
	// Files that were changed.
	Files []string
}

// ConfigTester is an Installer whose server can check its configuration.
type ConfigTester interface {
	// ConfigTest returns an error, best with code ConfigTestFailed and the
	// server's words as the detail, if a restart would fail.
	ConfigTest(context.Context, Reporter) error
}

// Rollbacker is an Installer that can undo.
type Rollbacker interface {
	// Rollback first drops what is staged or was left unfinished, by a crash
	// too, then reverts count finalised checkpoints, newest first. It is
	// idempotent for count 0; more than there are is no error.
	Rollback(ctx context.Context, count int, r Reporter) error
}

// Namer is an Installer that knows which names its server serves.
type Namer interface {
	Names(context.Context) ([]Site, error)
}

// Site is one virtual host.
type Site struct {
	ID    string
	Names []string
	// File is where it is configured.
	File string
	TLS  bool
}

// Enhancer is an Installer that can stage more than a certificate.
type Enhancer interface {
	// Enhance stages "redirect" or "hsts" for a name. It is idempotent.
	Enhance(ctx context.Context, name, enhancement string, r Reporter) error
}
