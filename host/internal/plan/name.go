package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/internal/model"
)

// Naming is how a command line's names meet the lineages that exist.
type Naming struct {
	// Request as the command line made it.
	Request model.Request
	// CertName says that the name was given, not derived.
	CertName bool
	// Expand agrees to a lineage getting more names.
	Expand bool
}

// Choice is the lineage that a request is for.
type Choice struct {
	Request model.Request
	// Question must be answered with yes before going on; empty: none. Refusal
	// is the error for those who cannot be asked.
	Question string
	Refusal  string
}

// Name finds the lineage: the one with the same names; one whose names are a
// part of those asked for, which then has to be expanded; the one of --cert-name
// whatever its names; or a new one, whose name gets -0001 if it is taken.
func Name(n Naming, lineages map[string]model.Lineage) Choice {
	r := n.Request
	if n.CertName {
		return named(n, lineages)
	}
	names := sortedNames(lineages)
	for _, name := range names {
		if model.SameNames(lineages[name].Request.Identifiers, r.Identifiers) {
			r.Name = name
			return Choice{Request: r}
		}
	}
	for _, name := range names {
		old := lineages[name].Request.Identifiers
		if len(old) > 0 && subset(old, r.Identifiers) {
			r.Name = name
			c := Choice{Request: r}
			if !n.Expand {
				c.Question = fmt.Sprintf("The certificate %s covers %s. Replace it by one that also covers %s?",
					name, list(old), list(missing(r.Identifiers, old)))
				c.Refusal = fmt.Sprintf("the certificate %s covers a part of these names; use --expand to add %s to it, or --cert-name for a separate one",
					name, list(missing(r.Identifiers, old)))
			}
			return c
		}
	}
	base := r.Name
	for i := 1; ; i++ {
		if _, taken := lineages[r.Name]; !taken {
			return Choice{Request: r}
		}
		r.Name = fmt.Sprintf("%s-%04d", base, i)
	}
}

func named(n Naming, lineages map[string]model.Lineage) Choice {
	r := n.Request
	old, exists := lineages[r.Name]
	if !exists || len(r.Identifiers) == 0 || model.SameNames(old.Request.Identifiers, r.Identifiers) ||
		n.Expand && subset(old.Request.Identifiers, r.Identifiers) {
		return Choice{Request: r}
	}
	change := strings.TrimPrefix(difference(old.Request.Names(), r.Names()), ":")
	return Choice{
		Request:  r,
		Question: fmt.Sprintf("The certificate %s covers other names. Change them (%s)?", r.Name, strings.TrimSpace(change)),
		Refusal: fmt.Sprintf("the certificate %s covers other names (%s); run without -n to confirm the change, or use another --cert-name",
			r.Name, strings.TrimSpace(change)),
	}
}

func subset(part, whole []model.Identifier) bool {
	return len(missing(part, whole)) == 0
}

// missing gives what of a is not in b.
func missing(a, b []model.Identifier) []model.Identifier {
	var out []model.Identifier
	for _, id := range a {
		if !slices.Contains(b, id) {
			out = append(out, id)
		}
	}
	return out
}

func list(ids []model.Identifier) string { return strings.Join(model.Names(ids), ", ") }

func sortedNames(lineages map[string]model.Lineage) []string {
	names := make([]string, 0, len(lineages))
	for name := range lineages {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
