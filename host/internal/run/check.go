package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/sdk"
)

// Described is an instance with what its plugin says of itself.
type Described struct {
	Instance    model.Instance
	Description sdk.Description
}

// CheckRequest finds what would be refused when the certificate is obtained and
// deployed, as far as that can be known without starting anything. instances
// are those that the request uses; what is missing there has been reported.
func CheckRequest(r model.Request, instances map[string]Described) []error {
	var errs []error
	item := model.Item{Request: r, Action: model.Issue, Deploy: r.Deploy}
	mine := map[string]*member{}
	for _, use := range uses(item) {
		i, known := instances[use.name]
		switch {
		case !known:
		case !slices.Contains(i.Description.Roles, use.role):
			errs = append(errs, fmt.Errorf("%s: the plugin %s of instance %s is no %s, it is %s",
				r.Name, i.Instance.Plugin, use.name, use.role, list(i.Description.Roles)))
		default:
			mine[use.name] = &member{config: i.Instance, description: i.Description}
		}
	}
	errs = append(errs, noContention(item, mine), everyNameHasOne(r))
	for _, id := range r.Identifiers {
		errs = append(errs, answerable(r, id, mine))
	}
	return dedupe(errs)
}

// answerable refuses a name for which no challenge fits, whatever the CA offers.
func answerable(r model.Request, id model.Identifier, mine map[string]*member) error {
	var tried []string
	for _, way := range r.Ways(id) {
		for _, name := range way {
			m := mine[name]
			if m == nil || len(challengesOf(m.description, id, r.Preferred)) > 0 {
				return nil // or it is wrong in another way
			}
			tried = append(tried, name)
		}
	}
	if len(tried) == 0 {
		return nil // nobody is named
	}
	err := fmt.Errorf("%s: %s cannot prove %s", r.Name, strings.Join(tried, " and "), id)
	switch {
	case id.Wildcard:
		return sdk.Hint(err, "name an instance for it that changes DNS: only dns-01 proves a wildcard")
	case len(r.Preferred) > 0:
		return sdk.Hint(err, "leave preferred_challenges out, or name an instance that answers one of %s", strings.Join(r.Preferred, ", "))
	}
	return sdk.Hint(err, "name an instance that answers for identifiers of type %s, see certwright plugins describe", id.Type)
}

// challengesOf lists the types by which a plugin can prove an identifier.
func challengesOf(d sdk.Description, id model.Identifier, preferred []string) []string {
	var out []string
	for _, t := range d.ChallengeTypes {
		kinds := t.IdentifierTypes
		if len(kinds) == 0 {
			kinds = []string{"dns"}
		}
		if !slices.Contains(kinds, id.Type) || id.Wildcard && !strings.HasPrefix(t.Type, "dns-") {
			continue
		}
		if len(preferred) == 0 || slices.Contains(preferred, t.Type) {
			out = append(out, t.Type)
		}
	}
	return out
}

// NoPlugin says why an instance that a certificate names has no plugin. For one
// that nobody configured it is not the plugin but the instance that is missing.
func NoPlugin(c *config.Config, certificate, instance string, err error) error {
	var missing *pluginhost.NotFoundError
	if _, configured := c.Instance(instance); !configured && errors.As(err, &missing) {
		err = sdk.Hint(fmt.Errorf("no instance is named %s, and there is no plugin of that name: %s", instance, missing.Where()), "%s", missing.Hint())
	} else {
		err = fmt.Errorf("instance %s: %w", instance, err)
	}
	if place := c.Place(certificate); place.Line > 0 {
		return &report.UsageError{Err: fmt.Errorf("%s: certificate %s: %w", place, certificate, err)}
	}
	return &report.UsageError{Err: fmt.Errorf("%s: %w", certificate, err)}
}
