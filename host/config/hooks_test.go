package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
)

// Commands become instances of exec; the same command is the same instance
// wherever it stands.
func TestHooksOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("certwright.yaml", `
hooks: [{pre: stop it}, notify]
allow_post_hook_failure: false
instances: [{name: notify, plugin: exec, settings: {post: mail}}]
certificates:
  - names: [a.test]
    authenticate: [{with: [web]}]
    hooks: [{deploy: reload, post: start it}, notify, {pre: stop it}]
    ignore_success_hook_failure: true
  - names: [b.test]
    authenticate: [{with: [web]}]
    hooks: [{success: reload}]
`, 0o600)
	load := func() *Config {
		t.Helper()
		c, err := Load(Sources{ConfigDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := load()
	requests, err := c.Requests()
	if err != nil {
		t.Fatal(err)
	}
	hash := regexp.MustCompile(`-[0-9a-f]{8}$`)
	short := func(names []string) (out []string) {
		for _, n := range names {
			out = append(out, hash.ReplaceAllString(n, ""))
		}
		return out
	}
	a, b := requests[0], requests[1]
	for what, tt := range map[string]struct{ got, want []string }{
		"always":     {short(a.Always), []string{"pre-hook", "notify"}},
		"own":        {short(a.Hooks), []string{"deploy-hook", "post-hook", "notify", "pre-hook"}},
		"all of a":   {short(a.AllHooks()), []string{"pre-hook", "notify", "deploy-hook", "post-hook"}},
		"all of b":   {short(b.AllHooks()), []string{"pre-hook", "notify", "deploy-hook"}},
		"the same":   {a.Hooks[:1], b.Hooks},
		"same again": {a.Always[:1], a.Hooks[3:]},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	i, _ := c.Instance(b.Hooks[0])
	if i.Plugin != "exec" || i.Settings["deploy_hook"].Any != "reload" || i.Settings["beside"].Any != filepath.Join(dir, "renewal-hooks") {
		t.Errorf("%+v", i)
	}
	if a.AllowSuccess == nil || !*a.AllowSuccess || a.AllowPost != nil || c.HookRules.AllowPost == nil || *c.HookRules.AllowPost {
		t.Errorf("rules %+v of a, %+v of all", a.HookRules, c.HookRules)
	}

	// A directory without executables is none.
	write("renewal-hooks/post/readme", "", 0o644)
	if c := load(); len(c.Hooks) != 2 {
		t.Errorf("hooks %v", c.Hooks)
	}
	write("renewal-hooks/post/run", "", 0o755)
	c = load()
	if i, _ := c.Instance("renewal-hooks"); c.Hooks[0] != "renewal-hooks" || i.Settings["directory"].Any != filepath.Join(dir, "renewal-hooks") {
		t.Errorf("hooks %v, %+v", c.Hooks, i)
	}

	// The command line.
	if err := c.Apply(Args{Commands: []HookCommand{{PreHook, "stop that"}}, RunDeployHooks: true, NoHookValidation: true}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]map[string]any{"exec": {"run_deploy_hooks": true, "validate": false}}, c.HookSettings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	name := Args{Commands: []HookCommand{{PreHook, "stop that"}}}.HookNames()[0]
	if i, ok := c.Instance(name); !ok || i.Settings["pre_hook"].Any != "stop that" || i.Settings["beside"].Any == nil {
		t.Errorf("%+v", i)
	}
}

func TestMistakesInHooks(t *testing.T) {
	const certificate = "certificates:\n  - names: [a.test]\n    authenticate: [{with: [web]}]\n"
	for text, want := range map[string]string{
		"hooks: [{during: x}]":                                                        `:1:10: commands of hooks has no key "during"; it has deploy, post, pre, success`,
		"hooks: [{pre: ''}]":                                                          ":1:15: a command of hooks is empty",
		"hooks: [Notify]\n" + certificate:                                             `not "Notify"`,
		"allow_pre_hook_failure: maybe":                                               ":1:25: allow_pre_hook_failure wants true or false",
		"allow_pre_hook_failure: true\nignore_pre_hook_failure: true":                 "hook_failure stands under its other name already",
		certificate + "    allow_post_hook_failure: 1":                                ":4:30: allow_post_hook_failure wants true or false",
		certificate + "    hooks: [[pre]]":                                            "hooks wants a string",
		certificate + "    allow_hook_failure: true\n    hooks: [{pre: a, pre: b}]\n": "a certificate has no key \"allow_hook_failure\"",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(Sources{ConfigDir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v\nwant %s", text, err, want)
		}
	}
}

func TestMergeHooks(t *testing.T) {
	pre, other := HookCommand{PreHook, "a"}.instance().Name, HookCommand{PreHook, "b"}.instance().Name
	post := HookCommand{PostHook, "a"}.instance().Name
	for _, tt := range []struct{ before, now, want []string }{
		{nil, nil, nil},
		{[]string{"x", pre}, nil, []string{"x", pre}},
		{[]string{"x", pre}, []string{other}, []string{"x", other}},
		{[]string{"x", pre}, []string{post}, []string{"x", pre, post}},
		{[]string{"x", pre}, []string{"x"}, []string{pre, "x"}},
		{[]string{"pre-hook-of-mine"}, []string{pre}, []string{"pre-hook-of-mine", pre}},
	} {
		if diff := cmp.Diff(tt.want, MergeHooks(tt.before, tt.now)); diff != "" {
			t.Errorf("%v and %v (-want +got):\n%s", tt.before, tt.now, diff)
		}
	}
}

func TestHookRulesOr(t *testing.T) {
	yes, no := true, false
	got := model.HookRules{AllowPre: &yes}.Or(model.HookRules{AllowPre: &no, AllowPost: &no})
	if *got.AllowPre != true || got.AllowSuccess != nil || *got.AllowPost != false {
		t.Errorf("%+v", got)
	}
}
