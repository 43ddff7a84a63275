package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

func TestDeclaration(t *testing.T) {
	d, err := declaration(&dehydrated{}).Description()
	must(t, err)
	if d.DNS != sdk.SelfDNS || d.Env != sdk.UserEnv || !d.Serial || len(d.Roles) != 3 {
		t.Errorf("%+v", d)
	}
}

func TestConfigIsReadAsDehydratedReadsIt(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "conf.d"), 0o700))
	path := write(t, dir, "config", `# a comment
HOOK="${BASEDIR}/hook.sh"	# and another
WELLKNOWN=$BASEDIR/$(printf well)'-known'
[ -n "$CONTACT_EMAIL" ] || CHALLENGETYPE="dns-01"
CONFIG_D=${BASEDIR}/conf.d
KEY_ALGO=rsa
echo "a config may print"
CA="https://acme.example/directory"
`)
	write(t, dir, "conf.d/more.sh", "HOOK_CHAIN=\"yes\"\nPRIVATE_KEY_ROLLOVER=yes\nKEY_ALGO=prime256v1\n")
	write(t, dir, "conf.d/more.txt", "KEY_ALGO=none\n")
	got, err := readConfig(t.Context(), path, "/state/plugins/d")
	must(t, err)
	want := config{
		path: path, baseDir: dir, hook: dir + "/hook.sh", chain: true, challengeType: "dns-01", wellknown: dir + "/well-known",
		alpnCertDir: dir + "/alpn-certs", certDir: "/state/live", keyAlgo: "prime256v1", keyRollover: "yes",
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err = readConfig(t.Context(), write(t, dir, "empty", ""), "/state/plugins/d"); err != nil || got.challengeType != "http-01" || got.wellknown != "/var/www/dehydrated" || got.hook != "" || got.chain {
		t.Errorf("%+v, %v", got, err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"syntax":   {"HOOK=\"\n", "config"},
		"fails":    {"echo my reason >&2\nfalse\n", "my reason"},
		"unset":    {"WELLKNOWN=$NO_SUCH_VARIABLE\n", "NO_SUCH_VARIABLE"},
		"CONFIG_D": {"CONFIG_D=/no/such\n", "CONFIG_D /no/such is not a directory"},
	} {
		_, err := readConfig(t.Context(), write(t, dir, "wrong", c.text), "")
		if p := sdk.ProblemOf(err); p == nil || p.Code != sdk.InvalidConfig || !strings.Contains(p.Error(), c.want) || !strings.Contains(p.Error(), dir+"/wrong") || p.Hint == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if _, err := readConfig(t.Context(), dir+"/none", ""); sdk.ProblemOf(err).Code != sdk.NotFound {
		t.Error(err)
	}
}

// TestConfigOfOthers: the file is run, so who may write it may do what we may.
func TestConfigOfOthers(t *testing.T) {
	path := write(t, t.TempDir(), "config", "echo ran >&2; exit 1\n")
	if err := os.Chmod(path, 0o646); err != nil {
		t.Fatal(err)
	}
	_, err := readConfig(t.Context(), path, "")
	if p := sdk.ProblemOf(err); p == nil || p.Code != sdk.PermissionDenied || p.Hint != "run: chmod o-w "+path {
		t.Errorf("%+v", p)
	}
}

func TestTypesOfChallenges(t *testing.T) {
	dir := t.TempDir()
	hook := write(t, dir, "hook", "#!/bin/sh\n")
	for name, c := range map[string]struct {
		settings settings
		config   string
		want     string // types, or what the error has
	}{
		"hook only":           {settings{Hook: hook}, "", "dns-01 tls-alpn-01"},
		"hook and type":       {settings{Hook: hook, ChallengeType: sdk.TLSALPN01}, "", "tls-alpn-01"},
		"config's type":       {settings{}, "HOOK=" + hook + "\nCHALLENGETYPE=dns-01\n", "dns-01"},
		"config's default":    {settings{}, "HOOK=" + hook + "\nWELLKNOWN=" + dir + "\n", "http-01"},
		"the setting wins":    {settings{ChallengeType: sdk.DNS01}, "HOOK=" + hook + "\nWELLKNOWN=" + dir + "\n", "dns-01"},
		"no hook":             {settings{}, "WELLKNOWN=" + dir + "\n", "http-01"},
		"dns-01 without hook": {settings{}, "CHALLENGETYPE=dns-01\n", "dns-01 needs a hook script"},
		"no WELLKNOWN":        {settings{}, "WELLKNOWN=" + dir + "/none\n", dir + "/none, for http-01 does not exist"},
		"unknown":             {settings{}, "CHALLENGETYPE=dns-02\n", `"dns-02"`},
		"no such hook":        {settings{Hook: dir + "/none"}, "", "the hook " + dir + "/none does not exist"},
	} {
		if c.config != "" {
			c.settings.Config = write(t, t.TempDir(), "config", c.config)
		}
		d := configured(t, c.settings)
		got, err := d.Prefer(t.Context(), []sdk.Identifier{{Type: "dns", Value: "a.test"}})
		must(t, err)
		text := strings.Join(got[0].ChallengeTypes, " ")
		if got[0].Err != nil {
			text = got[0].Err.Error()
		}
		if got[0].Err == nil && text != c.want || !strings.Contains(text, c.want) || got[0].Err != nil && sdk.ProblemOf(got[0].Err).Hint == "" {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// dehydrated's hook is told "name token value" of each type, and files are where
// dehydrated has them.
func TestChallenges(t *testing.T) {
	for _, chain := range []bool{false, true} {
		dir := t.TempDir()
		t.Setenv("LOG", dir+"/log")
		d := configured(t, settings{Hook: write(t, dir, "hook", "#!/bin/sh\necho \"$*|$CHALLENGETYPE|$altnames|$alias\" >> $LOG; cat "+dir+"/*.pem "+dir+"/token* >> $LOG 2>/dev/null || :\n")})
		d.config.chain, d.config.wellknown, d.config.alpnCertDir = chain, dir, dir
		challenges := []sdk.Challenge{
			{ID: "1", Type: sdk.DNS01, Identifier: sdk.Identifier{Value: "a.test", Wildcard: true}, Token: "t1", KeyAuthorization: "t1.k", DNS: &sdk.DNSChallenge{Value: "digest"}},
			{ID: "2", Type: sdk.HTTP01, Identifier: sdk.Identifier{Value: "b.test"}, Token: "token2", KeyAuthorization: "t2.k", HTTP: &sdk.HTTPChallenge{Body: []byte("t2.k;")}},
			{ID: "3", Type: sdk.TLSALPN01, Identifier: sdk.Identifier{Type: "ip", Value: "192.0.2.1"}, Token: "t3", KeyAuthorization: "t3.k",
				ALPN: &sdk.ALPNChallenge{ServerName: "1.2.0.192.in-addr.arpa", CertPEM: []byte("cert;"), KeyPEM: []byte("key;")}},
		}
		ctx := sdk.WithOperation(t.Context(), sdk.Operation{Lineage: "a.test", Identifiers: []sdk.Identifier{{Value: "a.test", Wildcard: true}, {Value: "b.test"}}})
		const (
			env  = "|dns-01|*.a.test b.test|a.test\n"
			alpn = "1.2.0.192.in-addr.arpa t3 49:94:38:d9:fe:6a:d7:0e:10:08:ca:d9:ec:b8:a1:13:b1:58:16:3a:d8:49:d3:6a:b3:c9:27:9a:6c:43:2a:21"
		)
		want := func(name, files string) string {
			if chain {
				return name + " a.test t1 digest b.test token2 t2.k " + alpn + env + files
			}
			return name + " a.test t1 digest" + env + files + name + " b.test token2 t2.k" + env + files + name + " " + alpn + env + files
		}
		r := &recorder{}
		must(t, d.Perform(ctx, challenges, r))
		if diff := cmp.Diff(want("deploy_challenge", "cert;key;t2.k;"), read(t, dir+"/log")); diff != "" {
			t.Errorf("chain %v (-want +got):\n%s", chain, diff)
		}
		must(t, os.Remove(dir+"/log"))
		// In another process, and again.
		for _, d := range []*dehydrated{clone(t, d), d} {
			must(t, d.Cleanup(ctx, challenges, r))
			if diff := cmp.Diff(want("clean_challenge", ""), read(t, dir+"/log")); diff != "" {
				t.Errorf("chain %v (-want +got):\n%s", chain, diff)
			}
			must(t, os.Remove(dir+"/log"))
		}
		if len(r.results) != 9 {
			t.Errorf("results %+v", r.results)
		}
		for _, result := range r.results {
			must(t, result.Err)
		}
	}
}

func TestCallsThatFail(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("LOG", dir+"/log")
	one, two := dns("a.test"), dns("b.test")
	for _, failing := range []string{"deploy_challenge", "clean_challenge"} {
		d := configured(t, settings{Hook: write(t, dir, "hook", "#!/bin/sh\necho $1 >> $LOG\n[ $1 != "+failing+" ] || { echo why >&2; exit 3; }\n")})
		r := &recorder{}
		err := d.Perform(t.Context(), []sdk.Challenge{one, two}, r)
		cleanErr := d.Cleanup(t.Context(), []sdk.Challenge{one, two}, r)
		must(t, cleanErr)
		want := "deploy_challenge clean_challenge clean_challenge"
		if failing == "clean_challenge" {
			must(t, err)
			want = "deploy_challenge deploy_challenge clean_challenge clean_challenge"
			err = r.results[3].Err
		}
		if p := sdk.ProblemOf(err); p == nil || !strings.Contains(p.Error(), "the call "+failing+" of the hook "+dir+"/hook ended with exit status 3: why") || p.Hint == "" {
			t.Errorf("%+v", p)
		}
		if got := strings.Join(strings.Fields(read(t, dir+"/log")), " "); got != want {
			t.Errorf("called %s", got)
		}
		must(t, os.Remove(dir+"/log"))
	}
	d := configured(t, settings{Hook: write(t, dir, "hook", "#!/bin/sh\nkill -SEGV $$\n")})
	if err := d.Perform(t.Context(), []sdk.Challenge{one}, &recorder{}); err == nil || !strings.Contains(err.Error(), "SIGSEGV") {
		t.Error(err)
	}
	d = configured(t, settings{Hook: write(t, dir, "hook", "#!/bin/sh\nwhile :; do sleep 1; done\n"), HookTimeout: 300 * time.Millisecond})
	if err := d.Perform(t.Context(), []sdk.Challenge{one}, &recorder{}); sdk.ProblemOf(err).Code != sdk.Timeout || !strings.Contains(sdk.ProblemOf(err).Hint, "hook_timeout") {
		t.Error(err)
	}
	must(t, os.Chmod(d.hook, 0o600))
	if err := d.Perform(t.Context(), []sdk.Challenge{one}, &recorder{}); !strings.Contains(sdk.ProblemOf(err).Hint, "chmod +x") {
		t.Error(err)
	}
	bad := dns("c.test")
	bad.DNS, bad.HTTP, bad.Token = nil, &sdk.HTTPChallenge{}, "../../etc/x"
	if err := d.Perform(t.Context(), []sdk.Challenge{bad}, &recorder{}); sdk.ProblemOf(err).Code != sdk.Unsupported {
		t.Error(err)
	}
}

func TestEvents(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("LOG", dir+"/log")
	hook := "#!/bin/sh\nfor a in \"$@\"; do printf '[%s]' \"$a\"; done >> $LOG; echo \"$KEY_ALGO\" >> $LOG\n"
	d := configured(t, settings{Hook: write(t, dir, "hook", hook)})
	paths := sdk.Paths{Cert: "/c", Privkey: "/k", Chain: "/ch", Fullchain: "/f"}
	ids := []sdk.Identifier{{Value: "a.test", Wildcard: true}, {Value: "a.test"}}
	base := sdk.HookEvent{Lineage: "a.test", Identifiers: ids, KeyType: "p256", Paths: paths, LeafPEM: []byte("leaf"), CSR: []byte("der")}
	for _, c := range []struct {
		event  string
		change func(*sdk.HookEvent)
		want   string
	}{
		{sdk.EventStart, nil, "[" + probe + "]\n[startup_hook]\n"},
		{sdk.EventUnchanged, nil, "[" + probe + "]\n[generate_csr][*.a.test][" + d.config.certDir + "/a.test][*.a.test a.test]prime256v1\n[unchanged_cert][*.a.test][/k][/c][/f][/ch]prime256v1\n"},
		{sdk.EventCSR, func(e *sdk.HookEvent) { e.Identifiers, e.KeyType = ids[1:], "rsa2048" }, "[" + probe + "]prime256v1\n[generate_csr][a.test][" + d.config.certDir + "/a.test][a.test ]rsa\n"},
		{sdk.EventChallengeInvalid, func(e *sdk.HookEvent) {
			c := dns("b.test")
			c.RawJSON = []byte(`{"status": "invalid"}`)
			e.Challenge = &c
		}, "[invalid_challenge][b.test][[\"status\"]\t\"invalid\"]rsa\n"},
		{sdk.EventCAFailure, func(e *sdk.HookEvent) {
			e.HTTPStatus, e.HTTPMethod, e.HTTPBody = 403, "POST", []byte(`{"type":"x"}`)
			e.HTTPHeaders = []sdk.HTTPHeader{{Name: "Link", Value: "<a>"}, {Name: "Link", Value: "<b>"}}
		}, "[request_failure][403][{\"type\":\"x\"}][post][HTTP/2 403 \r\nlink: <a>\r\nlink: <b>\r\n\r]rsa\n"},
		{sdk.EventIssued, nil, "[sync_cert][/k][/c][/f][/ch][" + d.instance.StateDir + "/csr/612e74657374.csr]rsa\n"},
		{sdk.EventSuccess, nil, "[deploy_cert][*.a.test][/k][/c][/f][/ch][1700000000]rsa\n"},
		{sdk.EventSuccess, nil, ""}, // told already
		{sdk.EventFinish, func(e *sdk.HookEvent) { e.Outcome = "ok" }, "[exit_hook]rsa\n"},
		{sdk.EventFinish, func(e *sdk.HookEvent) { e.Outcome, e.Messages = "failed", []string{"why", "and why"} }, "[exit_hook][why\nand why]rsa\n"},
		{"later", nil, ""},
	} {
		e := base
		e.Event = c.event
		if c.change != nil {
			c.change(&e)
		}
		if c.event == sdk.EventSuccess {
			d.began["a.test"] = time.Unix(1700000000, 0)
		}
		must(t, os.WriteFile(dir+"/log", nil, 0o600))
		result, err := d.Run(t.Context(), e, &recorder{})
		if err != nil || len(result.CSR) > 0 {
			t.Errorf("%s: %v, %v", c.event, result, err)
		}
		if diff := cmp.Diff(c.want, read(t, dir+"/log")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.event, diff)
		}
	}
	// As a target: what the event has told is not told again, anything else is.
	ctx := sdk.WithOperation(t.Context(), sdk.Operation{Lineage: "a.test"})
	deployment := sdk.Deployment{Lineage: "a.test", Name: "a.test", Names: []string{"*.a.test", "a.test"}, LeafPEM: []byte("leaf"), Paths: paths}
	for _, c := range []struct{ leaf, want string }{{"leaf", ""}, {"another", "[deploy_cert][*.a.test][/k][/c][/f][/ch][1700000000]rsa\n"}, {"another", ""}} {
		must(t, os.WriteFile(dir+"/log", nil, 0o600))
		deployment.LeafPEM = []byte(c.leaf)
		for range deployment.Names {
			must(t, d.Deploy(ctx, deployment, &recorder{}))
		}
		must(t, errors.Join(d.Restart(ctx, &recorder{}), d.Restart(ctx, &recorder{})))
		if diff := cmp.Diff(c.want, read(t, dir+"/log")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.leaf, diff)
		}
	}
}

func TestEventsWhoseCallFails(t *testing.T) {
	for name, event := range map[string]string{
		probe: sdk.EventStart, "startup_hook": sdk.EventStart, "generate_csr": sdk.EventCSR, "unchanged_cert": sdk.EventUnchanged, "invalid_challenge": sdk.EventChallengeInvalid,
		"request_failure": sdk.EventCAFailure, "sync_cert": sdk.EventIssued, "deploy_cert": sdk.EventSuccess, "exit_hook": sdk.EventFinish,
	} {
		d := configured(t, settings{Hook: write(t, t.TempDir(), "hook", "#!/bin/sh\n[ $1 != "+name+" ] || { echo why >&2; exit 3; }\n")})
		c, r := dns("a.test"), &recorder{}
		_, err := d.Run(t.Context(), sdk.HookEvent{Event: event, Lineage: "a.test", Challenge: &c, Outcome: "ok"}, r)
		text := r.said
		if err != nil {
			text = err.Error()
		}
		if (err == nil) != (name == "exit_hook") || !strings.Contains(text, "the call "+name+" of the hook") || !strings.Contains(text, "exit status 3: why") {
			t.Errorf("%s: %v, said %q", name, err, r.said)
		}
		if name == probe && !strings.Contains(sdk.ProblemOf(err).Hint, "a name that it does not know") {
			t.Errorf("the hint is %q", sdk.ProblemOf(err).Hint)
		}
	}
}

func TestARequestOfTheHook(t *testing.T) {
	for _, header := range []string{"", "NEW "} {
		out := "echo a line before; printf -- '-----BEGIN " + header + "CERTIFICATE REQUEST-----\\naGVsbG8=\\n-----END " + header + "CERTIFICATE REQUEST-----\\n'"
		d := configured(t, settings{Hook: write(t, t.TempDir(), "hook", "#!/bin/sh\n[ $1 != generate_csr ] || { "+out+"; }\n")})
		result, err := d.Run(t.Context(), sdk.HookEvent{Event: sdk.EventCSR, Lineage: "a.test"}, &recorder{})
		if err != nil || string(result.CSR) != "hello" {
			t.Errorf("%q, %v", result.CSR, err)
		}
	}
	d := configured(t, settings{Hook: write(t, t.TempDir(), "hook", "#!/bin/sh\n[ $1 != generate_csr ] || echo '-----BEGIN CERTIFICATE REQUEST-----'\n")})
	if _, err := d.Run(t.Context(), sdk.HookEvent{Event: sdk.EventCSR, Lineage: "a.test"}, &recorder{}); err == nil || sdk.ProblemOf(err).Hint == "" {
		t.Errorf("half a request: %v", err)
	}
}

func TestFlattened(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": {"b": [1, "x\/y", {}], "c": null}, "d": "é\n"}`: "[\"a\",\"b\",0]\t1\n[\"a\",\"b\",1]\t\"x/y\"\n[\"a\",\"b\",2]\t{}\n[\"a\",\"b\"]\t[1,\"x/y\",{}]\n" +
			"[\"a\",\"c\"]\tnull\n[\"a\"]\t{\"b\":[1,\"x/y\",{}],\"c\":null}\n[\"d\"]\t\"é\\n\"",
		`no JSON`: "no JSON", `{"a": `: `{"a": `, ``: "",
	} {
		if diff := cmp.Diff(want, flattened([]byte(text))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestWhatTheHookPrintsIsTold(t *testing.T) {
	d := configured(t, settings{Hook: write(t, t.TempDir(), "hook", "#!/bin/sh\nprintf 'one\\ntwo'; echo three >&2\n")})
	r := &recorder{}
	must(t, d.call(t.Context(), r, "x"))
	if slices.Sort(r.progress); strings.Join(r.progress, " ") != "one three two" {
		t.Errorf("told %q", r.progress)
	}
}

func TestAHookThatLeavesAProcess(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "gate")
	must(t, syscall.Mkfifo(fifo, 0o600))
	d := configured(t, settings{Hook: write(t, dir, "hook", "#!/bin/sh\n[ $1 != x ] || cat "+fifo+" &\n")})
	r := &recorder{}
	must(t, d.call(t.Context(), r, "x"))
	must(t, os.WriteFile(fifo, nil, 0o600)) // now it can end
	if !strings.Contains(r.said, "the call x of the hook "+dir+"/hook ended, and left a process in the background") {
		t.Errorf("said %q", r.said)
	}
}

// The real binary, as it is released.
func TestConformance(t *testing.T) {
	binary := filepath.Join(filepath.Dir(build(t)), "../libexec/certwright/plugins/certwright-plugin-dehydrated")
	root := t.TempDir()
	well := filepath.Join(root, ".well-known", "acme-challenge")
	must(t, os.MkdirAll(well, 0o755))
	plugintest.Run(t, plugintest.Suite{
		Binary: binary, WebrootPath: root,
		Settings: map[string]any{"config": write(t, root, "config", "WELLKNOWN="+well+"\nHOOK="+write(t, root, "hook", "#!/bin/sh\n")+"\n")},
	})
}

func configured(t *testing.T, s settings) *dehydrated {
	t.Helper()
	if s.HookTimeout == 0 {
		s.HookTimeout = time.Minute
	}
	d := &dehydrated{settings: s}
	must(t, d.Configure(t.Context(), sdk.Instance{Name: "dehydrated", StateDir: t.TempDir()}))
	return d
}

// clone is another process of the same instance.
func clone(t *testing.T, d *dehydrated) *dehydrated {
	t.Helper()
	other := configured(t, d.settings)
	other.config = d.config
	return other
}

func dns(name string) sdk.Challenge {
	return sdk.Challenge{
		ID: name, Type: sdk.DNS01, Identifier: sdk.Identifier{Value: name}, Token: "t", KeyAuthorization: "t.k", DNS: &sdk.DNSChallenge{Value: "digest"},
	}
}

type recorder struct {
	results  []sdk.Result
	progress []string
	said     string
}

func (r *recorder) Progress(_, message string)                  { r.progress = append(r.progress, message) }
func (r *recorder) Say(_ sdk.Stream, text string)               { r.said += text }
func (r *recorder) Ask(context.Context, string) (string, error) { return "", io.EOF }
func (r *recorder) Result(result sdk.Result)                    { r.results = append(r.results, result) }

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	must(t, os.Chmod(path, 0o700))
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}
