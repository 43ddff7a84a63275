package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

// lag is what there is to do at the targets of one lineage, without a new
// certificate.
type lag struct {
	// due are deployed to now.
	due []string
	// waiting have failed lately; next is when the first is tried again.
	waiting []string
	next    time.Time
	// fresh are targets without any failure, reasons what is to be said of others.
	fresh   []string
	reasons []string
}

// behind finds the targets that do not serve what they should.
func behind(in Input, l model.Lineage, r model.Request) lag {
	var g lag
	for _, name := range r.Deploy {
		t, known := l.Targets[name]
		stale := slices.Contains(in.Stale[r.Name], name)
		switch {
		case l.Version == nil:
			g.due, g.fresh = append(g.due, name), append(g.fresh, name)
		case t.RolledBack == l.Version.Number && !stale:
			g.reasons = append(g.reasons, fmt.Sprintf("version %d was rolled back at %s", t.RolledBack, name))
		case t.Error != "" && t.Failures > 0:
			g.failed(in, name, t, stale)
		case !known || stale || t.Deployed != l.Version.Number || t.Error != "":
			g.due, g.fresh = append(g.due, name), append(g.fresh, name)
		default:
			if lacking := lacks(t, r.Enhance, model.Names(Remaining(r.Identifiers, l.Skipped))); lacking != "" {
				g.due = append(g.due, name)
				g.reasons = append(g.reasons, fmt.Sprintf("%s not yet set at %s", lacking, name))
			}
		}
	}
	if r.AllOrNothing && len(g.waiting) > 0 {
		g.waiting, g.due = append(g.waiting, g.due...), nil
		slices.Sort(g.waiting)
	}
	return g
}

func (g *lag) failed(in Input, name string, t model.Target, stale bool) {
	failed := fmt.Sprintf("the deployment to %s has failed %s", name, times(t.Failures))
	if !in.BackOff || stale || !in.Now.Before(t.Retry) {
		g.due = append(g.due, name)
		g.reasons = append(g.reasons, failed)
		return
	}
	g.waiting = append(g.waiting, name)
	g.reasons = append(g.reasons, fmt.Sprintf("%s; the next try is at %s (%s)", failed, date(t.Retry), firstLine(t.Error)))
	if g.next.IsZero() || t.Retry.Before(g.next) {
		g.next = t.Retry
	}
}

// lacks names the enhancements that are still to be set.
func lacks(t model.Target, enhancements, names []string) string {
	var out []string
	for _, enhancement := range enhancements {
		if t.Lacks(enhancement, names) {
			out = append(out, enhancement)
		}
	}
	return strings.Join(out, " and ")
}

// why says it for a person.
func (g *lag) why() string {
	reasons := g.reasons
	if len(g.fresh) > 0 {
		reasons = append([]string{"not yet deployed to " + strings.Join(g.fresh, ", ")}, reasons...)
	}
	return strings.Join(reasons, "; ")
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimRight(first, " :")
}
