package config

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

var everyType = sdk.Description{Name: "x", Settings: []sdk.Setting{
	{Name: "text", Type: sdk.StringSetting}, {Name: "flag", Type: sdk.BoolSetting}, {Name: "count", Type: sdk.IntSetting},
	{Name: "wait", Type: sdk.DurationSetting}, {Name: "list", Type: sdk.ListSetting}, {Name: "map", Type: sdk.MapSetting},
	{Name: "token", Type: sdk.StringSetting, Secret: true}, {Name: "env", Type: sdk.MapSetting, Secret: true},
}}

func set(t *testing.T, sets ...string) Instance {
	t.Helper()
	cfg := &Config{}
	for i := range sets {
		sets[i] = "i." + sets[i]
	}
	if err := cfg.Apply(Args{Sets: sets}); err != nil {
		t.Fatal(err)
	}
	return cfg.Instances[0]
}

func TestBindCommandLine(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for sets, want := range map[string]model.Instance{
		"text=yes":                    {Settings: map[string]any{"text": "yes"}},
		"text=":                       {Settings: map[string]any{"text": ""}},
		"text=@/not/a/reference":      {Settings: map[string]any{"text": "@/not/a/reference"}},
		"flag=true":                   {Settings: map[string]any{"flag": true}},
		"flag=false":                  {Settings: map[string]any{"flag": false}},
		"count=5002":                  {Settings: map[string]any{"count": 5002}},
		"count=-1":                    {Settings: map[string]any{"count": -1}},
		"wait=90s":                    {Settings: map[string]any{"wait": "90s"}},
		"list=[a, 'b c', 3]":          {Settings: map[string]any{"list": []string{"a", "b c", "3"}}},
		"list=[]":                     {Settings: map[string]any{"list": []string{}}},
		"map={a.example: /x, b: '}'}": {Settings: map[string]any{"map": map[string]string{"a.example": "/x", "b": "}"}}},
		"unknown=7":                   {Settings: map[string]any{"unknown": "7"}},
		"token=@/run/keys/a":          {Secrets: map[string]model.SecretRef{"token": {File: "/run/keys/a"}}},
		"token=@keys/a":               {Secrets: map[string]model.SecretRef{"token": {File: dir + "/keys/a"}}},
		"token==env:TOKEN":            {Secrets: map[string]model.SecretRef{"token": {Env: "TOKEN"}}},
		"token=env:TOKEN":             {Secrets: map[string]model.SecretRef{"token": {Env: "TOKEN"}}},
		"env.A_B=env:TOKEN":           {Secrets: map[string]model.SecretRef{"env.A_B": {Env: "TOKEN"}}},
		"env.A=@keys/a":               {Secrets: map[string]model.SecretRef{"env.A": {File: dir + "/keys/a"}}},
		"env.A=a=b":                   {Literals: model.Literals{"env": {"A": "a=b"}}},
		"env={A: x, B: {env: TOKEN}}": {Literals: model.Literals{"env": {"A": "x"}}, Secrets: map[string]model.SecretRef{"env.B": {Env: "TOKEN"}}},
		"map.A=x":                     {Settings: map[string]any{"map.A": "x"}},
	} {
		want.Name, want.Plugin = "i", "i"
		if want.Settings == nil {
			want.Settings = map[string]any{}
		}
		if want.Secrets == nil {
			want.Secrets = map[string]model.SecretRef{}
		}
		got, err := Bind(set(t, sets), everyType)
		if err != nil {
			t.Errorf("%s: %v", sets, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sets, diff)
		}
	}
	for sets, want := range map[string]string{
		"flag=ja":       `command line: setting flag of instance i wants true or false, not "ja"`,
		"count=1.5":     `command line: setting count of instance i wants a whole number, not "1.5"`,
		"list=a,b":      `command line: setting list of instance i wants a list such as [a, b], not "a,b"`,
		"list={a: b}":   `command line: setting list of instance i wants a list such as [a, b]`,
		"list=[a":       `command line: setting list of instance i wants a list such as [a, b]`,
		"map=[a]":       `command line: setting map of instance i wants a map such as {a: b}`,
		"token=hunter2": `command line: setting token of instance i is a secret and wants a reference`,
		"token=@":       `command line: setting token of instance i is a secret and wants a reference`,
		"token==env:":   `command line: setting token of instance i is a secret and wants a reference`,
		"token=":        `command line: setting token of instance i is a secret and wants a reference`,
		"env=hunter2":   `command line: setting env of instance i wants a map such as {NAME: {env: NAME}} or {NAME: value}`,
		"env={hunter2":  `command line: setting env of instance i wants a map such as`,
		"env={A: 42}":   `command line: setting env of instance i in A wants text or a reference`,
	} {
		_, err := Bind(set(t, sets), everyType)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", sets, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestBindFile(t *testing.T) {
	cfg := load(t, map[string]string{FileName: `
instances:
  - name: good
    timeout: 7s
    settings: {text: a, flag: true, count: 3, wait: 2m, list: [a, b], map: {a: b}, token: {env: TOKEN}}
  - name: bad
    settings:
      token: hunter2
      text: fine
  - {name: relative, settings: {token: {file: keys/a}}}
  - {name: two, settings: {token: {file: /a, env: B}}}
  - {name: number, settings: {token: {env: 7}}}
  - {name: octal, settings: {text: 0644}}
  - {name: vars, settings: {env: {A: a, B: {file: /b}, C: {env: C}}}}
  - {name: badvars, settings: {env: {A: 7, B: {file: b}, C: {vault: hunter2}}}}
`}, nil)
	instance := func(name string) Instance {
		i, ok := cfg.Instance(name)
		if !ok {
			t.Fatalf("no instance %s", name)
		}
		return i
	}
	got, err := Bind(instance("good"), everyType)
	if err != nil {
		t.Fatal(err)
	}
	want := model.Instance{
		Name: "good", Plugin: "good", Timeout: 7 * time.Second,
		Settings: map[string]any{"text": "a", "flag": true, "count": 3, "wait": "2m", "list": []any{"a", "b"}, "map": map[string]any{"a": "b"}},
		Secrets:  map[string]model.SecretRef{"token": {Env: "TOKEN"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err = Bind(instance("vars"), everyType); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]model.SecretRef{"env.B": {File: "/b"}, "env.C": {Env: "C"}}, got.Secrets); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(model.Literals{"env": {"A": "a"}}, got.Literals); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	file := cfg.Files[0]
	for name, want := range map[string]string{
		"bad":      file + ":8:14: setting token of instance bad is a secret and wants a reference: {file: PATH}, {env: NAME}, {command: LINE} or {credential: NAME}",
		"relative": file + `:10:40: setting token of instance relative names the file "keys/a", which is not an absolute path`,
		"two":      file + ":11:35: setting token of instance two is a secret and wants a reference",
		"number":   file + ":12:38: setting token of instance number is a secret and wants a reference",
		"badvars":  file + ":15:37: setting env of instance badvars in A wants text or a reference: write a number or a switch in quotes",
		"octal":    file + ":13:36: setting text of instance octal wants a string, and without quotes this is 420 for YAML: write it in quotes",
	} {
		_, err := Bind(instance(name), everyType)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
	bad := instance("bad")
	if err := bad.At("text", "is %s", "wrong"); err.Error() != file+":9:13: instance bad: is wrong" {
		t.Error(err)
	}
	if err := bad.At("absent", "is missing"); err.Error() != file+":6:5: instance bad: is missing" {
		t.Error(err)
	}
}

// What is kept of an instance has the names of literals only, and is the same
// instance as long as those are the same.
func TestLiteralsAreNotKept(t *testing.T) {
	cfg := load(t, map[string]string{FileName: `
instances:
  - {name: x, settings: {text: t, env: {A: hunter2, B: {env: TOKEN}}}}
`}, nil)
	i, _ := cfg.Instance("x")
	bound, err := Bind(i, everyType)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"text": "t", "env": map[string]string{"A": "hunter2"}}, bound.Given()); diff != "" {
		t.Errorf("given (-want +got):\n%s", diff)
	}
	kept, err := json.Marshal(bound)
	if err != nil || strings.Contains(string(kept), "hunter2") {
		t.Fatalf("kept is %s (%v)", kept, err)
	}
	var back model.Instance
	if err := json.Unmarshal(kept, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(back); err != nil || string(again) != string(kept) {
		t.Errorf("read and written again %s is %s (%v)", kept, again, err)
	}
	if _, given := back.Given()["env"]; given {
		t.Errorf("literals that are not known are given: %v", back.Given())
	}
	if !i.Same(back) {
		t.Error("it is not the same instance")
	}
	for name, env := range map[string]map[string]any{
		"one less":          {"A": "hunter2"},
		"one more":          {"A": "hunter2", "B": map[string]any{"env": "TOKEN"}, "C": "c"},
		"another reference": {"A": "hunter2", "B": map[string]any{"env": "OTHER"}},
		"another name":      {"AA": "hunter2", "B": map[string]any{"env": "TOKEN"}},
	} {
		other := Instance{Name: "x", Plugin: "x", Settings: map[string]Value{"text": {Any: "t"}, "env": {Any: env}}}
		if other.Same(back) {
			t.Errorf("%s: it is taken for the same instance", name)
		}
	}
	text := "changed"
	flat := Instance{Name: "x", Plugin: "x", Settings: map[string]Value{"text": {Any: "t"}, "env.A": {Text: &text}}}
	if flat.Same(back) {
		t.Error("a variable that is no longer set is not missed")
	}
}
