package order

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/certwright/certwright/host/internal/model"
)

// ErrPending says that an order still has names to prove.
var ErrPending = errors.New("the order still has names to prove")

// ErrDead says that nothing will ever come of an order.
var ErrDead = errors.New("the order is dead")

// UnfinishedError is a failure after the CA was asked to issue: the certificate
// may exist, so the order's key and its journal entry are kept, and the next
// run finishes it.
type UnfinishedError struct{ Err error }

func (e *UnfinishedError) Error() string { return e.Err.Error() }

// Unwrap gives the failure.
func (e *UnfinishedError) Unwrap() error { return e.Err }

// Hint says that nothing is lost.
func (e *UnfinishedError) Hint() string {
	return "run the same command again: the certificate may have been issued, and its key is kept"
}

func unfinished(err error) bool {
	var u *UnfinishedError
	return errors.As(err, &u)
}

// Finish brings an order of an earlier run to its end, if nothing is left to be
// proven. The error is ErrPending if something is, or if there is no key yet
// (key is nil) and the order can take one; it is ErrDead if the order can be
// forgotten.
func Finish(ctx context.Context, ca CA, s Story, r model.Request, url string, key crypto.Signer) (Result, error) {
	o, err := ca.Order(ctx, url)
	if gone(err) {
		return Result{}, ErrDead
	}
	if err != nil {
		return Result{}, fmt.Errorf("ask for the order of an interrupted run: %w", err)
	}
	keyless := key == nil && len(r.CSR) == 0
	switch {
	case o.Status == model.StatusPending, keyless && o.Status == model.StatusReady:
		return Result{}, ErrPending
	case keyless:
		return Result{}, ErrDead
	case slices.Contains([]string{model.StatusReady, model.StatusProcessing, model.StatusValid}, o.Status):
	default:
		return Result{}, ErrDead
	}
	result := Result{OrderID: ID(url), OrderURL: url, Skipped: without(r.Identifiers, o.Identifiers)}
	if result.CSR, err = requestOf(r, o.Identifiers, func() (crypto.Signer, error) { return key, nil })(); err != nil {
		return result, err
	}
	result.Issued, err = finalize(ctx, ca, s, r, result.CSR, o, key)
	if err != nil && !unfinished(err) {
		return result, errors.Join(ErrDead, err)
	}
	return result, err
}

// gone says that the CA knows no such order (any more).
func gone(err error) bool {
	var ca *model.ACMEError
	return errors.As(err, &ca) && (ca.Status == http.StatusNotFound || ca.Status == http.StatusForbidden || ca.Short() == "malformed")
}

// finalize has the CA issue and fetches what it issued. A failure that leaves
// it open whether the CA has issued is an UnfinishedError.
func finalize(
	ctx context.Context, ca CA, s Story, r model.Request, request []byte, o model.Order, key crypto.Signer,
) (issued model.Issued, err error) {
	if o.Status == model.StatusPending || o.Status == model.StatusReady {
		if o, err = ask(ctx, ca, request, o); err != nil {
			return issued, err
		}
	}
	if o.Status != model.StatusValid && o.Status != model.StatusInvalid {
		if o, err = ca.PollOrder(ctx, o.URL, model.StatusValid); err != nil {
			return issued, open(fmt.Errorf("wait for the certificate: %w", err))
		}
	}
	if o.Status != model.StatusValid {
		if o.Error != nil {
			return issued, fmt.Errorf("the CA refused the order: %w", o.Error)
		}
		return issued, fmt.Errorf("the CA made the order %s and does not say why", o.Status)
	}
	var want func([]byte) bool
	if r.PreferredChain != "" {
		want = func(chain []byte) bool { return issuedBy(chain, r.PreferredChain) }
	}
	chain, found, err := ca.Certificate(ctx, o.Certificate, want)
	if gone(err) {
		return issued, fmt.Errorf("download the certificate: %w", err)
	}
	if err != nil {
		return issued, &UnfinishedError{fmt.Errorf("download the certificate: %w", err)}
	}
	if want != nil && !found {
		s.Warn(r.Name, "the CA offers no chain with the issuer %q; its default is used", r.PreferredChain)
	}
	if issued, err = split(chain, key); err != nil {
		return issued, &UnfinishedError{err}
	}
	return issued, nil
}

// ask sends the certificate request. Every name is proven, so the order is
// ready, or will be in a moment: it is not looked at before the CA says so.
func ask(ctx context.Context, ca CA, request []byte, o model.Order) (model.Order, error) {
	answer, err := ca.Finalize(ctx, o, request)
	var refused *model.ACMEError
	if errors.As(err, &refused) && refused.Short() == "orderNotReady" {
		if o, err = ca.PollOrder(ctx, o.URL, model.StatusReady, model.StatusProcessing, model.StatusValid); err != nil {
			return o, fmt.Errorf("wait for the order to become ready: %w", err)
		}
		if o.Status != model.StatusReady {
			return o, nil
		}
		answer, err = ca.Finalize(ctx, o, request)
	}
	if err != nil {
		return o, open(fmt.Errorf("finalize the order: %w", err))
	}
	return answer, nil
}

// open makes an UnfinishedError of a failure, unless the CA has refused.
func open(err error) error {
	var ca *model.ACMEError
	if errors.As(err, &ca) && ca.Status >= 400 && ca.Status < 500 && ca.Status != http.StatusTooManyRequests {
		return err
	}
	return &UnfinishedError{err}
}
