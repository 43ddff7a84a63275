package run

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/sdk"
)

func TestUses(t *testing.T) {
	r := model.Request{Authenticate: []model.Rule{{Match: "a", With: []string{"web", "dns-a"}}, {With: []string{"web"}}}, Deploy: []string{"unused"}}
	authenticators := []use{{"web", "authenticator"}, {"dns-a", "authenticator"}, {"web", "authenticator"}}
	for action, want := range map[model.Action][]use{
		model.Issue:  append(authenticators[:3:3], use{"files", "installer"}),
		model.Renew:  append(authenticators[:3:3], use{"files", "installer"}),
		model.Deploy: {{"files", "installer"}},
		model.None:   nil, // nothing to do, so nothing is started
	} {
		got := uses(model.Item{Request: r, Action: action, Deploy: []string{"files"}})
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(use{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", action, diff)
		}
	}
}

func TestEveryNameHasOne(t *testing.T) {
	id := func(name string) model.Identifier { return model.Identifier{Type: "dns", Value: name} }
	r := model.Request{Name: "cert", Identifiers: []model.Identifier{id("a.test"), id("b.test")}, Authenticate: []model.Rule{{Match: "a.test", With: []string{"web"}}}}
	err := everyNameHasOne(r)
	if err == nil || err.Error() != "cert: no authenticator is named for b.test" || report.ExitCode(err) != report.Usage || !strings.Contains(report.Hint(err), "-a") {
		t.Errorf("%v (exit %d, hint %q)", err, report.ExitCode(err), report.Hint(err))
	}
	r.Authenticate = append(r.Authenticate, model.Rule{With: []string{"web"}})
	if err := everyNameHasOne(r); err != nil {
		t.Error(err)
	}
}

// What the schema says is told with the place in the file.
func TestSettingErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, config.FileName)
	text := "instances:\n  - name: web\n    settings:\n      port: many\n      nonsense: 1\n      token: {env: A}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Sources{ConfigDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	i, _ := cfg.Instance("web")
	d := sdk.Description{Name: "test", Settings: []sdk.Setting{
		{Name: "path", Type: sdk.StringSetting, Required: true}, {Name: "port", Type: sdk.IntSetting}, {Name: "token", Type: sdk.StringSetting, Secret: true},
	}}
	bound, err := config.Bind(i, d)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, err := range SettingErrors(i, d, bound.Settings, []string{"token"}) {
		if report.ExitCode(err) != report.Usage {
			t.Errorf("%v is no usage error", err)
		}
		got = append(got, strings.TrimPrefix(err.Error(), file))
	}
	for n, want := range []string{
		":2:5: instance web: setting path is missing",
		`:4:13: instance web: setting port wants a whole number, not "many"`,
		":5:17: instance web: setting nonsense is unknown",
	} {
		if len(got) != 3 || !strings.HasPrefix(got[n], want) || !strings.Contains(got[n], "certwright plugins describe test") {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDedupe(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	if got := errors.Join(dedupe([]error{a, nil, b, errors.New("a"), nil})...); got.Error() != "a\nb" {
		t.Error(got)
	}
	if got := dedupe([]error{nil}); len(got) > 0 {
		t.Error(got)
	}
}

// What a plugin or a CA cannot undo now lets a run go on; what is wrong with the
// journal itself does not.
func TestTolerate(t *testing.T) {
	order := &journal.FailedError{Entry: journal.Entry{Order: &journal.Order{Lineage: "cert"}}, Err: errors.New("no answer")}
	challenge := &journal.FailedError{Entry: journal.Entry{Perform: &journal.Perform{Lineage: "cert"}}, Err: errors.New("cannot clean")}
	disk := errors.New("the disk is full")
	for name, tt := range map[string]struct {
		err  error
		want []error
		gone []error
	}{
		"nothing":                     {nil, nil, nil},
		"an order":                    {order, nil, []error{order}},
		"a challenge":                 {challenge, nil, []error{challenge}},
		"several journals":            {errors.Join(order, disk, challenge), []error{disk}, []error{order, challenge}},
		"both in one of the journals": {errors.Join(errors.Join(order, disk), errors.Join(challenge)), []error{disk}, []error{order, challenge}},
	} {
		var warned strings.Builder
		e := &Engine{Terminal: &report.Terminal{Err: &warned}}
		got := e.tolerate(tt.err)
		if (got == nil) != (len(tt.want) == 0) {
			t.Errorf("%s: %v", name, got)
		}
		for _, want := range tt.want {
			if !errors.Is(got, want) {
				t.Errorf("%s: %v lacks %v", name, got, want)
			}
		}
		for _, gone := range tt.gone {
			if errors.Is(got, gone) || !strings.Contains(warned.String(), "warning: "+gone.Error()) {
				t.Errorf("%s: %v holds %v, or that was not told: %s", name, got, gone, &warned)
			}
		}
	}
}
