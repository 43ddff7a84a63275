package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// Preview gives the unified diff of what a deployment would write at a target.
// Nothing is changed, so there is no journal.
func Preview(ctx context.Context, d Deps, t Target, c Certificate) (string, error) {
	w := &work{Deps: d, target: t, cert: c, run: d.RunID}
	var diffs []string
	for _, id := range c.Identifiers {
		deployment := w.deployment(id.String())
		deployment.DryRun = true
		r := &previewed{Reporter: w.reporter()}
		if err := w.target.Deploy(w.operation(ctx, "preview "+id.String()), deployment, r); err != nil {
			return "", fmt.Errorf("%s: %s: %w", w.name(), id, err)
		}
		if r.err != nil {
			return "", fmt.Errorf("%s: %s: %w", w.name(), id, r.err)
		}
		// What is not for one name alone is told for each.
		for _, diff := range r.diffs {
			if diff != "" && !slices.Contains(diffs, diff) {
				diffs = append(diffs, diff)
			}
		}
	}
	return strings.Join(diffs, ""), nil
}

// previewed collects the differences.
type previewed struct {
	sdk.Reporter
	diffs []string
	err   error
}

// Result implements sdk.Reporter.
func (p *previewed) Result(r sdk.Result) {
	p.diffs = append(p.diffs, r.Diff)
	if r.Err != nil {
		p.err = r.Err
	}
}
