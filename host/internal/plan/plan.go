// Package plan decides what has to be done and why. It is pure: no I/O, and the
// clock is handed in.
package plan

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

// Input is all that a plan is made of.
type Input struct {
	Now time.Time
	// Requests are the certificates that are wanted.
	Requests []model.Request
	// Stale are targets whose settings are other ones than they were deployed
	// with, by lineage.
	Stale map[string][]string
	// Lineages are those that exist, by name.
	Lineages map[string]model.Lineage
	// Damaged says what is wrong with the files of lineages that only another
	// certificate mends.
	Damaged map[string]string
	// BackOff leaves alone what has failed lately (renew by a timer).
	BackOff bool
	// Force renews what is not due.
	Force bool
	// NoDeploy plans no deployment (certonly).
	NoDeploy bool
	// DeployTo plans deployments to these targets and nothing else (install).
	DeployTo []string
}

// Make gives one item for each request, sorted by name.
func Make(in Input) model.Plan {
	p := model.Plan{Items: make([]model.Item, 0, len(in.Requests))}
	for _, r := range in.Requests {
		item := decide(in, r)
		item.Request = r
		if v := in.Lineages[r.Name].Version; v != nil {
			item.Version = v.Number
		}
		p.Items = append(p.Items, item)
	}
	sort.Slice(p.Items, func(a, b int) bool { return p.Items[a].Request.Name < p.Items[b].Request.Name })
	return p
}

func decide(in Input, r model.Request) model.Item {
	lineage, known := in.Lineages[r.Name]
	v := lineage.Version
	all, targets := r.Deploy, behind(in, lineage, r)
	if in.NoDeploy {
		all, targets = nil, lag{}
	}
	switch {
	case len(in.DeployTo) > 0 && v == nil:
		return model.Item{Action: model.None, Why: "there is no certificate to deploy"}
	case len(in.DeployTo) > 0:
		return model.Item{Action: model.Deploy, Why: "asked for", Deploy: in.DeployTo}
	case !known || v == nil:
		return model.Item{Action: model.Issue, Why: "there is none yet", Deploy: all}
	case clockBehind(in.Now, v):
		return model.Item{Action: model.None, Why: fmt.Sprintf(
			"the clock says %s, more than an hour before the certificate was issued (%s): check the clock; nothing is renewed",
			date(in.Now), date(v.NotBefore))}
	case in.Damaged[r.Name] != "":
		return model.Item{Action: model.Renew, Why: in.Damaged[r.Name], Deploy: all}
	case in.Force:
		return model.Item{Action: model.Renew, Why: "renewal is forced", Deploy: all}
	}
	why, due := renewal(in.Now, lineage, r)
	if !in.Now.Before(due) {
		if next := retry(lineage.Failures); in.BackOff && in.Now.Before(next) {
			return model.Item{Action: model.None, Due: next, Why: fmt.Sprintf("%s, but it has failed %s; the next try is at %s (%s)",
				why, times(lineage.Failures.Count), date(next), lineage.Failures.Error)}
		}
		return model.Item{Action: model.Renew, Why: why, Deploy: all}
	}
	if len(targets.due) > 0 {
		return model.Item{Action: model.Deploy, Why: targets.why(), Due: due, Deploy: targets.due}
	}
	if len(targets.waiting) > 0 {
		return model.Item{Action: model.None, Why: targets.why(), Due: earlier(due, targets.next)}
	}
	if why = fmt.Sprintf("not due before %s (%s)", date(due), why); targets.why() != "" {
		why += "; " + targets.why()
	}
	return model.Item{Action: model.None, Why: why, Due: due}
}

// renewal says when a lineage is due, and why. What differs from what is wanted
// is due at once. The CA's word (ARI) counts more than the lifetime.
func renewal(now time.Time, l model.Lineage, r model.Request) (why string, due time.Time) {
	v := *l.Version
	if v.Revoked != nil {
		return fmt.Sprintf("it was revoked on %s (%s)", date(v.Revoked.At), v.Revoked.Reason), now
	}
	if why := Changed(l, r); why != "" {
		return why, now
	}
	if a := l.ARI; a != nil && a.Version == v.Number && !a.At.IsZero() {
		why := "the CA suggests to renew from " + date(a.Start)
		if a.Explanation != "" {
			why += ", see " + a.Explanation
		}
		return why + "; " + expiry(now, v), a.At
	}
	return expiry(now, v), Due(v)
}

// longest wait after failures: a renewal is tried at least twice a day.
const longest = 12 * time.Hour

// retry is when to try again after failures: half an hour after the first, then
// twice as long each time.
func retry(f *model.Failures) time.Time {
	if f == nil || f.Count == 0 {
		return time.Time{}
	}
	return f.Last.Add(Wait(f.Count))
}

// Wait is how long to wait after so many failures.
func Wait(failures int) time.Duration {
	if failures < 1 {
		return 0
	}
	return min(30*time.Minute<<min(failures-1, 10), longest)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// Due is when a certificate should be renewed: after two thirds of its
// lifetime, or half of it if it lives less than ten days.
func Due(v model.Version) time.Time {
	life := v.NotAfter.Sub(v.NotBefore)
	if life < 10*24*time.Hour {
		return v.NotBefore.Add(life / 2)
	}
	return v.NotBefore.Add(life / 3 * 2)
}

// clockBehind says that now is so early that the clock must be wrong.
func clockBehind(now time.Time, v *model.Version) bool {
	return now.Before(v.NotBefore.Add(-time.Hour))
}

// Changed says what differs between what is wanted and what there is; empty:
// nothing.
func Changed(l model.Lineage, r model.Request) string {
	have := slices.Sorted(slices.Values(l.Version.Names))
	want := slices.Sorted(slices.Values(model.Names(Remaining(r.Identifiers, l.Skipped))))
	if l.HookCSR {
		// The names and the key are what the hook has put into its request.
		have = slices.Sorted(slices.Values(model.Names(Remaining(l.Request.Identifiers, l.Skipped))))
	}
	if !slices.Equal(have, want) {
		return "its names changed" + difference(have, want)
	}
	if l.Request.Server != r.Server {
		return fmt.Sprintf("its CA changes from %s to %s", l.Request.Server, r.Server)
	}
	if !bytes.Equal(l.Request.CSR, r.CSR) {
		return "its certificate request changed"
	}
	if len(r.CSR) == 0 && !l.HookCSR && l.Version.KeyType != r.KeyType {
		return fmt.Sprintf("its key type changes from %s to %s", l.Version.KeyType, r.KeyType)
	}
	return ""
}

// Remaining gives the identifiers without those that are skipped.
func Remaining(ids, skipped []model.Identifier) []model.Identifier {
	return slices.DeleteFunc(slices.Clone(ids), func(id model.Identifier) bool { return slices.Contains(skipped, id) })
}

func difference(have, want []string) string {
	var b strings.Builder
	for _, n := range want {
		if !slices.Contains(have, n) {
			b.WriteString(" +" + n)
		}
	}
	for _, n := range have {
		if !slices.Contains(want, n) {
			b.WriteString(" -" + n)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return ":" + b.String()
}

func expiry(now time.Time, v model.Version) string {
	if !now.Before(v.NotAfter) {
		return "it expired on " + date(v.NotAfter)
	}
	days := int(v.NotAfter.Sub(now).Hours() / 24)
	switch days {
	case 0:
		return fmt.Sprintf("it expires in %d hours", int(v.NotAfter.Sub(now).Hours()))
	case 1:
		return "it expires in 1 day"
	}
	return fmt.Sprintf("it expires in %d days", days)
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
