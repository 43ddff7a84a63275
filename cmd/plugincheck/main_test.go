package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

const root = "../.."

// hello is the built example; real are plugins of ours, by name.
var (
	hello string
	real  = map[string]string{"webroot": "", "standalone": "", "rfc2136": ""}
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cwhello")
	if err == nil {
		hello = filepath.Join(dir, "certwright-plugin-hello")
		// In its own module and as it is committed: nothing may need an update.
		build := exec.Command("go", "build", "-mod=readonly", "-o", hello, ".")
		build.Dir = filepath.Join(root, "examples", "hello-authenticator")
		build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
		var out []byte
		if out, err = build.CombinedOutput(); err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
	}
	for name := range real {
		real[name] = filepath.Join(dir, "certwright-plugin-"+name)
		if err == nil {
			var out []byte
			if out, err = exec.Command("go", "build", "-o", real[name], filepath.Join(root, "plugins", name)).CombinedOutput(); err != nil {
				err = fmt.Errorf("%w\n%s", err, out)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the plugins:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// webroot gives a directory to serve and the one for the tokens in it.
func webroot(t *testing.T) (www, tokens string) {
	t.Helper()
	www = t.TempDir()
	tokens = filepath.Join(www, ".well-known", "acme-challenge")
	if err := os.MkdirAll(tokens, 0o755); err != nil {
		t.Fatal(err)
	}
	return www, tokens
}

func plugincheck(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestFirstPluginPasses(t *testing.T) {
	www, tokens := webroot(t)
	code, stdout, stderr := plugincheck(t, "--set", "dir="+tokens, "--webroot", www, hello)
	if code != exitPassed || stderr != "" {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	for _, line := range []string{"ok    http-01/seen\n", ", since the plugin does not answer dns-01\n", " ok, 0 failed, "} {
		if !strings.Contains(stdout, line) {
			t.Errorf("stdout lacks %q:\n%s", line, stdout)
		}
	}
	if left, err := os.ReadDir(tokens); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The suite looks at one directory while the plugin writes to another.
func TestFailureIsExplained(t *testing.T) {
	www, _ := webroot(t)
	_, elsewhere := webroot(t)
	code, stdout, _ := plugincheck(t, "--set", "dir="+elsewhere, "--webroot", www, hello)
	if code != exitFailed {
		t.Errorf("exit %d", code)
	}
	mend := "to mend:\n  http-01/seen: report a challenge only once its response can be seen\n"
	for _, text := range []string{"FAIL  http-01/seen: ", "status 404", adviceText, mend} {
		if !strings.Contains(stdout, text) {
			t.Errorf("stdout lacks %q:\n%s", text, stdout)
		}
	}
}

// Settings point real plugins to the world; nothing else is given.
func TestRealPluginsInTheWorld(t *testing.T) {
	for _, c := range []struct {
		name string
		set  []string
		ok   []string
	}{
		{"webroot", []string{"path={dir}"}, []string{"http-01/seen", "http-01/foreign", "faults/no-place"}},
		{"standalone", []string{"http_port={http_port}", "tls_port={tls_port}", "address=127.0.0.1"}, []string{"http-01/seen", "tls-alpn-01/seen"}},
		{"rfc2136", []string{"server={dns}", "tsig_name={tsig_name}", "tsig_secret={tsig_secret}", "protocol=tcp"}, []string{
			"dns-01/seen", "dns-01/foreign", "faults/slow", "faults/unavailable", "faults/cut-off",
			"faults/lost-answer", "faults/cleanup", "faults/cancel", "faults/killed", "wire/secrets",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var args []string
			for _, set := range c.set {
				args = append(args, "--set", set)
			}
			code, stdout, stderr := plugincheck(t, append(args, real[c.name])...)
			if code != exitPassed || stderr != "" {
				t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
			}
			for _, name := range c.ok {
				if !strings.Contains(stdout, "ok    "+name+"\n") {
					t.Errorf("stdout lacks ok for %s:\n%s", name, stdout)
				}
			}
			if strings.Contains(stdout, "was not told enough") {
				t.Errorf("something is not looked at:\n%s", stdout)
			}
		})
	}
}

// A plugin of the first release keeps the contract as it is checked today.
func TestFrozenPluginPasses(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "certwright-plugin-v1plugin")
	build := exec.CommandContext(t.Context(), "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", binary, ".")
	build.Dir = filepath.Join(root, "sdk", "testdata", "v1plugin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	www, target := t.TempDir(), filepath.Join(t.TempDir(), "target.pem")
	t.Setenv("FROZEN_TOKEN", "t0ken-of-v1plugin")
	code, stdout, stderr := plugincheck(t, "--set", "web="+www, "--set", "target="+target, "--set", "token=env:FROZEN_TOKEN",
		"--webroot", www, "--deployed", target, binary)
	if code != exitPassed || stderr != "" {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	for _, line := range []string{"ok    http-01/seen\n", "ok    installer/rollback\n", "ok    hook/events\n"} {
		if !strings.Contains(stdout, line) {
			t.Errorf("stdout lacks %q:\n%s", line, stdout)
		}
	}
}

const adviceText = "report a challenge as done only when its response can be seen"

func TestJSON(t *testing.T) {
	www, tokens := webroot(t)
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("dir: "+tokens+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := plugincheck(t, "--json", "--settings", file, "--webroot", www, hello)
	if code != exitPassed {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	passed := 0
	for _, line := range lines[:len(lines)-1] {
		var step plugintest.Step
		if err := json.Unmarshal([]byte(line), &step); err != nil || step.Name == "" || step.Obligation == "" {
			t.Fatalf("%s: %v", line, err)
		}
		if step.Outcome == plugintest.Passed {
			passed++
		}
	}
	var c card
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &c); err != nil {
		t.Fatal(err)
	}
	sum := count{}
	for _, category := range plugintest.Categories() {
		one := c.Categories[category]
		sum.Passed, sum.Failed, sum.NotApplicable = sum.Passed+one.Passed, sum.Failed+one.Failed, sum.NotApplicable+one.NotApplicable
		sum.Unseen += one.Unseen
	}
	if sum != c.count {
		t.Errorf("the categories add up to %+v, the whole to %+v", sum, c.count)
	}
	if c.Passed != passed || c.Failed != 0 || c.Passed+c.NotApplicable != len(lines)-1 {
		t.Errorf("count %+v for %d lines of which %d passed", c, len(lines)-1, passed)
	}
}

func TestUsage(t *testing.T) {
	text := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(text, []byte("- no\n- map\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.yaml")
	if err := os.WriteFile(other, []byte("path: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no plugin":       {nil, "accepts 1 arg"},
		"unknown flag":    {[]string{"--nope", hello}, "--nope"},
		"missing plugin":  {[]string{"/nonexistent/x"}, "/nonexistent/x"},
		"not executable":  {[]string{text}, "is not executable"},
		"wrong set":       {[]string{"--set", "dir", hello}, "wants KEY=VALUE"},
		"no settings":     {[]string{"--settings", "/nonexistent/s", hello}, "/nonexistent/s"},
		"settings no map": {[]string{"--settings", text, hello}, "write a map"},
		"unknown setting": {[]string{"--set", "path=x", "--set", "where=y", hello}, "--set path=x: the plugin has no setting path; it has dir"},
		"unknown in file": {[]string{"--settings", other, hello}, other + ": the plugin has no setting path; it has dir"},
		"no placeholder":  {[]string{"--set", "dir={directory}/x", hello}, "--set dir: {directory} is no placeholder; there are {dir}, "},
		"no such place":   {[]string{"--set", "dir={dir}", "--deployed", "{live}/a.pem", hello}, "--deployed: {live} is no placeholder"},
		"no webroot":      {[]string{"--webroot", "/nonexistent/w", hello}, "--webroot /nonexistent/w"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := plugincheck(t, c.args...)
			if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.says) {
				t.Errorf("exit %d, stdout %q, stderr %q; want %q", code, stdout, stderr, c.says)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	code, stdout, stderr := plugincheck(t, "--help")
	if code != exitPassed || !strings.Contains(stdout, "--webroot") || stderr != "" {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// What a plugin fills in itself is no mistake, nor is what a shell or a template does.
func TestPlacesOfOthers(t *testing.T) {
	own := sdk.Setting{Doc: "`{name}` stands for the certificate's name", Default: "a {site}"}
	for _, text := range []string{"{name}:443", "{site}", "${home}", "{{word}}", "{via http://127.0.0.1:1}", "{dir}/{name}", "{A}", "{}", `{"a": 1}`} {
		if err := places("--set x", text, own); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if places("--set x", "{name}", sdk.Setting{}) == nil {
		t.Error("{name} is taken for a setting that does not say so")
	}
}

func TestSetOne(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PLUGINCHECK_SECRET", "from env")
	types := map[string]sdk.Setting{
		"p": {Type: sdk.IntSetting}, "s": {Type: sdk.StringSetting}, "d": {Type: sdk.DurationSetting}, "i": {Type: sdk.IntSetting},
		"l": {Type: sdk.ListSetting}, "k": {Type: sdk.StringSetting, Secret: true},
	}
	for _, c := range []struct{ name, text, settings, secret, says string }{
		{name: "s", text: "12", settings: `{"s":"12"}`},
		{name: "d", text: "2m", settings: `{"d":"2m"}`},
		{name: "i", text: "12", settings: `{"i":12}`},
		{name: "p", text: "{http_port}", settings: `{"p":"{http_port}"}`},
		{name: "k", text: "{tsig_secret}", settings: `{}`, secret: "{tsig_secret}"},
		{name: "l", text: "[a, b]", settings: `{"l":["a","b"]}`},
		{name: "l", text: "[a", says: "--set l=[a"},
		{name: "unknown", text: "true", settings: `{"unknown":true}`},
		{name: "k", text: "@" + secret, settings: `{}`, secret: "from file"},
		{name: "k", text: "env:PLUGINCHECK_SECRET", settings: `{}`, secret: "from env"},
		{name: "k", text: "env:PLUGINCHECK_NO_SUCH", says: "PLUGINCHECK_NO_SUCH is not set"},
		{name: "k", text: "literal", says: "give @FILE or env:NAME"},
	} {
		t.Run(c.name+"="+c.text, func(t *testing.T) {
			s := plugintest.Suite{Settings: map[string]any{}, Secrets: map[string][]byte{}}
			err := setOne(&s, types, c.name, c.text)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "literal") {
					t.Fatalf("error %v, want %q", err, c.says)
				}
				return
			}
			got, _ := json.Marshal(s.Settings)
			if err != nil || string(got) != c.settings || string(s.Secrets["k"]) != c.secret {
				t.Errorf("settings %s, secrets %q, error %v", got, s.Secrets, err)
			}
		})
	}
}
