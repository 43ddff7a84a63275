package order

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// begin makes an order, or takes up the one that an earlier run began.
func begin(ctx context.Context, d Deps, r model.Request, ids []model.Identifier) (model.Order, error) {
	if d.Resume != "" {
		o, err := d.CA.Order(ctx, d.Resume)
		if err == nil && o.Status != model.StatusInvalid && model.SameNames(o.Identifiers, ids) {
			d.Story.Tell(r.Name, "going on with the order of an interrupted run")
			return o, nil
		}
		if err != nil && !gone(err) {
			return o, fmt.Errorf("ask for the order of an interrupted run: %w", err)
		}
		if err := d.Keys.DropOrder(r.Name, ID(d.Resume)); err != nil {
			return o, fmt.Errorf("forget the order of an interrupted run: %w", err)
		}
	}
	n, err := newOrder(ctx, d, r, ids)
	if err != nil {
		return model.Order{}, err
	}
	o, err := d.CA.NewOrder(ctx, n)
	var ca *model.ACMEError
	if n.Replaces != "" && errors.As(err, &ca) && ca.Short() != "rateLimited" {
		// RFC 9773 section 5: what is replaced is a courtesy. Another order may
		// have replaced it, or the CA does not know it; this one is new then.
		d.Story.Tell(r.Name, "the CA does not take it as a renewal, so it is a new order: %v", err)
		n.Replaces = ""
		o, err = d.CA.NewOrder(ctx, n)
	}
	if err == nil && d.DryRun {
		return anew(ctx, d, n, o)
	}
	return o, err
}

func newOrder(ctx context.Context, d Deps, r model.Request, ids []model.Identifier) (n model.NewOrder, err error) {
	n = model.NewOrder{Identifiers: ids, Replaces: d.Replaces}
	if n.NotBefore, err = model.ParseInstant(r.NotBefore, d.Now()); err != nil {
		return n, err
	}
	if n.NotAfter, err = model.ParseInstant(r.NotAfter, d.Now()); err != nil {
		return n, err
	}
	n.Profile, err = profile(ctx, d, r)
	return n, err
}

// profile picks the profile to ask for: one that is required must be offered,
// one that is preferred falls back to the CA's default.
func profile(ctx context.Context, d Deps, r model.Request) (string, error) {
	name := r.RequiredProfile + r.PreferredProfile // at most one is set
	if name == "" {
		return "", nil
	}
	directory, err := d.CA.Directory(ctx)
	if err != nil {
		return "", err
	}
	if _, offered := directory.Profiles[name]; offered {
		return name, nil
	}
	if r.RequiredProfile == "" {
		d.Story.Tell(r.Name, "the CA does not offer the profile %s; its default is used", name)
		return "", nil
	}
	offered := "none"
	if len(directory.Profiles) > 0 {
		var names []string
		for p := range directory.Profiles {
			names = append(names, p)
		}
		slices.Sort(names)
		offered = strings.Join(names, ", ")
	}
	return "", sdk.Hint(fmt.Errorf("the CA %s does not offer the profile %s; it offers: %s", r.Server, name, offered),
		"choose another --required-profile, or use --preferred-profile")
}

// anew gives up the authorizations that are valid from before, and orders once
// more, so that every challenge is run.
func anew(ctx context.Context, d Deps, n model.NewOrder, o model.Order) (model.Order, error) {
	again := false
	for _, url := range o.Authorizations {
		a, err := d.CA.Authorization(ctx, url)
		if err != nil {
			return o, err
		}
		if a.Status != model.StatusValid {
			continue
		}
		if err := d.CA.DeactivateAuthorization(ctx, url); err != nil {
			return o, fmt.Errorf("give up the authorization of %s: %w", a.Identifier, err)
		}
		again = true
	}
	if !again {
		return o, nil
	}
	return d.CA.NewOrder(ctx, n)
}
