package host

import (
	"context"
	"errors"
	"fmt"
)

// RollbackRequest says what is to be taken back.
type RollbackRequest struct {
	// Installer instance; empty: the only one that has something to take back.
	Installer string
	// CertName: only what was done for this certificate. Empty: whatever it was
	// done for.
	CertName string
	// Count of checkpoints, newest first.
	Count int
}

// Rollback takes deployments back that have changed an installer's
// configuration, newest first.
func Rollback(ctx context.Context, b Base, r RollbackRequest) (err error) {
	if r.Count < 1 {
		return UsageError(fmt.Errorf("%d checkpoints cannot be rolled back: give a number from 1 on", r.Count))
	}
	e, closeEngine, err := b.engine(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeEngine(ctx)) }()
	if r.CertName != "" {
		if _, err := b.deletable(e.Store, r.CertName); err != nil {
			return err
		}
	}
	done, err := e.Rollback(ctx, r.Installer, r.CertName, r.Count)
	for _, back := range done {
		b.Terminal.TakenBack(back)
	}
	return err
}
