package sdk

import (
	"context"
	"time"
)

// Events that a Hook can ask for in [Plugin.HookEvents].
const (
	EventStart            = "start"             // a run begins
	EventPre              = "pre"               // the first time something is really due
	EventCSR              = "csr"               // may return a CSR
	EventChallengeInvalid = "challenge_invalid" // the CA refused a challenge
	EventCAFailure        = "ca_failure"        // a request to the CA failed
	EventIssued           = "issued"            // the chain is in, before the switch
	EventSuccess          = "success"           // live/ leads to the new version
	EventUnchanged        = "unchanged"         // a certificate was not due
	EventPost             = "post"              // after everything that was due
	EventFinish           = "finish"            // every exit, before Drain
)

// Hook is told what happens.
type Hook interface {
	// Run is called for each event that Plugin.HookEvents names. An error is
	// reported to the user and stops nothing, except for EventCSR.
	Run(context.Context, HookEvent, Reporter) (HookResult, error)
}

// HookEvent is what happened. Fields that do not belong to the event are zero.
type HookEvent struct {
	Event       string
	Lineage     string
	Identifiers []Identifier
	// Paths: issued, success, unchanged.
	Paths Paths
	// Challenge: challenge_invalid.
	Challenge *Challenge
	// Problem: challenge_invalid, ca_failure and a failed finish.
	Problem *Problem
	// HTTPStatus, HTTPMethod and HTTPURL: ca_failure.
	HTTPStatus int
	HTTPMethod string
	HTTPURL    string
	// Renewed and Failed are certificate names: post, finish.
	Renewed []string
	Failed  []string
	// Outcome is "ok", "failed" or "partial": finish.
	Outcome  string
	Messages []string
	// NotBefore and NotAfter: issued, success, unchanged.
	NotBefore time.Time
	NotAfter  time.Time
	DryRun    bool
}

// HookResult is what a hook gives back.
type HookResult struct {
	// CSR, for EventCSR, is used in place of one made by the host. PEM or DER;
	// empty: none.
	CSR []byte
}
