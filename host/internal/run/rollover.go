package run

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// errForsaken is wrapped by errors about an account that the CA knows by no key
// that we have.
var errForsaken = errors.New("the CA does not know it any more")

// RolloverAccount gives an account another key (RFC 8555 section 7.3.5). The new
// one is durable beside the old one before the CA hears of it, and the old one
// is kept until it is known that the new one counts; a run that is killed in
// between is mended by settle.
func (e *Engine) RolloverAccount(ctx context.Context, a model.Account) (model.Account, error) {
	cas := newCAs(e)
	defer cas.close()
	use, err := e.change(ctx, cas, a)
	if use.unlock != nil {
		defer use.unlock()
	}
	if err != nil {
		return a, err
	}
	// Nothing is left beside the old key by a CA that cannot be reached at all.
	if _, err := use.client.Directory(ctx); err != nil {
		return a, err
	}
	next, err := e.Store.NewAccountKey(a.Name)
	if err != nil {
		return a, err
	}
	if err := use.client.RolloverKey(ctx, next); err != nil {
		return use.Account, e.afterFailure(ctx, use, next, err)
	}
	return use.Account, e.Store.SwitchAccountKey(a.Name)
}

// afterFailure finds out what a failed change has come to: an error does not say
// that the CA has not done it.
func (e *Engine) afterFailure(ctx context.Context, use accountUse, next crypto.Signer, failure error) error {
	if err := e.settle(ctx, use.client, use.Name); err != nil {
		return sdk.Hint(fmt.Errorf("%w; which key counts is not known yet: %w", failure, err),
			"run certwright account rollover again: both keys are kept, and the CA is asked which one it knows")
	}
	_, key, err := e.Store.Account(use.Name)
	switch {
	case err != nil:
		return errors.Join(failure, err)
	case sameKey(key.Public(), next.Public()):
		return nil
	}
	return failure
}

// settle ends a change of an account's key that was interrupted: the CA is asked
// which of the two it knows. The caller holds the account's exclusive lock.
func (e *Engine) settle(ctx context.Context, client *ca, name string) error {
	next, err := e.Store.NextAccountKey(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	a, current, err := e.Store.Account(name)
	if err != nil {
		return err
	}
	e.Terminal.Tell("", "account %s: a change of its key was interrupted, asking %s which key counts", name, a.Server)
	done, err := client.holds(ctx, next, a.URL)
	if err != nil {
		return fmt.Errorf("account %s: ask which of its keys counts: %w", name, err)
	}
	if done {
		e.Terminal.Tell("", "account %s: the new key counts", name)
		return e.Store.SwitchAccountKey(name)
	}
	kept, err := client.holds(ctx, current, a.URL)
	if err != nil {
		return fmt.Errorf("account %s: ask which of its keys counts: %w", name, err)
	}
	if !kept {
		return sdk.Hint(fmt.Errorf("account %s at %s, with its old key or the new one: %w", name, a.Server, errForsaken),
			"forget it with certwright account unregister --account %s, then register another", name)
	}
	e.Terminal.Tell("", "account %s: the old key counts", name)
	return e.Store.DropAccountKey(name)
}
