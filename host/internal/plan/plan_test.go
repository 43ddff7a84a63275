package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
)

var issued = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func names(list string) []model.Identifier {
	var out []model.Identifier
	for _, name := range strings.Fields(list) {
		value, wildcard := strings.CutPrefix(name, "*.")
		out = append(out, model.Identifier{Type: "dns", Value: value, Wildcard: wildcard})
	}
	return out
}

func request(name, list string, deploy ...string) model.Request {
	return model.Request{Name: name, Identifiers: names(list), KeyType: model.P256, Deploy: deploy}
}

// lineage has version 3, issued for a lifetime, and targets.
func lineage(r model.Request, life time.Duration, targets map[string]model.Target) model.Lineage {
	return model.Lineage{
		Name: r.Name, Request: r, Targets: targets,
		Version: &model.Version{
			Number: 3, NotBefore: issued, NotAfter: issued.Add(life), KeyType: r.KeyType, Names: r.Names(),
		},
	}
}

func TestDecide(t *testing.T) {
	r := request("a.example", "a.example b.example", "web", "mail")
	live := map[string]model.Target{"web": {Deployed: 3}, "mail": {Deployed: 3}}
	l := lineage(r, 90*day, live)
	due := issued.Add(60 * day)
	for name, tt := range map[string]struct {
		now      time.Duration // after the certificate was issued
		request  model.Request
		lineage  *model.Lineage // nil: l
		none     bool           // there is no lineage
		force    bool
		noDeploy bool
		deployTo []string
		damaged  string
		want     model.Item
	}{
		"there is none": {
			none: true, want: model.Item{Action: model.Issue, Why: "there is none yet", Deploy: []string{"web", "mail"}},
		},
		"there is none, certonly": {
			none: true, noDeploy: true, want: model.Item{Action: model.Issue, Why: "there is none yet"},
		},
		"never obtained": {
			lineage: &model.Lineage{Name: "a.example", Request: r},
			want:    model.Item{Action: model.Issue, Why: "there is none yet", Deploy: []string{"web", "mail"}},
		},
		"not due": {
			now: 10 * day, want: model.Item{Action: model.None, Why: "not due before 2026-04-30 12:00 UTC (it expires in 80 days)", Due: due},
		},
		"a moment before two thirds": {
			now: 60*day - 1, want: model.Item{Action: model.None, Why: "not due before 2026-04-30 12:00 UTC (it expires in 30 days)", Due: due},
		},
		"two thirds": {
			now: 60 * day, want: model.Item{Action: model.Renew, Why: "it expires in 30 days", Deploy: []string{"web", "mail"}},
		},
		"one day left": {
			now: 89 * day, want: model.Item{Action: model.Renew, Why: "it expires in 1 day", Deploy: []string{"web", "mail"}},
		},
		"hours left": {
			now: 90*day - 5*time.Hour, want: model.Item{Action: model.Renew, Why: "it expires in 5 hours", Deploy: []string{"web", "mail"}},
		},
		"expired": {
			now: 90 * day, want: model.Item{Action: model.Renew, Why: "it expired on 2026-05-30 12:00 UTC", Deploy: []string{"web", "mail"}},
		},
		"due, certonly": {
			now: 61 * day, noDeploy: true, want: model.Item{Action: model.Renew, Why: "it expires in 29 days"},
		},
		"short life, before the half": {
			now: 72*time.Hour - 1, lineage: with(lineage(r, 6*day, live)),
			want: model.Item{Action: model.None, Why: "not due before 2026-03-04 12:00 UTC (it expires in 3 days)", Due: issued.Add(3 * day)},
		},
		"short life, the half": {
			now: 72 * time.Hour, lineage: with(lineage(r, 6*day, live)),
			want: model.Item{Action: model.Renew, Why: "it expires in 3 days", Deploy: []string{"web", "mail"}},
		},
		"forced": {
			force: true, want: model.Item{Action: model.Renew, Why: "renewal is forced", Deploy: []string{"web", "mail"}},
		},
		"forced, certonly": {
			force: true, noDeploy: true, want: model.Item{Action: model.Renew, Why: "renewal is forced"},
		},
		"names changed": {
			request: request("a.example", "*.a.example a.example c.example", "web"),
			want:    model.Item{Action: model.Renew, Why: "its names changed: +*.a.example +c.example -b.example", Deploy: []string{"web"}},
		},
		"names in another order": {
			request: request("a.example", "b.example a.example", "web"),
			want:    model.Item{Action: model.None, Why: "not due before 2026-04-30 12:00 UTC (it expires in 90 days)", Due: due},
		},
		"key type changed": {
			request: func() model.Request {
				r := request("a.example", "a.example b.example")
				r.KeyType = model.RSA2048
				return r
			}(),
			want: model.Item{Action: model.Renew, Why: "its key type changes from p256 to rsa2048"},
		},
		"a target that never was": {
			request: request("a.example", "a.example b.example", "web", "new", "mail"),
			want:    model.Item{Action: model.Deploy, Why: "not yet deployed to new", Due: due, Deploy: []string{"new"}},
		},
		"a target that is behind and one that failed": {
			lineage: with(lineage(r, 90*day, map[string]model.Target{"web": {Deployed: 2}, "mail": {Deployed: 3, Error: "no"}})),
			want:    model.Item{Action: model.Deploy, Why: "not yet deployed to web, mail", Due: due, Deploy: []string{"web", "mail"}},
		},
		"a target that is behind, certonly": {
			noDeploy: true, lineage: with(lineage(r, 90*day, nil)),
			want: model.Item{Action: model.None, Why: "not due before 2026-04-30 12:00 UTC (it expires in 90 days)", Due: due},
		},
		"due and behind": {
			now: 60 * day, lineage: with(lineage(r, 90*day, map[string]model.Target{"web": {Deployed: 3}})),
			want: model.Item{Action: model.Renew, Why: "it expires in 30 days", Deploy: []string{"web", "mail"}},
		},
		"clock an hour behind": {
			now: -time.Hour, want: model.Item{Action: model.None, Why: "not due before 2026-04-30 12:00 UTC (it expires in 90 days)", Due: due},
		},
		"clock more than an hour behind": {
			now: -time.Hour - 1, force: true,
			want: model.Item{Action: model.None, Why: "the clock says 2026-03-01 10:59 UTC, more than an hour before the certificate was issued (2026-03-01 12:00 UTC): check the clock; nothing is renewed"},
		},
		"revoked": {
			lineage: with(func() model.Lineage {
				l := lineage(r, 90*day, live)
				l.Version.Revoked = &model.Revoked{At: issued.Add(day), Reason: "superseded"}
				return l
			}()),
			now: 2 * day,
			want: model.Item{
				Action: model.Renew, Why: "it was revoked on 2026-03-02 12:00 UTC (superseded)", Deploy: []string{"web", "mail"},
			},
		},
		"damaged": {
			now: day, damaged: "its files are damaged: no key",
			want: model.Item{Action: model.Renew, Why: "its files are damaged: no key", Deploy: []string{"web", "mail"}},
		},
		"damaged, install": {
			now: day, damaged: "no key", deployTo: []string{"other"},
			want: model.Item{Action: model.Deploy, Why: "asked for", Deploy: []string{"other"}},
		},
		"install": {
			now: 80 * day, deployTo: []string{"other"}, want: model.Item{Action: model.Deploy, Why: "asked for", Deploy: []string{"other"}},
		},
		"install of nothing": {
			none: true, deployTo: []string{"other"}, want: model.Item{Action: model.None, Why: "there is no certificate to deploy"},
		},
	} {
		in := Input{Now: issued.Add(tt.now), Force: tt.force, NoDeploy: tt.noDeploy, DeployTo: tt.deployTo, Lineages: map[string]model.Lineage{}}
		if tt.damaged != "" {
			in.Damaged = map[string]string{"a.example": tt.damaged}
		}
		have := l
		if tt.lineage != nil {
			have = *tt.lineage
		}
		tt.want.Request = tt.request
		if tt.request.Name == "" {
			tt.want.Request = r
		}
		in.Requests = []model.Request{tt.want.Request}
		if !tt.none {
			in.Lineages["a.example"] = have
			if have.Version != nil {
				tt.want.Version = 3
			}
		}
		if diff := cmp.Diff(model.Plan{Items: []model.Item{tt.want}}, Make(in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func with(l model.Lineage) *model.Lineage { return &l }

func TestDue(t *testing.T) {
	for life, want := range map[time.Duration]time.Duration{
		90 * day: 60 * day, 45 * day: 30 * day, 10 * day: 10 * day * 2 / 3, 10*day - time.Second: (10*day - time.Second) / 2, 6 * day: 3 * day, time.Hour: time.Hour / 2,
	} {
		got := Due(model.Version{NotBefore: issued, NotAfter: issued.Add(life)}).Sub(issued)
		if diff := got - want; diff < -time.Second || diff > time.Second {
			t.Errorf("a life of %s is due after %s, want %s", life, got, want)
		}
	}
}

// The same input in any order makes the same plan, and is not changed.
func TestDeterminism(t *testing.T) {
	in := Input{Now: issued.Add(10 * day), Lineages: map[string]model.Lineage{}}
	for _, name := range []string{"c.example", "a.example", "d.example", "b.example"} {
		r := request(name, name+" z."+name, "web", "mail")
		in.Requests = append(in.Requests, r)
		if name != "d.example" {
			in.Lineages[name] = lineage(r, 90*day, map[string]model.Target{"mail": {Deployed: 3}})
		}
	}
	before := slices.Clone(in.Requests)
	first := Make(in)
	var order []string
	for _, item := range first.Items {
		order = append(order, item.Request.Name)
	}
	if diff := cmp.Diff([]string{"a.example", "b.example", "c.example", "d.example"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, in.Requests); diff != "" {
		t.Errorf("the input was changed:\n%s", diff)
	}
	slices.Reverse(in.Requests)
	if diff := cmp.Diff(first, Make(in)); diff != "" {
		t.Errorf("another order of requests makes another plan:\n%s", diff)
	}
}

// What failed is tried again by the next run, then later each time; what the
// user took back is left alone.
func TestBehind(t *testing.T) {
	now := issued.Add(day)
	r := request("a.example", "a.example", "web", "mail")
	good := model.Target{Deployed: 3}
	failed := func(n int, retry time.Duration) model.Target {
		return model.Target{Deployed: 2, Error: "no:\n it is broken", Failures: n, Retry: now.Add(retry)}
	}
	together, enhanced := r, r
	together.AllOrNothing, enhanced.Enhance = true, []string{model.Redirect}
	const notDue = "not due before 2026-04-30 12:00 UTC (it expires in 89 days)"
	for name, tt := range map[string]struct {
		request   model.Request
		web, mail model.Target
		stale     []string
		noBackOff bool
		due       []string
		why       string
		at        time.Duration // after now, if it is not the renewal
	}{
		"failed once":           {request: r, web: good, mail: failed(1, 0), due: []string{"mail"}, why: "the deployment to mail has failed once"},
		"failed twice":          {request: r, web: good, mail: failed(2, time.Hour), why: "the deployment to mail has failed 2 times; the next try is at 2026-03-02 13:00 UTC (no)", at: time.Hour},
		"failed twice, its day": {request: r, web: good, mail: failed(2, 0), due: []string{"mail"}, why: "the deployment to mail has failed 2 times"},
		"failed twice, asked":   {request: r, web: good, mail: failed(2, time.Hour), noBackOff: true, due: []string{"mail"}, why: "the deployment to mail has failed 2 times"},
		"failed twice, changed": {request: r, web: good, mail: failed(2, time.Hour), stale: []string{"mail"}, due: []string{"mail"}, why: "the deployment to mail has failed 2 times"},
		"one waits, one does not": {
			request: r, web: model.Target{Deployed: 2}, mail: failed(2, time.Hour), due: []string{"web"},
			why: "not yet deployed to web; the deployment to mail has failed 2 times; the next try is at 2026-03-02 13:00 UTC (no)",
		},
		"both wait": {
			request: r, web: failed(3, 2*time.Hour), mail: failed(2, time.Hour), at: time.Hour,
			why: "the deployment to web has failed 3 times; the next try is at 2026-03-02 14:00 UTC (no); " +
				"the deployment to mail has failed 2 times; the next try is at 2026-03-02 13:00 UTC (no)",
		},
		"all wait for one": {
			request: together, web: failed(1, 0), mail: failed(2, time.Hour), at: time.Hour,
			why: "the deployment to web has failed once; the deployment to mail has failed 2 times; the next try is at 2026-03-02 13:00 UTC (no)",
		},
		"all": {request: together, web: failed(2, 0), mail: failed(2, 0), due: []string{"web", "mail"},
			why: "the deployment to web has failed 2 times; the deployment to mail has failed 2 times"},
		"rolled back":              {request: r, web: good, mail: model.Target{Deployed: 2, RolledBack: 3}, why: notDue + "; version 3 was rolled back at mail"},
		"an older was rolled back": {request: r, web: good, mail: model.Target{Deployed: 1, RolledBack: 2}, due: []string{"mail"}, why: "not yet deployed to mail"},
		"rolled back, changed":     {request: r, web: good, mail: model.Target{Deployed: 2, RolledBack: 3}, stale: []string{"mail"}, due: []string{"mail"}, why: "not yet deployed to mail"},
		"not enhanced":             {request: enhanced, web: good, mail: model.Target{Deployed: 3, Enhanced: map[string][]string{"redirect": {"a.example"}}}, due: []string{"web"}, why: "redirect not yet set at web"},
		"cannot be enhanced":       {request: enhanced, web: model.Target{Deployed: 3, Enhanced: map[string][]string{"redirect": {}}}, mail: model.Target{Deployed: 3, Enhanced: map[string][]string{"redirect": {"a.example"}}}, why: notDue},
		"enhanced for another":     {request: enhanced, web: model.Target{Deployed: 3, Enhanced: map[string][]string{"redirect": {}}}, mail: model.Target{Deployed: 3, Enhanced: map[string][]string{"redirect": {"b.example"}}}, due: []string{"mail"}, why: "redirect not yet set at mail"},
	} {
		in := Input{
			Now: now, BackOff: !tt.noBackOff, Requests: []model.Request{tt.request}, Stale: map[string][]string{"a.example": tt.stale},
			Lineages: map[string]model.Lineage{"a.example": lineage(r, 90*day, map[string]model.Target{"web": tt.web, "mail": tt.mail})},
		}
		want := model.Item{Request: tt.request, Version: 3, Action: model.None, Why: tt.why, Due: issued.Add(60 * day)}
		if len(tt.due) > 0 {
			want.Action, want.Deploy = model.Deploy, tt.due
		} else if tt.at > 0 {
			want.Due = now.Add(tt.at)
		}
		if diff := cmp.Diff(model.Plan{Items: []model.Item{want}}, Make(in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
