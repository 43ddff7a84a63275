package run

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/deploy"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// edits is an installer of a server's configuration; "" has none.
func edits(name, config string) *member {
	m := &member{config: model.Instance{Name: name, Settings: map[string]any{"config": config}}}
	m.description.ExclusiveResources = []sdk.Resource{{Kind: "tcp", Value: sdk.Literal("80")}}
	if config != "" {
		m.description.ExclusiveResources = append(m.description.ExclusiveResources, sdk.Resource{Kind: "server", Value: sdk.FromSetting("config")})
	}
	return m
}

func crew(t *testing.T, members ...*member) *delivery {
	t.Helper()
	mine := map[string]*member{}
	for _, m := range members {
		mine[m.config.Name] = m
	}
	e := &Engine{Store: testStore(t, t.TempDir())}
	return &delivery{
		engine: e, team: &team{engine: e, byLineage: map[string]map[string]*member{"cert": mine}}, cert: deploy.Certificate{Lineage: "cert"},
	}
}

// Targets of one server go one after the other, all others side by side.
func TestLanes(t *testing.T) {
	d := crew(t, edits("a", "/etc/one"), edits("b", "/etc/two"), edits("c", "/etc/one/"), edits("d", ""), edits("e", ""))
	targets := []string{"a", "b", "c", "d", "e", "unknown"}
	if diff := cmp.Diff([][]int{{0, 2}, {1}, {3}, {4}, {5}}, d.lanes(targets)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	d.team.serial = true
	if diff := cmp.Diff([][]int{{0, 1, 2, 3, 4, 5}}, d.lanes(targets)); diff != "" {
		t.Errorf("serial (-want +got):\n%s", diff)
	}
}

// While a target is deployed to nobody else edits its server, be it to prove a
// name or to deploy another certificate; a port is not held.
func TestDeploymentExcludes(t *testing.T) {
	d := crew(t, edits("a", "/etc/one"), edits("b", "/etc/two"))
	release, err := d.hold(limited(t), []string{"b", "a"})
	if err != nil {
		t.Fatal(err)
	}
	order := d.engine.held()
	mustNotHold(t, order, "a", "server/etc/one")
	mustNotHold(t, order, "b", "server/etc/two")
	mustHold(t, order, "a", "tcp/80")()
	for _, name := range []string{"a", "b"} {
		var held *store.HeldError
		if _, err := d.engine.Store.TryLock(instanceLock(name), true); !errors.As(err, &held) {
			t.Errorf("another deployment to %s: %v", name, err)
		}
	}
	release()
	mustHold(t, order, "a", "server/etc/one", "server/etc/two")()
	// Who cannot have all has none.
	other := mustHold(t, order, "x", "server/etc/two")
	if _, err := d.hold(alreadyOver(t), []string{"a", "b"}); err == nil {
		t.Error("it holds what another one holds")
	}
	other()
	mustHold(t, order, "y", "server/etc/one")()
	unlock, err := d.engine.Store.TryLock(instanceLock("a"), true)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestApart(t *testing.T) {
	one, two, same := edits("a", "/etc/one"), edits("b", "/etc/two"), edits("c", "/etc/one")
	mine := map[string]*member{"a": one, "b": two, "c": same}
	item := model.Item{Action: model.Deploy, Request: model.Request{Name: "cert", AllOrNothing: true}, Deploy: []string{"a", "b"}}
	if err := apart(item, mine); err != nil {
		t.Error(err)
	}
	item.Deploy = append(item.Deploy, "c")
	if err := apart(item, mine); report.ExitCode(err) != report.Usage || err.Error() != "cert: the instances a and c both edit server/etc/one, so they cannot be deployed to all or nothing" {
		t.Errorf("%v", err)
	}
	item.Request.AllOrNothing = false
	if err := apart(item, mine); err != nil {
		t.Error(err)
	}
}

// What nobody could do is refused; who cannot is left out where another one can.
func TestCanEnhance(t *testing.T) {
	able, unable := edits("able", ""), edits("unable", "")
	able.description.Features = []string{sdk.FeatureEnhance}
	mine := map[string]*member{"able": able, "unable": unable}
	named := Want{Enhance: map[string]map[string][]string{"unable": {model.HSTS: {"a.test"}}}}
	for name, tt := range map[string]struct {
		deploy  []string
		enhance []string
		want    Want
		refused bool
	}{
		"nothing is wanted":             {[]string{"unable"}, nil, Want{}, false},
		"it can":                        {[]string{"able"}, []string{model.HSTS}, Want{}, false},
		"one of them can":               {[]string{"unable", "able"}, []string{model.HSTS}, Want{}, false},
		"it cannot":                     {[]string{"unable", "unable"}, []string{model.HSTS}, Want{}, true},
		"it cannot, the rest is done":   {[]string{"unable"}, []string{model.HSTS}, Want{}, false},
		"it cannot, and is to":          {[]string{"unable"}, []string{model.HSTS}, Want{MustEnhance: true}, true},
		"it cannot, and is named":       {[]string{"unable"}, nil, named, true},
		"one that cannot is named":      {[]string{"unable", "able"}, []string{model.HSTS}, named, true},
		"one that can is deployed only": {[]string{"able"}, nil, named, false},
	} {
		item := model.Item{Action: model.Deploy, Deploy: tt.deploy, Request: model.Request{Name: "cert", Deploy: []string{"able", "unable"}, Enhance: tt.enhance}}
		if err := canEnhance(item, tt.want, mine); (err != nil) != tt.refused || err != nil && report.ExitCode(err) != report.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}
