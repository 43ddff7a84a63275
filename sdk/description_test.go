package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

func good() sdk.Plugin {
	return sdk.Plugin{
		Name: "good", Version: "1", Settings: &struct {
			Port int `setting:"port"`
		}{},
		Authenticator: sdk.OneByOne(each{}), ChallengeTypes: []string{sdk.HTTP01, sdk.DNS01},
		Permissions: sdk.Permissions{BindTCP: []sdk.Value{sdk.FromSetting("port"), sdk.Literal("80")}},
	}
}

func TestDescription(t *testing.T) {
	want := sdk.Description{
		Protocol: []int{1}, Name: "good", Version: "1", Roles: []string{"authenticator"},
		Settings: []sdk.Setting{{Name: "port", Type: sdk.IntSetting}}, DNS: sdk.HostDNS, Env: sdk.MinimalEnv,
		ChallengeTypes: []sdk.ChallengeType{
			{Type: "http-01", IdentifierTypes: []string{"dns", "ip"}}, {Type: "dns-01", IdentifierTypes: []string{"dns"}},
		},
		Permissions: sdk.Permissions{Key: sdk.KeyPath, BindTCP: []sdk.Value{sdk.FromSetting("port"), sdk.Literal("80")}},
	}
	got, err := good().Description()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	// It survives being printed and read.
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var read sdk.Description
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, read); diff != "" {
		t.Errorf("%s\n%s", text, diff)
	}
	if !strings.Contains(string(text), `"bind_tcp":[{"setting":"port"},"80"]`) {
		t.Errorf("values have another form: %s", text)
	}
	for _, text := range []string{`1`, `{}`, `{"setting":1}`, `["80"]`} {
		if err := json.Unmarshal([]byte(text), &sdk.Value{}); err == nil {
			t.Errorf("the value %s is accepted", text)
		}
	}
}

// dnsTypes says whether the types are those of DNS, dns-01 preferred.
func dnsTypes(d sdk.Description) bool {
	return len(d.ChallengeTypes) == 2 && d.ChallengeTypes[0].Type == sdk.DNS01 && d.ChallengeTypes[1].Type == sdk.DNSAccount01
}

func TestDescriptionOfDNS(t *testing.T) {
	p := sdk.Plugin{Name: "dns", Version: "1", Authenticator: sdk.DNS(nil, nil)}
	d, err := p.Description()
	if err != nil || d.DNS != sdk.HostDNS || !dnsTypes(d) {
		t.Errorf("sdk.DNS: %+v, %v", d, err)
	}
}

func TestFeaturesAreFound(t *testing.T) {
	e := &everything{}
	p := sdk.Plugin{
		Name: "all", Version: "1", Authenticator: e, Installer: e, Hook: e,
		ChallengeTypes: []string{"http-01"}, HookEvents: []string{"pre"},
	}
	d, err := p.Description()
	want := []string{"prefer", "names", "config_test", "rollback", "enhance", "health"}
	if diff := cmp.Diff(want, d.Features); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	// Through OneByOne too.
	p = good()
	p.Authenticator = sdk.OneByOne(preferring{})
	d, err = p.Description()
	if diff := cmp.Diff([]string{"prefer", "health"}, d.Features); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

type preferring struct{ each }

func (preferring) Prefer(context.Context, []sdk.Identifier) ([]sdk.Preference, error) {
	return nil, nil
}
func (preferring) Health(context.Context, bool) error { return nil }

func TestDescriptionsThatCannotBe(t *testing.T) {
	for says, change := range map[string]func(*sdk.Plugin){
		`plugin name "Good"`:      func(p *sdk.Plugin) { p.Name = "Good" },
		`plugin name ""`:          func(p *sdk.Plugin) { p.Name = "" },
		"no version":              func(p *sdk.Plugin) { p.Version = "" },
		"no role":                 func(p *sdk.Plugin) { p.Authenticator = nil },
		"names no ChallengeTypes": func(p *sdk.Plugin) { p.ChallengeTypes = nil },
		"names no HookEvents":     func(p *sdk.Plugin) { p.Hook = &everything{} },
		"pointer to a struct":     func(p *sdk.Plugin) { p.Settings = 1 },
		`setting "nope", which`:   func(p *sdk.Plugin) { p.Permissions.Read = []sdk.Value{sdk.FromSetting("nope")} },
		`setting "gone", which`: func(p *sdk.Plugin) {
			p.ExclusiveResources = []sdk.Resource{{Kind: "tcp", Value: sdk.FromSetting("gone")}}
		},
		`a URL or "*", not "a.b"`: func(p *sdk.Plugin) { p.Permissions.ConnectTCP = []sdk.Value{sdk.Literal("a.b")} },
		"must say why":            func(p *sdk.Plugin) { p.Permissions.Unconfined = true },
		"an absolute path, not \"etc/x\"": func(p *sdk.Plugin) {
			p.Permissions.Read = []sdk.Value{sdk.Literal("etc/x")}
		},
		`setting "nothing", which`: func(p *sdk.Plugin) {
			p.Permissions.UnconfinedBy, p.Permissions.Reason = []string{"nothing"}, "why"
		},
		"or can be, must say why": func(p *sdk.Plugin) { p.Permissions.UnconfinedBy = []string{"port"} },
		`"password", which is a secret`: func(p *sdk.Plugin) {
			p.Settings = &struct {
				Password sdk.Secret `setting:"password" doc:"x"`
				Port     string     `setting:"port" doc:"x"`
			}{}
			p.Permissions.Read = []sdk.Value{sdk.FromSetting("password")}
		},
		"wants lower-case letters,": func(p *sdk.Plugin) { p.Name, p.Version = "a_b", "" },
	} {
		p := good()
		change(&p)
		if _, err := p.Description(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func TestDNSGetsRecords(t *testing.T) {
	var set, removed []sdk.TXT
	host := configured(t, sdk.Plugin{Authenticator: sdk.DNS(
		func(_ context.Context, txt sdk.TXT) ([]byte, error) {
			set = append(set, txt)
			return []byte("id-7"), nil
		},
		func(_ context.Context, txt sdk.TXT) error {
			removed = append(removed, txt)
			return errors.New("the API is down")
		})})
	c := sdk.Challenge{ID: "1", Type: sdk.DNS01, Identifier: sdk.Identifier{Value: "www.a.test"},
		DNS: &sdk.DNSChallenge{Name: "_acme-challenge.www.a.test", Zone: "a.test", Value: "v", TTL: 60}}
	h := &heard{}
	if err := host.Authenticator().Perform(t.Context(), []sdk.Challenge{c, {ID: "2", Type: sdk.DNS01}}, h); err != nil {
		t.Fatal(err)
	}
	txt := sdk.TXT{Zone: "a.test", Name: "_acme-challenge.www.a.test", Value: "v", TTL: 60}
	if diff := cmp.Diff([]sdk.TXT{txt}, set); diff != "" || string(h.results[0].Receipt) != "id-7" {
		t.Errorf("set: %s, %+v", diff, h.results)
	}
	if p := sdk.ProblemOf(h.results[1].Err); p == nil || p.Code != sdk.Unsupported {
		t.Errorf("a challenge without a record: %+v", h.results[1])
	}
	c.Receipt, txt.Receipt = []byte("id-7"), []byte("id-7")
	if err := host.Authenticator().Cleanup(t.Context(), []sdk.Challenge{c}, h); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]sdk.TXT{txt}, removed); diff != "" || h.results[2].Err == nil {
		t.Errorf("removed: %s, %+v", diff, h.results)
	}
	for name, want := range map[string]string{"a.test": "@", "A.test": "@", "x.y.a.test": "x.y"} {
		if got := (sdk.TXT{Zone: "a.test", Name: name}).Relative(); got != want {
			t.Errorf("%s relative to a.test is %s, want %s", name, got, want)
		}
	}
}

// provider is a DNS API that knows its zones.
type provider struct{ set, gone []sdk.TXT }

func (p *provider) SetTXT(_ context.Context, t sdk.TXT) ([]byte, error) {
	p.set = append(p.set, t)
	return []byte("id"), nil
}

func (p *provider) DeleteTXT(_ context.Context, t sdk.TXT) error {
	p.gone = append(p.gone, t)
	return nil
}

func (p *provider) Prefer(_ context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	var out []sdk.Preference
	for _, id := range ids {
		out = append(out, sdk.Preference{Identifier: id, Err: sdk.Problemf(sdk.NotFound, "not my zone")})
	}
	return out, nil
}

func (p *provider) Health(context.Context, bool) error { return nil }

func TestDNSOfKeepsAbilities(t *testing.T) {
	p := &provider{}
	d, err := sdk.Plugin{Name: "x", Version: "1", Authenticator: sdk.DNSOf(p)}.Description()
	if err != nil {
		t.Fatal(err)
	}
	if d.DNS != sdk.HostDNS || !dnsTypes(d) {
		t.Errorf("%+v", d)
	}
	if diff := cmp.Diff([]string{sdk.FeaturePrefer, sdk.FeatureHealth}, d.Features); diff != "" {
		t.Errorf("features (-want +got):\n%s", diff)
	}
	c := sdk.Challenge{Type: sdk.DNS01, DNS: &sdk.DNSChallenge{Name: "_acme-challenge.a.example", Zone: "a.example", Value: "v"}}
	each, ok := sdk.DNSOf(p).(interface {
		PerformOne(context.Context, sdk.Challenge) ([]byte, error)
		CleanupOne(context.Context, sdk.Challenge) error
	})
	if !ok {
		t.Fatal("it handles no single challenge")
	}
	if _, err := each.PerformOne(t.Context(), c); err != nil {
		t.Error(err)
	}
	if err := each.CleanupOne(t.Context(), c); err != nil {
		t.Error(err)
	}
	if len(p.set) != 1 || len(p.gone) != 1 || p.set[0].Relative() != "_acme-challenge" {
		t.Errorf("%+v", p)
	}
}
