package model

import (
	"slices"
	"time"
)

// Target is what one installer instance serves of a lineage.
type Target struct {
	// Deployed is the version that was made live there; 0: none.
	Deployed int `json:"deployed"`
	// Proven is the version that a handshake has shown; 0: none.
	Proven    int        `json:"proven"`
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	// Since is when Deployed was made live.
	Since time.Time `json:"since,omitzero"`
	// At is when it was last tried.
	At time.Time `json:"at,omitzero"`
	// Error is the last one; empty: the last deployment went well.
	Error string `json:"error,omitempty"`
	// Failures since the last success.
	Failures int `json:"failures,omitempty"`
	// Retry is when a run by a timer tries again after failures; zero: the next
	// one does.
	Retry time.Time `json:"next_retry,omitzero"`
	// RolledBack is the version that the user took back from it. It is not
	// deployed there again by itself. 0: none.
	RolledBack int `json:"rolled_back,omitempty"`
	// Enhanced are the names for which each enhancement is set. No names: the
	// installer has none such.
	Enhanced map[string][]string `json:"enhanced,omitempty"`
	// Checkpoints that can be taken back, oldest first.
	Checkpoints []Checkpoint `json:"checkpoints,omitempty"`
}

// Checkpoint is a deployment that has changed more than the certificate, and
// what there was before it.
type Checkpoint struct {
	// ID that the installer gave it.
	ID string    `json:"id"`
	At time.Time `json:"at"`
	// Files that were changed, if the installer says so.
	Files []string `json:"files,omitempty"`
	// From is the version that was served before; 0: none.
	From      int                 `json:"from"`
	Endpoints []Endpoint          `json:"endpoints,omitempty"`
	Enhanced  map[string][]string `json:"enhanced,omitempty"`
}

// Checkpoint finds one by its ID. Of one that is not kept there is only that.
func (t Target) Checkpoint(id string) Checkpoint {
	if at := slices.IndexFunc(t.Checkpoints, func(c Checkpoint) bool { return c.ID == id }); at >= 0 {
		return t.Checkpoints[at]
	}
	return Checkpoint{ID: id}
}

// keptCheckpoints of a target, as many as sdk/checkpoint keeps of a certificate.
const keptCheckpoints = 10

// Checkpointed is the target with one more checkpoint.
func (t Target) Checkpointed(c Checkpoint) Target {
	t.Checkpoints = append(slices.Clone(t.Checkpoints), c)
	t.Checkpoints = t.Checkpoints[max(0, len(t.Checkpoints)-keptCheckpoints):]
	return t
}

// Undone is the target after a deployment to it was undone that led from one
// version to another and has made the checkpoint; empty: none.
func (t Target) Undone(from, to int, checkpoint string) Target {
	if t.Deployed == to && from != to {
		t.Deployed, t.Proven, t.Since = from, 0, time.Time{}
	}
	at := slices.IndexFunc(t.Checkpoints, func(c Checkpoint) bool { return c.ID == checkpoint })
	if checkpoint == "" || at < 0 {
		return t
	}
	c := t.Checkpoints[at]
	t.Endpoints, t.Enhanced = c.Endpoints, c.Enhanced
	// What is newer went before it.
	t.Checkpoints = slices.Clone(t.Checkpoints[:at])
	return t
}

// Lacks says that an enhancement is still to be set for one of the names.
func (t Target) Lacks(enhancement string, names []string) bool {
	have, known := t.Enhanced[enhancement]
	if !known || len(have) == 0 {
		return !known
	}
	return slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(have, name) })
}

// TakenBack is a checkpoint that was rolled back, and the target afterwards.
type TakenBack struct {
	Lineage    string
	Installer  string
	Checkpoint Checkpoint
	Target     Target
}
