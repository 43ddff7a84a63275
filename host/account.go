package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/run"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// AccountRequest says which account a verb is about.
type AccountRequest struct {
	// Name of the account; empty: the one that there is, or the one that a CA's
	// certificates are obtained with if none is named.
	Name string
	// Server is the directory URL of the CA that the command line names; empty:
	// it names none.
	Server string
	// EAB binds a new account.
	EAB *config.EAB
	// Email is the contact that the command line gives; empty: it gives none.
	Email string
	// NoEmail takes all contacts away.
	NoEmail bool
}

// AccountRegister makes an account at a CA. One that exists is left as it is.
func AccountRegister(ctx context.Context, b Base, r AccountRequest) (err error) {
	name, server, err := b.newAccount(r)
	if err != nil {
		return err
	}
	e, closeEngine, err := b.engine(r.EAB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeEngine(ctx)) }()
	a, created, err := e.RegisterAccount(ctx, name, server, r.Email)
	if err != nil {
		return err
	}
	action := report.Registered
	if !created {
		action = report.Existing
		if r.Email != "" && !slices.Equal(a.Contact, []string{"mailto:" + r.Email}) {
			b.Terminal.Warn("", "account %s has another contact: change it with certwright account update -m", a.Name)
		}
	}
	b.Terminal.AccountChanged(a, action)
	return nil
}

// newAccount finds the name and the CA of an account that is to be registered.
func (b Base) newAccount(r AccountRequest) (name, server string, err error) {
	configured, known := b.Config.Account(r.Name)
	if known && configured.Server != "" && r.Server != "" && configured.Server != r.Server {
		return "", "", UsageError(fmt.Errorf("account %s belongs to %s (%s), not to %s", r.Name, configured.Server, configured.Pos, r.Server))
	}
	server = cmp.Or(r.Server, configured.Server, b.Config.Server)
	name = cmp.Or(r.Name, config.AccountName(server))
	if err := store.CheckAccountName(name); err != nil {
		return "", "", UsageError(err)
	}
	return name, server, nil
}

// AccountUpdate changes the contact of an account, and agrees to its CA's terms
// if they have changed.
func AccountUpdate(ctx context.Context, b Base, r AccountRequest) error {
	return b.withAccount(ctx, r, func(e *run.Engine, a model.Account) error {
		a, err := e.UpdateAccount(ctx, a, b.contacts(r, a))
		if err == nil {
			b.Terminal.AccountChanged(a, report.Updated)
		}
		return err
	})
}

// contacts gives the contacts that are wanted: those of the command line, or
// else of the configuration; nil: nothing says which.
func (b Base) contacts(r AccountRequest, a model.Account) *[]string {
	configured, _ := b.Config.Account(a.Name)
	email := cmp.Or(r.Email, configured.Email, b.Config.Email)
	switch {
	case r.NoEmail:
		return &[]string{}
	case email == "":
		return nil
	}
	return &[]string{"mailto:" + email}
}

// AccountRollover gives an account another key.
func AccountRollover(ctx context.Context, b Base, r AccountRequest) error {
	return b.withAccount(ctx, r, func(e *run.Engine, a model.Account) error {
		a, err := e.RolloverAccount(ctx, a)
		if err == nil {
			b.Terminal.AccountChanged(a, report.RolledOver)
		}
		return err
	})
}

// AccountUnregister gives an account up at its CA and deletes it here, after
// confirmation.
func AccountUnregister(ctx context.Context, b Base, r AccountRequest) error {
	return b.withAccount(ctx, r, func(e *run.Engine, a model.Account) error {
		lineages, err := e.Store.Lineages()
		if err != nil {
			b.Terminal.Warn("", "which certificates were obtained with the account is not known for certain: %v", err)
		}
		var uses []string
		for _, l := range lineages {
			if l.Request.Account == a.Name {
				uses = append(uses, l.Name)
			}
		}
		if len(uses) > 0 {
			b.Terminal.Warn("", "with the account %s were obtained: %s. The next renewal registers another account, and only the certificate's key can revoke what is there",
				a.Name, strings.Join(uses, ", "))
		}
		yes, err := b.confirmed(ctx, fmt.Sprintf("Give up the account %s at %s for good, and delete its key?", a.Name, a.Server))
		if err != nil || !yes {
			return err
		}
		if err := e.UnregisterAccount(ctx, a); err != nil {
			return err
		}
		b.Terminal.AccountChanged(a, report.Unregistered)
		return nil
	})
}

// AccountShow shows the accounts that there are, or one of them, with what their
// CAs say of them. A CA that cannot be reached is no failure.
func AccountShow(ctx context.Context, b Base, r AccountRequest) error {
	s, err := b.reading()
	if err != nil {
		return err
	}
	accounts, broken := s.Accounts()
	if r.Name != "" || r.Server != "" {
		accounts = slices.DeleteFunc(accounts, func(a model.Account) bool {
			return r.Name != "" && a.Name != r.Name || r.Server != "" && a.Server != r.Server
		})
		if len(accounts) == 0 {
			return errors.Join(broken, b.noAccount(r))
		}
	}
	e := &run.Engine{Config: b.Config, Store: s, Terminal: b.Terminal, Version: b.Version, Now: b.now()}
	b.Terminal.Accounts(e.ShowAccounts(ctx, accounts))
	return broken
}

// withAccount opens the engine and finds the account.
func (b Base) withAccount(ctx context.Context, r AccountRequest, do func(*run.Engine, model.Account) error) (err error) {
	e, closeEngine, err := b.engine(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeEngine(ctx)) }()
	a, err := b.pick(e.Store, r)
	if err != nil {
		return err
	}
	return do(e, a)
}

// pick finds the one account that a request can mean.
func (b Base) pick(s *store.Store, r AccountRequest) (model.Account, error) {
	all, broken := s.Accounts()
	var fit []model.Account
	var names []string
	for _, a := range all {
		if (r.Name == "" || a.Name == r.Name) && (r.Server == "" || a.Server == r.Server) {
			fit = append(fit, a)
			names = append(names, a.Name)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) == 0:
		return model.Account{}, errors.Join(broken, b.noAccount(r))
	}
	return model.Account{}, UsageError(sdk.Hint(
		fmt.Errorf("there are several accounts: %s", strings.Join(names, ", ")), "name one with --account"))
}

func (b Base) noAccount(r AccountRequest) error {
	what := "there is no account"
	if r.Name != "" {
		what += " " + r.Name
	}
	if r.Server != "" {
		what += " at " + r.Server
	}
	return UsageError(sdk.Hint(errors.New(what), "see certwright account show, or make one with certwright account register"))
}

// confirmed asks before something that cannot be undone. With -n nothing is
// asked: who says so has decided.
func (b Base) confirmed(ctx context.Context, question string) (bool, error) {
	if !b.Terminal.Interactive {
		return true, nil
	}
	yes, err := b.Terminal.Confirm(ctx, question)
	if errors.Is(err, sdk.ErrNotInteractive) {
		return false, UsageError(sdk.Hint(fmt.Errorf("nobody is there to answer: %s", question), "give -n to do it without being asked"))
	}
	if err == nil && !yes {
		b.Terminal.Tell("", "nothing is changed")
	}
	return yes, err
}
