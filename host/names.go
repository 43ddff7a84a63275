package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/run"
	"github.com/certwright/certwright/sdk"
)

// served are the names that installers serve and that a CA may issue for, with
// where each is configured; in the order of the installers.
func served(ctx context.Context, e *run.Engine, installers []string) (names []string, where map[string]string, err error) {
	where = map[string]string{}
	var errs []error
	for _, installer := range installers {
		sites, err := e.Sites(ctx, installer)
		if errors.Is(err, run.ErrNoNames) {
			continue
		}
		errs = append(errs, err)
		for _, site := range sites {
			for _, name := range site.Names {
				id, err := config.ParseIdentifier(name)
				if err != nil || id.Type != "dns" || !strings.Contains(id.Value, ".") {
					continue // such as _ or localhost
				}
				if _, known := where[id.String()]; !known {
					names, where[id.String()] = append(names, id.String()), site.File
				}
			}
		}
	}
	return names, where, errors.Join(errs...)
}

// chosen asks the user which of the names that the installers serve are to be in
// a certificate.
func (b Base) chosen(ctx context.Context, e *run.Engine, a config.Args) (config.Args, error) {
	names, where, err := served(ctx, e, a.Installers)
	if err != nil {
		return a, err
	}
	if len(names) == 0 {
		return a, UsageError(sdk.Hint(
			fmt.Errorf("no name is given, and %s names none that a CA would issue for", strings.Join(a.Installers, ", ")), "give names with -d"))
	}
	options := make([]string, len(names))
	for i, name := range names {
		if options[i] = name; where[name] != "" {
			options[i] += " (" + where[name] + ")"
		}
	}
	picked, err := b.Terminal.Choose(ctx, "Which names shall the certificate have?", options)
	if errors.Is(err, sdk.ErrNotInteractive) {
		return a, UsageError(sdk.Hint(
			fmt.Errorf("which names are wanted is not said; %s serves %s", strings.Join(a.Installers, ", "), strings.Join(names, ", ")),
			"write them down: certwright run -i %s -a INSTANCE -d %s", strings.Join(a.Installers, " -i "), strings.Join(names, " -d ")))
	}
	if err != nil {
		return a, fmt.Errorf("ask for the names: %w", err)
	}
	for _, i := range picked {
		a.Ordered = append(a.Ordered, config.Arg{Kind: config.ArgDomain, Value: names[i]})
	}
	return a, nil
}

// chosenLineages asks the user which certificates are to be deployed, of those
// that have a name that the installers serve.
func (b Base) chosenLineages(ctx context.Context, e *run.Engine, installers []string, lineages map[string]model.Lineage) ([]string, error) {
	names, _, err := served(ctx, e, installers)
	if err != nil {
		return nil, err
	}
	var fit, options []string
	for _, lineage := range sorted(lineages) {
		if covered := covers(lineages[lineage], names); len(covered) > 0 {
			fit = append(fit, lineage)
			options = append(options, fmt.Sprintf("%s, for %s", lineage, strings.Join(covered, ", ")))
		}
	}
	if len(fit) == 0 {
		return nil, UsageError(sdk.Hint(
			fmt.Errorf("no certificate is named, and none has a name that %s serves", strings.Join(installers, ", ")),
			"name one with --cert-name, see certwright certificates"))
	}
	picked, err := b.Terminal.Choose(ctx, "Which certificates shall be deployed?", options)
	if errors.Is(err, sdk.ErrNotInteractive) {
		return nil, UsageError(sdk.Hint(
			fmt.Errorf("no certificate is named; for names that %s serves there are %s", strings.Join(installers, ", "), strings.Join(fit, ", ")),
			"name one: certwright install -i %s --cert-name %s", strings.Join(installers, " -i "), fit[0]))
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the certificates: %w", err)
	}
	var out []string
	for _, i := range picked {
		out = append(out, fit[i])
	}
	return out, nil
}

// covers gives those of the names that a certificate is good for.
func covers(l model.Lineage, names []string) []string {
	if l.Version == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, parent, _ := strings.Cut(name, ".")
		return !slices.Contains(l.Version.Names, name) && !slices.Contains(l.Version.Names, "*."+parent)
	})
}

func sorted(lineages map[string]model.Lineage) []string {
	var out []string
	for name := range lineages {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
