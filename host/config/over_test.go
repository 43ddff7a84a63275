package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
)

func TestOver(t *testing.T) {
	before := model.Instance{
		Name: "dns-a", Plugin: "rfc2136", Timeout: time.Minute,
		Settings: map[string]any{"server": "192.0.2.1", "ttl": float64(60)},
		Secrets:  map[string]model.SecretRef{"tsig_secret": {File: "/run/key"}, "env.A": {Env: "TOKEN"}},
	}
	cfg := &Config{}
	if err := cfg.Apply(Args{Sets: []string{"dns-a.server=192.0.2.2"}}); err != nil {
		t.Fatal(err)
	}
	i, _ := cfg.Instance("dns-a")
	got := i.Over(before)
	server := "192.0.2.2"
	want := Instance{Name: "dns-a", Plugin: "rfc2136", Timeout: time.Minute, Partial: true, Settings: map[string]Value{
		"server": {Text: &server}, "ttl": {Any: float64(60)},
		"tsig_secret": {Any: map[string]any{"file": "/run/key"}}, "env.A": {Any: map[string]any{"env": "TOKEN"}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(i.Settings) != 1 {
		t.Errorf("the instance itself was changed: %v", i.Settings)
	}
	if got.Same(before) {
		t.Error("another server is the same")
	}
	same := Instance{Name: "dns-a", Plugin: "dns-a", Partial: true, Settings: map[string]Value{"server": {Any: "192.0.2.1"}}}
	if !same.Over(before).Same(before) {
		t.Error("what is said again is another one")
	}

	// Another plugin, and one that a file configures, is what is said of it.
	for name, i := range map[string]Instance{
		"another plugin": {Name: "dns-a", Plugin: "dnsapi", Partial: true, Settings: map[string]Value{}},
		"from a file":    {Name: "dns-a", Plugin: "rfc2136", Settings: map[string]Value{}},
		"never heard of": {},
	} {
		if got := i.Over(before); len(got.Settings) > 0 {
			t.Errorf("%s: %v", name, got.Settings)
		}
	}
	if err := cfg.Apply(Args{Ordered: []Arg{{Kind: ArgWebroot, Value: "/srv"}}}); err != nil {
		t.Fatal(err)
	}
	if w, _ := cfg.Instance("webroot"); w.Partial {
		t.Error("-w says everything")
	}
}
