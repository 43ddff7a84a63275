package sdk

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type allSettings struct {
	Text   string            `setting:"text"`
	On     bool              `setting:"on" default:"true"`
	Count  int               `setting:"count" default:"80"`
	Big    int64             `setting:"big"`
	Wait   time.Duration     `setting:"wait" default:"1m"`
	List   []string          `setting:"list"`
	Labels map[string]string `setting:"labels"`
	Mode   string            `setting:"mode" choices:"fast,slow" default:"fast"`
	Must   string            `setting:"must,required"`
	Key    Secret            `setting:"key"`
	Pass   string            `setting:"pass,secret"`
	own    string            // the plugin's own
}

func TestDecodeSettings(t *testing.T) {
	for name, c := range map[string]struct {
		object  string
		secrets map[string][]byte
		want    allSettings
		wrong   []string // subjects of the problems, in order
		says    string
	}{
		"defaults": {object: `{"must":"x"}`, want: allSettings{On: true, Count: 80, Wait: time.Minute, Mode: "fast", Must: "x"}},
		"all": {
			object: `{"text":"t","on":false,"count":-1,"big":9007199254740993,"wait":"90s","list":["a","b"],
				"labels":{"a":"b"},"mode":"slow","must":"x"}`,
			secrets: map[string][]byte{"key": []byte("k"), "pass": []byte("p")},
			want: allSettings{Text: "t", Count: -1, Big: 9007199254740993, Wait: 90 * time.Second, List: []string{"a", "b"},
				Labels: map[string]string{"a": "b"}, Mode: "slow", Must: "x", Key: "k", Pass: "p"},
		},
		"empty":                {object: ``, wrong: []string{"must"}, says: "setting must is missing"},
		"null":                 {object: `null`, wrong: []string{"must"}, says: "is missing"},
		"no object":            {object: `[1]`, wrong: []string{""}, says: "not a JSON object"},
		"text is a number":     {object: `{"must":"x","text":1}`, wrong: []string{"text"}, says: "setting text wants a string, not 1"},
		"text is null":         {object: `{"must":null}`, wrong: []string{"must"}, says: "wants a string"},
		"bool is text":         {object: `{"must":"x","on":"yes"}`, wrong: []string{"on"}, says: "wants true or false"},
		"int is text":          {object: `{"must":"x","count":"80"}`, wrong: []string{"count"}, says: "wants a whole number"},
		"int is a fraction":    {object: `{"must":"x","count":1.5}`, wrong: []string{"count"}, says: "wants a whole number"},
		"int is too large":     {object: `{"must":"x","big":9223372036854775808}`, wrong: []string{"big"}, says: "wants a whole number"},
		"duration is a number": {object: `{"must":"x","wait":90}`, wrong: []string{"wait"}, says: "wants a duration such as 90s"},
		"duration is no unit":  {object: `{"must":"x","wait":"90"}`, wrong: []string{"wait"}, says: "wants a duration"},
		"list is text":         {object: `{"must":"x","list":"a"}`, wrong: []string{"list"}, says: "wants a list of strings"},
		"list of numbers":      {object: `{"must":"x","list":[1]}`, wrong: []string{"list"}, says: "wants a list of strings"},
		"map of numbers":       {object: `{"must":"x","labels":{"a":1}}`, wrong: []string{"labels"}, says: "wants a map of strings"},
		"not a choice":         {object: `{"must":"x","mode":"medium"}`, wrong: []string{"mode"}, says: "wants one of fast, slow"},
		"unknown":              {object: `{"must":"x","zz":1,"aa":2}`, wrong: []string{"aa", "zz"}, says: "setting aa is unknown"},
		"unknown secret": {object: `{"must":"x","zz":1}`, secrets: map[string][]byte{"zz": []byte("k")}, wrong: []string{"zz"},
			says: "is unknown"},
		"secret as a literal": {object: `{"must":"x","key":"hunter2"}`, wrong: []string{"key"}, says: "must be given by reference"},
		"no secret":           {object: `{"must":"x"}`, secrets: map[string][]byte{"text": []byte("k")}, wrong: []string{"text"}, says: "is not a secret"},
		"all at once":         {object: `{"on":1,"zz":1}`, wrong: []string{"on", "must", "zz"}, says: "on wants"},
	} {
		t.Run(name, func(t *testing.T) {
			got := allSettings{own: "kept"}
			var subjects []string
			var text strings.Builder
			for _, p := range decodeSettings(&got, []byte(c.object), c.secrets) {
				if p.Code != InvalidConfig {
					t.Errorf("code of %v is %s", p, p.Code)
				}
				subjects = append(subjects, p.Subject)
				fmt.Fprintln(&text, p)
			}
			if diff := cmp.Diff(c.wrong, subjects); diff != "" {
				t.Errorf("problems (-want +got):\n%s\n%s", diff, text.String())
			}
			if !strings.Contains(text.String(), c.says) || strings.Contains(text.String(), "hunter2") {
				t.Errorf("problems say %q, want %q and no secret", text.String(), c.says)
			}
			c.want.own = "kept"
			if len(c.wrong) == 0 {
				if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(allSettings{}), cmp.Transformer("plain", func(s Secret) string { return string(s) })); diff != "" {
					t.Errorf("settings (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestSchema(t *testing.T) {
	got, err := schemaOf(&allSettings{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Setting{
		{Name: "text", Type: StringSetting}, {Name: "on", Type: BoolSetting, Default: "true"},
		{Name: "count", Type: IntSetting, Default: "80"}, {Name: "big", Type: IntSetting},
		{Name: "wait", Type: DurationSetting, Default: "1m"}, {Name: "list", Type: ListSetting},
		{Name: "labels", Type: MapSetting}, {Name: "mode", Type: StringSetting, Default: "fast", Choices: []string{"fast", "slow"}},
		{Name: "must", Type: StringSetting, Required: true}, {Name: "key", Type: StringSetting, Secret: true},
		{Name: "pass", Type: StringSetting, Secret: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	if none, err := schemaOf(nil); err != nil || len(none) > 0 {
		t.Errorf("no settings: %v, %v", none, err)
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	for says, settings := range map[string]any{
		"must be a pointer":    allSettings{},
		"must be a pointer to": (*allSettings)(nil),
		"not *int":             new(int),
		`unknown option "optional"`: &struct {
			A string `setting:"a,optional"`
		}{},
		"type float64": &struct {
			A float64 `setting:"a"`
		}{},
		`name "" is empty`: &struct {
			A string `setting:",required"`
		}{},
		`name "a" is empty or taken`: &struct {
			A, B string `setting:"a"`
		}{},
		"must be exported": &struct {
			a string `setting:"a"`
		}{},
		"a secret must be a string": &struct {
			A int `setting:"a,secret"`
		}{},
		"default: wants a whole": &struct {
			A int `setting:"a" default:"x"`
		}{},
		"default: wants one of": &struct {
			A string `setting:"a" default:"x" choices:"y,z"`
		}{},
		"default: a string_list has no": &struct {
			A []string `setting:"a" default:"x"`
		}{},
	} {
		if _, err := schemaOf(settings); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("schemaOf(%T): %v, want %q", settings, err, says)
		}
	}
}

// A secret shows in no format and no encoding; only a conversion gives it.
func TestSecretIsNeverShown(t *testing.T) {
	s := struct{ Key Secret }{"hunter2"}
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(encoded), s.Key.String(), s.Key.GoString()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %v"} {
		texts = append(texts, fmt.Sprintf(verb, s), fmt.Sprintf(verb, s.Key), fmt.Sprintf(verb, &s))
	}
	for _, text := range texts {
		if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("the secret shows in %q", text)
		}
	}
	if string(s.Key) != "hunter2" || Secret("").String() != "" {
		t.Error("a secret does not give itself to a conversion, or shows where there is none")
	}
}

type scriptSettings struct {
	Env SecretMap `setting:"env"`
}

func TestSecretMap(t *testing.T) {
	for name, c := range map[string]struct {
		object  string
		secrets map[string][]byte
		want    SecretMap
		wrong   string // what the one problem says; its subject is env
	}{
		"nothing":     {want: SecretMap{}},
		"a literal":   {object: `{"env":{"A":"hunter2"}}`, want: SecretMap{"A": {Secret: "hunter2", Literal: true}}},
		"a reference": {secrets: map[string][]byte{"env.B": []byte("hunter2")}, want: SecretMap{"B": {Secret: "hunter2"}}},
		"both": {
			object: `{"env":{"A":"a"}}`, secrets: map[string][]byte{"env.B.C": []byte("hunter2")},
			want: SecretMap{"A": {Secret: "a", Literal: true}, "B.C": {Secret: "hunter2"}},
		},
		"twice":   {object: `{"env":{"A":"hunter2"}}`, secrets: map[string][]byte{"env.A": []byte("hunter2")}, wrong: "has A twice"},
		"text":    {object: `{"env":"hunter2"}`, wrong: "wants a map of strings"},
		"numbers": {object: `{"env":{"A":42}}`, wrong: "wants a map of strings"},
		"null":    {object: `{"env":null}`, wrong: "wants a map of strings"},
	} {
		t.Run(name, func(t *testing.T) {
			got := scriptSettings{}
			problems := decodeSettings(&got, []byte(c.object), c.secrets)
			if c.wrong != "" {
				if len(problems) != 1 || problems[0].Subject != "env" || !strings.Contains(problems[0].Error(), c.wrong) ||
					strings.Contains(problems[0].Error(), "hunter2") || strings.Contains(problems[0].Error(), "42") {
					t.Errorf("problems %v, want one that says %q and shows no value", problems, c.wrong)
				}
				return
			}
			if len(problems) > 0 {
				t.Error(problems)
			}
			if diff := cmp.Diff(c.want, got.Env, cmp.Transformer("plain", func(s Secret) string { return string(s) })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if text := fmt.Sprintf("%v %+v", got, got.Env); strings.Contains(text, "hunter2") {
				t.Errorf("a secret shows in %q", text)
			}
		})
	}
	schema, err := schemaOf(&scriptSettings{})
	if err != nil || len(schema) != 1 || schema[0].Type != MapSetting || !schema[0].Secret {
		t.Errorf("the schema is %+v, %v", schema, err)
	}
	if problems := decodeSettings(&scriptSettings{}, nil, map[string][]byte{"other.A": []byte("x"), "env.": []byte("x")}); len(problems) != 2 {
		t.Errorf("secrets of no setting: %v", problems)
	}
}
