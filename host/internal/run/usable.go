package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/report"
)

// able takes out of a plan what could not be done because a plugin that it needs
// cannot be used, as far as that is known without starting one. No secret is
// fetched for that.
func (e *Engine) able(ctx context.Context, p model.Plan, lineages map[string]model.Lineage) (model.Plan, error) {
	var errs []error
	items := p.Items
	p.Items = nil
	for _, item := range items {
		unable := dedupe(e.unable(ctx, item, lineages[item.Request.Name]))
		if errs = append(errs, unable...); len(unable) == 0 {
			p.Items = append(p.Items, item)
		}
	}
	if err := errors.Join(dedupe(errs)...); err != nil {
		return p, &report.UsageError{Err: err}
	}
	return p, nil
}

// unable lists what is wrong with the instances that an item needs.
func (e *Engine) unable(ctx context.Context, item model.Item, l model.Lineage) []error {
	var errs []error
	mine := map[string]*member{}
	for _, use := range uses(item) {
		configured, bound, d, err := e.bind(ctx, item.Request, l, use.name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m := &member{config: bound, description: d, pos: configured.Pos, secrets: given(bound)}
		errs = append(errs, SettingErrors(configured, d, bound.Given(), slices.Sorted(maps.Keys(bound.Secrets)))...)
		errs = append(errs, hasRole(item.Request.Name, use, m), e.startable(m))
		mine[use.name] = m
	}
	errs = append(errs, noContention(item, mine), apart(item, mine))
	if item.Action == model.Issue || item.Action == model.Renew {
		for _, id := range item.Request.Identifiers {
			errs = append(errs, answerable(item.Request, id, mine))
		}
	}
	return errs
}

// given stands for the secrets of an instance where what they are does not matter.
func given(i model.Instance) map[string][]byte {
	out := map[string][]byte{}
	for name := range i.Secrets {
		out[name] = nil
	}
	return out
}

// hasRole refuses a plugin that cannot be what it is used as.
func hasRole(lineage string, u use, m *member) error {
	if slices.Contains(m.description.Roles, u.role) {
		return nil
	}
	return &report.UsageError{Err: fmt.Errorf("%s: the plugin %s of instance %s is no %s, it is %s",
		lineage, m.config.Plugin, u.name, u.role, list(m.description.Roles))}
}

// startable refuses an instance that cannot have the sandbox, or run as the user,
// that it is configured with.
func (e *Engine) startable(m *member) error {
	_, err := e.Plugins.Sandbox(m.description, m.spec())
	if err != nil && m.pos.File != "" {
		err = fmt.Errorf("%s: %w", m.pos, err)
	}
	if err != nil {
		return &report.UsageError{Err: err}
	}
	return nil
}
