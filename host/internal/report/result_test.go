package report

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/NAME.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// both shows something as text and as JSON, each line of which MUST be an
// object with a type, and compares the two with golden files.
func both(t *testing.T, name string, show func(*Terminal)) {
	t.Helper()
	text := newScreen(nil)
	show(text.Terminal)
	golden(t, name+".txt", "stdout:\n"+text.out.String()+"stderr:\n"+text.err.String())
	lines := newScreen(nil)
	lines.JSON = true
	show(lines.Terminal)
	golden(t, name+".json", lines.out.String())
	for line := range strings.Lines(lines.out.String()) {
		var object struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal([]byte(line), &object); err != nil || object.Type == "" {
			t.Errorf("%s: %v: %s", name, err, line)
		}
	}
}

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	v2    = &model.Version{
		Number: 2, Serial: "0a1b", Fingerprint: "ff00", NotBefore: start, NotAfter: start.Add(90 * 24 * time.Hour),
		Issuer: "Test <CA>", KeyType: model.P256, Names: []string{"a.example", "*.a.example"},
	}
	paths  = model.Paths{Cert: "/s/live/a/cert.pem", Chain: "/s/live/a/chain.pem", Fullchain: "/s/live/a/fullchain.pem", Privkey: "/s/live/a/privkey.pem"}
	proven = model.Target{Deployed: 2, Proven: 2, At: start, Endpoints: []model.Endpoint{
		{Address: "127.0.0.1:443", ServerName: "a.example"}, {Address: "127.0.0.1:25", ServerName: "a.example", Kind: sdk.SMTP},
	}}
)

func outcomes() []model.Outcome {
	failure := sdk.Hint(errors.New("the CA said no"), "open port 80")
	return []model.Outcome{
		{Name: "issued.example", Action: model.Issue, Why: "there is none yet", Issued: true, Version: v2, Paths: paths, Tried: []string{"files", "web"},
			Targets: map[string]model.Target{"web": proven, "files": {Deployed: 2, At: start}}},
		{Name: "quiet.example", Action: model.None, Why: "not due before tomorrow", Due: start, Version: v2, Paths: paths,
			Targets: map[string]model.Target{"web": proven}},
		{Name: "deployed.example", Action: model.Deploy, Why: "asked for", Version: v2, Paths: paths, Tried: []string{"web"}, Targets: map[string]model.Target{"web": proven}},
		{Name: "first.example", Action: model.Issue, Why: "there is none yet", Err: failure},
		{Name: "partly.example", Action: model.Renew, Why: "it expires in 3 days", Issued: true, Version: v2, Paths: paths, Tried: []string{"files", "web"},
			Targets: map[string]model.Target{"web": {Deployed: 1, Proven: 1, At: start, Error: "nginx is down"}, "files": {Deployed: 2, At: start}},
			Err:     errors.New("deploy to web: nginx is down")},
		{Name: "absent.example", Action: model.None, Why: "there is no certificate to deploy"},
	}
}

func TestOutcomes(t *testing.T) {
	both(t, "outcomes", func(s *Terminal) {
		err := s.Outcomes(outcomes())
		var counted *OutcomesError
		if !errors.As(err, &counted) || *counted != (OutcomesError{Failed: 2, All: 6, Partial: true}) || ExitCode(err) != Partial {
			t.Errorf("%#v", err)
		}
	})
	usage := &UsageError{Err: errors.New("no such plugin")}
	for name, tt := range map[string]struct {
		outcomes []model.Outcome
		want     int
	}{
		"nothing":             {nil, Done},
		"all well":            {outcomes()[:3], Done},
		"all failed":          {outcomes()[3:4], Failed},
		"one of two failed":   {outcomes()[2:4], Partial},
		"one target failed":   {outcomes()[4:5], Partial},
		"all mistakes":        {[]model.Outcome{{Err: fmt.Errorf("a: %w", usage)}, {Err: errors.Join(usage, sdk.Hint(usage, "x"))}}, Usage},
		"not all mistakes":    {[]model.Outcome{{Err: usage}, {Err: errors.Join(usage, errors.New("x"))}}, Failed},
		"a mistake, one well": {[]model.Outcome{{Err: usage}, outcomes()[0]}, Partial},
		"failed, none issued": {[]model.Outcome{{Err: errors.New("x"), Version: v2, Targets: map[string]model.Target{"web": {Deployed: 1}}}}, Failed},
	} {
		if got := ExitCode(newScreen(nil).Outcomes(tt.outcomes)); got != tt.want {
			t.Errorf("%s: exit %d, want %d", name, got, tt.want)
		}
	}
}

// What cron mails is what was done and what failed.
func TestQuietOutcomes(t *testing.T) {
	s := newScreen(nil)
	s.Quiet = true
	_ = s.Outcomes(outcomes())
	for _, silent := range []string{"quiet.example", "absent.example"} {
		if strings.Contains(s.out.String(), silent) {
			t.Errorf("stdout has %s:\n%s", silent, s.out)
		}
	}
	if !strings.Contains(s.out.String(), "issued.example: version 2") || !strings.Contains(s.err.String(), "the CA said no") {
		t.Errorf("too quiet: %s%s", s.out, s.err)
	}
}

func TestNoOutcomes(t *testing.T) {
	for name, show := range map[string]func(*Terminal){
		"outcomes": func(s *Terminal) { _ = s.Outcomes(nil) },
		"plan":     func(s *Terminal) { s.Plan(model.Plan{}) },
	} {
		s := newScreen(nil)
		show(s.Terminal)
		if s.out.String() != "" || s.err.String() != "there are no certificates\n" {
			t.Errorf("%s: %q, %q", name, s.out, s.err)
		}
	}
}

func TestExitCode(t *testing.T) {
	usage := &UsageError{Err: errors.New("no such flag")}
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"nil":            {nil, 0},
		"any":            {errors.New("x"), 1},
		"usage":          {usage, 2},
		"wrapped usage":  {fmt.Errorf("a: %w", usage), 2},
		"joined usage":   {errors.Join(usage, usage), 2},
		"all failed":     {&OutcomesError{Failed: 2, All: 2}, 1},
		"partly":         {fmt.Errorf("a: %w", &OutcomesError{Failed: 1, All: 2, Partial: true}), 3},
		"problem":        {sdk.Problemf(sdk.InvalidConfig, "x"), 1},
		"usage and hint": {sdk.Hint(usage, "read the manual"), 2},
	} {
		if got := ExitCode(tt.err); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	if !errors.Is(fmt.Errorf("a: %w", usage), usage.Err) {
		t.Error("a usage error hides its cause")
	}
}

func TestFatal(t *testing.T) {
	both(t, "fatal", func(s *Terminal) {
		s.Fatal(sdk.Hint(&UsageError{Err: errors.New(`no plugin "x"`)}, "install <it>"))
		s.Fatal(errors.New("no answer"))
		s.Fatal(&OutcomesError{Failed: 1, All: 3, Partial: true})
		s.Fatal(&OutcomesError{Failed: 1, All: 1})
	})
}

// A certificate that was issued has not failed, whatever its targets say.
func TestFailedDeployments(t *testing.T) {
	no := errors.New("no")
	v := &model.Version{Number: 2}
	good := map[string]model.Target{"web": {Deployed: 2}}
	bad := map[string]model.Target{"web": {Deployed: 1, Error: "no"}}
	undeployed := model.Outcome{Name: "a", Action: model.Renew, Issued: true, Version: v, Tried: []string{"web"}, Targets: bad, Err: no}
	for want, list := range map[string][]model.Outcome{
		"a deployment failed":                       {undeployed},
		"deployments of 1 of 2 certificates failed": {undeployed, {Name: "b", Version: v, Targets: good}},
		"2 of 2 certificates failed":                {undeployed, {Name: "b", Action: model.Issue, Err: no}},
		"1 of 2 certificates failed":                {{Name: "a"}, {Name: "b", Action: model.Renew, Issued: true, Version: v, Tried: []string{"web"}, Targets: good, Err: no}},
		"the certificate failed":                    {{Name: "b", Action: model.Renew, Version: v, Targets: bad, Err: no}},
		"deployments of 1 of 3 certificates failed": {{Name: "c"}, {Name: "d"}, {Name: "e", Action: model.Deploy, Version: v, Tried: []string{"new"}, Err: no}},
	} {
		s := Terminal{Out: io.Discard, Err: io.Discard}
		if err := s.Outcomes(list); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestPlan(t *testing.T) {
	id := func(name string) model.Identifier { return model.Identifier{Type: "dns", Value: name} }
	r := model.Request{
		Name: "a.example", Identifiers: []model.Identifier{id("a.example"), id("b.example")},
		Authenticate: []model.Rule{{Match: "a.example", With: []string{"web", "dns-a"}}},
	}
	both(t, "plan", func(s *Terminal) {
		s.Plan(model.Plan{Items: []model.Item{
			{Request: r, Action: model.Issue, Why: "there is none yet", Deploy: []string{"nginx", "files"}},
			{Request: r, Action: model.Renew, Why: "it expired"},
			{Request: r, Action: model.Deploy, Why: "not yet deployed to nginx", Due: start, Deploy: []string{"nginx"}},
			{Request: r, Action: model.None, Why: "not due before tomorrow", Due: start},
		}})
	})
}

func trusted(string) bool { return false }

func TestCertificates(t *testing.T) {
	old, bad := *v2, *v2
	bad.Revoked = &model.Revoked{At: start, Reason: "superseded"}
	old.NotAfter = start.Add(-time.Second)
	list := []model.Lineage{
		{Name: "a.example", Version: v2, Request: model.Request{Server: "https://ca.example/dir"}, Targets: map[string]model.Target{
			"web": proven, "files": {Deployed: 2}, "new": {}, "mail": {Deployed: 1, Error: "postfix is down:\n  line 7"},
			"again": {Deployed: 1, Endpoints: proven.Endpoints, At: start, Error: "no", Failures: 1},
			"later": {
				Deployed: 1, Since: start.Add(-time.Hour), At: start, Error: "the test failed", Failures: 3, Retry: start.Add(time.Hour),
				Enhanced: map[string][]string{"redirect": {"a.example", "b.example"}, "hsts": nil},
			},
			"taken": {Deployed: 1, Proven: 1, Endpoints: proven.Endpoints, RolledBack: 2, Since: start},
		}},
		{Name: "never.example"},
		{Name: "gone.example", Version: &bad},
		{Name: "old.example", Version: &old, Failures: &model.Failures{Count: 3, Last: start, Error: "the CA said no"}},
	}
	both(t, "certificates", func(s *Terminal) {
		s.Certificates(list, func(l model.Lineage) model.Paths {
			name := l.Name
			return model.Paths{Cert: "/s/live/" + name + "/cert.pem", Fullchain: "/s/live/" + name + "/fullchain.pem", Privkey: "/s/live/" + name + "/privkey.pem"}
		}, start, func(server string) bool { return server == "https://ca.example/dir" }, func(l model.Lineage) error {
			if l.Name == "gone.example" {
				return errors.New("look at /s/archive/gone.example/0002/privkey.pem: no such file or directory")
			}
			return nil
		})
	})
	both(t, "no-certificates", func(s *Terminal) { s.Certificates(nil, nil, start, nil, nil) })
	for left, want := range map[time.Duration]string{
		90 * 24 * time.Hour: "90 days left", 48*time.Hour - 1: "1 day left", 24*time.Hour - 1: "0 days left", 0: "0 days left", -1: "EXPIRED", -30 * 24 * time.Hour: "EXPIRED",
	} {
		v := *v2
		v.NotAfter = start.Add(left)
		s := newScreen(nil)
		s.Certificates([]model.Lineage{{Name: "x", Version: &v}}, func(model.Lineage) model.Paths { return model.Paths{} }, start, trusted, func(model.Lineage) error { return nil })
		if !strings.Contains(s.out.String(), "("+want+")") {
			t.Errorf("%s before the end: %s", left, s.out)
		}
	}
}

func TestPlugins(t *testing.T) {
	d := sdk.Description{
		Name: "x", Version: "1.2.3", Summary: "does <something>", Roles: []string{"authenticator", "installer"},
		ChallengeTypes: []sdk.ChallengeType{{Type: "http-01", IdentifierTypes: []string{"dns", "ip"}}},
		Settings: []sdk.Setting{
			{Name: "http_port", Type: sdk.IntSetting, Default: "80", Doc: "port to listen on"},
			{Name: "mode", Type: sdk.StringSetting, Choices: []string{"a", "b"}, Required: true, Doc: "how"},
			{Name: "names", Type: sdk.ListSetting}, {Name: "token", Type: sdk.StringSetting, Secret: true, Doc: "API token"},
		},
		Permissions: sdk.Permissions{
			Read: []sdk.Value{sdk.Literal("/etc/x"), sdk.FromSetting("path")}, BindTCP: []sdk.Value{sdk.FromSetting("http_port")},
			UDP: true, Children: true, Key: sdk.KeyBytes,
		},
	}
	both(t, "plugins", func(s *Terminal) {
		s.Searched([]string{"/a", "/b"})
		s.Plugin(Plugin{Name: "x", Path: "/a/certwright-plugin-x", Description: d})
		s.Plugin(Plugin{Name: "y", Path: "/b/certwright-plugin-y", Refused: sdk.Hint(errors.New("anyone can write to it"), "chmod go-w it")})
		s.Description(d)
		s.Description(sdk.Description{Name: "bare", Version: "0", Permissions: sdk.Permissions{Unconfined: true, Reason: "it runs scripts"}})
		s.Checked([]string{"/etc/c.yaml"}, 1, 2)
		s.Checked(nil, 0, 1)
		s.Version("1.2.3")
	})
	d.DNS, d.Serial, d.Env, d.HookEvents = sdk.SelfDNS, true, sdk.UserEnv, []string{"pre", "post"}
	d.Settings[1].Doc = "a|b <c>"
	d.ExclusiveResources = []sdk.Resource{
		{Kind: "tcp", Value: sdk.FromSetting("http_port")}, {Kind: "server", Value: sdk.FromSetting("path")},
		{Kind: "tcp", Value: sdk.Literal("80")}, {Kind: sdk.InstanceResource}, {Kind: "stdout"},
	}
	bare := sdk.Description{Name: "bare", Summary: "does nothing", Roles: []string{"hook"}}
	golden(t, "reference.md", Reference(d, "elsewhere.")+Reference(bare, "")+ReferenceIndex([]sdk.Description{bare, d}))
}
