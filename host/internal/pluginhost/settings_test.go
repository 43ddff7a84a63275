package pluginhost

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/client"
)

var described = sdk.Description{Name: "p", Settings: []sdk.Setting{
	{Name: "path", Type: sdk.StringSetting, Required: true},
	{Name: "port", Type: sdk.IntSetting, Default: "80"},
	{Name: "on", Type: sdk.BoolSetting},
	{Name: "wait", Type: sdk.DurationSetting},
	{Name: "list", Type: sdk.ListSetting},
	{Name: "map", Type: sdk.MapSetting},
	{Name: "mode", Type: sdk.StringSetting, Choices: []string{"a", "b"}},
	{Name: "key", Type: sdk.StringSetting, Secret: true, Required: true},
}}

func TestCheckSettings(t *testing.T) {
	tests := []struct {
		name     string
		settings map[string]any
		secrets  []string
		want     []string
	}{
		{"good", map[string]any{
			"path": "/x", "port": 8080, "on": true, "wait": "2m", "list": []any{"a", "b"},
			"map": map[string]any{"a": "b"}, "mode": "b",
		}, []string{"key"}, nil},
		{"nothing", nil, nil, []string{"setting path is missing", "setting key is missing"}},
		{"wrong types", map[string]any{
			"path": 1, "port": "x", "on": "yes", "wait": 5, "list": "a", "map": []any{"a"}, "mode": "c",
		}, []string{"key"}, []string{
			"setting path wants a string, not 1", `setting port wants a whole number, not "x"`,
			`setting on wants true or false, not "yes"`, "setting wait wants a duration such as 90s or 2m, not 5",
			`setting list wants a list of strings, not "a"`, `setting map wants a map of strings, not ["a"]`,
			`setting mode wants one of a, b, not "c"`,
		}},
		{"wrong inside", map[string]any{"path": "/x", "port": 1.5, "list": []any{1}, "map": map[string]any{"a": 1}, "wait": "soon"},
			[]string{"key"}, []string{
				"setting port wants a whole number, not 1.5", `setting wait wants a duration such as 90s or 2m, not "soon"`,
				"setting list wants a list of strings, not [1]", `setting map wants a map of strings, not {"a":1}`,
			}},
		{"null", map[string]any{"path": nil}, []string{"key"}, []string{"setting path wants a string, not null"}},
		{"unknown", map[string]any{"path": "/x", "pth": "/y"}, []string{"key", "kex"},
			[]string{"setting kex is unknown", "setting pth is unknown"}},
		{"a literal secret", map[string]any{"path": "/x", "key": "hunter2"}, nil,
			[]string{"setting key is a secret and must be given by reference"}},
		{"no secret", nil, []string{"key", "path"}, []string{"setting path is not a secret and must be given as a value"}},
		{"not JSON", map[string]any{"path": make(chan int)}, []string{"key"}, []string{"setting path wants a string, not a chan int"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, p := range CheckSettings(described, test.settings, test.secrets) {
				got = append(got, p.Error())
				if p.Code != sdk.InvalidConfig || p.Subject == "" || p.Retry != sdk.RetryNever {
					t.Errorf("problem %+v", p)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSettingsAsThePluginSees: the host and the SDK find the same faults in the
// same words, so it does not matter who finds them first.
func TestSettingsAsThePluginSees(t *testing.T) {
	r := newRig(t, "good")
	d, err := r.Describe(t.Context(), "good")
	if err != nil {
		t.Fatal(err)
	}
	i, err := r.run(t.Context(), Spec{Name: "web", Plugin: "good"}, d, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := i.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	for _, settings := range []map[string]any{
		{"wait": 5, "mode": "neither", "token": "literal", "other": 1},
		{"wait": "soon", "mode": true, "print": []any{"a"}},
		{"wait": nil, "mode": nil},
	} {
		theirs, err := i.client.Configure(t.Context(), client.Configuration{Settings: settings})
		if err != nil {
			t.Fatal(err)
		}
		ours := CheckSettings(d, settings, nil)
		if diff := cmp.Diff(wordsOf(theirs), wordsOf(ours)); diff != "" || len(ours) == 0 {
			t.Errorf("%v: the plugin (-) and the host (+) differ:\n%s", settings, diff)
		}
	}
	// What the host finds keeps the plugin from being started at all.
	before := len(r.pids(t))
	_, err = r.Start(t.Context(), Spec{Name: "other", Plugin: "good", Settings: map[string]any{"wat": 1, "wait": 2}})
	mention(t, err, "instance other", "setting wat is unknown", "setting wait wants a duration", "certwright plugins describe good")
	if len(r.pids(t)) != before {
		t.Error("it was started")
	}
}

func wordsOf(problems []*sdk.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.Subject+": "+p.Error())
	}
	return out
}

func TestResourceKeys(t *testing.T) {
	d := sdk.Description{
		Settings: []sdk.Setting{{Name: "port", Default: "80"}, {Name: "root"}, {Name: "ports"}},
		ExclusiveResources: []sdk.Resource{
			{Kind: "tcp", Value: sdk.FromSetting("port")}, {Kind: "tcp", Value: sdk.Literal("443")},
			{Kind: "stdout"}, {Kind: sdk.InstanceResource}, {Kind: "server", Value: sdk.FromSetting("root")},
		},
	}
	tests := []struct {
		name     string
		settings map[string]any
		want     []string
	}{
		{"defaults", nil, []string{"instance/web", "server", "stdout", "tcp/443", "tcp/80"}},
		{"given", map[string]any{"port": 5002, "root": "/etc/nginx/"}, []string{"instance/web", "server/etc/nginx", "stdout", "tcp/443", "tcp/5002"}},
		{"by name", map[string]any{"port": "https"}, []string{"instance/web", "server", "stdout", "tcp/443"}},
		{"the kernel's choice", map[string]any{"port": 0}, []string{"instance/web", "server", "stdout", "tcp/443"}},
		{"several", map[string]any{"port": []any{1, 2}}, []string{"instance/web", "server", "stdout", "tcp/1", "tcp/2", "tcp/443"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ResourceKeys(d, "web", test.settings)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestValidateOnlyTouchesNothing(t *testing.T) {
	r := newRig(t, "good")
	i, err := r.Start(t.Context(), Spec{Name: "web", Plugin: "good", ValidateOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.opts.StateDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state directory: %v", err)
	}
}
