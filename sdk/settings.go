package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"
)

// SettingType is the type of a setting, as the user writes it in YAML.
type SettingType string

// Types of settings and the Go types that declare them.
const (
	StringSetting   SettingType = "string"      // string, Secret
	BoolSetting     SettingType = "bool"        // bool
	IntSetting      SettingType = "int"         // int, int64
	DurationSetting SettingType = "duration"    // time.Duration, written "90s", "2m"
	ListSetting     SettingType = "string_list" // []string
	MapSetting      SettingType = "string_map"  // map[string]string, SecretMap
)

// Setting is one configurable value of an instance.
type Setting struct {
	Name     string      `json:"name"`
	Type     SettingType `json:"type"`
	Required bool        `json:"required,omitempty"`
	// Secret settings are given by reference only, never as a literal. The values
	// of a secret map may be given either way; none of them is shown.
	Secret bool `json:"secret,omitempty"`
	// Default as it would be written in YAML; empty: the type's zero value.
	Default string   `json:"default,omitempty"`
	Doc     string   `json:"doc,omitempty"`
	Choices []string `json:"choices,omitempty"`
}

// Secret is a setting that is never printed: formatting it gives "[secret]".
type Secret string

// String hides the secret; convert with string(s) to use it.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// Format hides the secret from every verb, wrong ones too.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SecretMap is a setting of secrets by name, for plugins that pass on what they
// do not know, such as the variables of a script.
type SecretMap map[string]SecretValue

// SecretValue is one of a SecretMap.
type SecretValue struct {
	Secret
	// Literal says that it was given as it is, not by reference: the host keeps
	// only its name, so a later process of the instance may not be given it.
	Literal bool
}

// schemaOf reads the tags of a settings struct:
//
//	Port int `setting:"http_port" default:"80" doc:"port to listen on"`
//	Key Secret `setting:"api_key,required" doc:"..."`
//	Mode string `setting:"mode" choices:"a,b"`
//
// Fields without the tag are the plugin's own.
func schemaOf(settings any) ([]Setting, error) {
	fields, err := settingFields(settings)
	if err != nil {
		return nil, err
	}
	out := make([]Setting, 0, len(fields))
	for _, f := range fields {
		out = append(out, f.Setting)
	}
	return out, nil
}

type settingField struct {
	Setting
	value reflect.Value
}

func settingFields(settings any) ([]settingField, error) {
	if settings == nil {
		return nil, nil
	}
	v := reflect.ValueOf(settings)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("settings must be a pointer to a struct, not %T", settings)
	}
	v = v.Elem()
	var out []settingField
	seen := map[string]bool{}
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		tag, ok := sf.Tag.Lookup("setting")
		if !ok {
			continue
		}
		parts := strings.Split(tag, ",")
		f := settingField{value: v.Field(i), Setting: Setting{
			Name: parts[0], Default: sf.Tag.Get("default"), Doc: sf.Tag.Get("doc"),
		}}
		if c := sf.Tag.Get("choices"); c != "" {
			f.Choices = strings.Split(c, ",")
		}
		for _, option := range parts[1:] {
			switch option {
			case "required":
				f.Required = true
			case "secret":
				f.Secret = true
			default:
				return nil, fmt.Errorf("settings field %s: unknown option %q", sf.Name, option)
			}
		}
		var known bool
		if f.Type, known = typeOfField(sf.Type); !known {
			return nil, fmt.Errorf("settings field %s: type %s is not supported", sf.Name, sf.Type)
		}
		f.Secret = f.Secret || sf.Type == reflect.TypeFor[Secret]() || f.named()
		switch {
		case f.Name == "" || seen[f.Name]:
			return nil, fmt.Errorf("settings field %s: name %q is empty or taken", sf.Name, f.Name)
		case !sf.IsExported():
			return nil, fmt.Errorf("settings field %s: must be exported", sf.Name)
		case f.Secret && f.Type != StringSetting && !f.named():
			return nil, fmt.Errorf("settings field %s: a secret must be a string", sf.Name)
		}
		seen[f.Name] = true
		if f.Default != "" {
			if err := setFromText(f, f.Default); err != nil {
				return nil, fmt.Errorf("settings field %s: default: %w", sf.Name, err)
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// named says whether the field takes secrets by name.
func (f settingField) named() bool { return f.value.Type() == reflect.TypeFor[SecretMap]() }

func typeOfField(t reflect.Type) (SettingType, bool) {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return DurationSetting, true
	case reflect.TypeFor[[]string]():
		return ListSetting, true
	case reflect.TypeFor[map[string]string](), reflect.TypeFor[SecretMap]():
		return MapSetting, true
	}
	switch t.Kind() {
	case reflect.String:
		return StringSetting, true
	case reflect.Bool:
		return BoolSetting, true
	case reflect.Int, reflect.Int64:
		return IntSetting, true
	}
	return "", false
}

// setFromText sets a default, which is text whatever the type.
func setFromText(f settingField, text string) error {
	switch f.Type {
	case StringSetting, DurationSetting:
		quoted, err := json.Marshal(text)
		if err != nil {
			return err
		}
		return setFromJSON(f, quoted)
	case ListSetting, MapSetting:
		return fmt.Errorf("a %s has no default", f.Type)
	default:
		return setFromJSON(f, []byte(text))
	}
}

func setFromJSON(f settingField, raw json.RawMessage) error {
	wrong := func() error {
		return fmt.Errorf("wants %s, not %s", describeType(f.Type), bytes.TrimSpace(raw))
	}
	switch f.Type {
	case DurationSetting:
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return wrong()
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return wrong()
		}
		f.value.SetInt(int64(d))
	case IntSetting:
		n, err := strconv.ParseInt(string(bytes.TrimSpace(raw)), 10, 64)
		if err != nil || f.value.OverflowInt(n) {
			return wrong()
		}
		f.value.SetInt(n)
	default:
		fresh := reflect.New(f.value.Type())
		if string(bytes.TrimSpace(raw)) == "null" || json.Unmarshal(raw, fresh.Interface()) != nil {
			return wrong()
		}
		f.value.Set(fresh.Elem())
	}
	if len(f.Choices) == 0 {
		return nil
	}
	for _, c := range f.Choices {
		if f.value.Kind() == reflect.String && f.value.String() == c {
			return nil
		}
	}
	return fmt.Errorf("wants one of %s, not %s", strings.Join(f.Choices, ", "), raw)
}

func describeType(t SettingType) string {
	switch t {
	case StringSetting:
		return "a string"
	case BoolSetting:
		return "true or false"
	case IntSetting:
		return "a whole number"
	case DurationSetting:
		return "a duration such as 90s or 2m"
	case ListSetting:
		return "a list of strings"
	case MapSetting:
		return "a map of strings"
	}
	return string(t)
}

// clearSettings takes out what was decoded into the struct before.
func clearSettings(settings any) {
	fields, err := settingFields(settings)
	if err != nil {
		return // decodeSettings says so
	}
	for _, f := range fields {
		f.value.SetZero()
	}
}

// decodeSettings fills the struct; one problem for each setting that is wrong.
func decodeSettings(settings any, object []byte, secrets map[string][]byte) []*Problem {
	given := map[string]json.RawMessage{}
	if len(object) > 0 {
		if err := json.Unmarshal(object, &given); err != nil {
			return []*Problem{Problemf(InvalidConfig, "settings are not a JSON object: %w", err)}
		}
	}
	fields, err := settingFields(settings)
	if err != nil {
		return []*Problem{Problemf(Internal, "%w", err)}
	}
	var problems []*Problem
	wrong := func(name, format string, args ...any) {
		p := Problemf(InvalidConfig, format, args...)
		p.Subject, p.Retry = name, RetryNever
		problems = append(problems, p)
	}
	known := map[string]bool{}
	for _, f := range fields {
		known[f.Name] = true
		raw, ok := given[f.Name]
		if f.named() {
			named, err := secretMap(f.Name, raw, secrets)
			for name := range named {
				known[f.Name+"."+name] = true
			}
			switch {
			case err != nil:
				wrong(f.Name, "setting %s %w", f.Name, err)
			case f.Required && len(named) == 0:
				wrong(f.Name, "setting %s is missing", f.Name)
			}
			f.value.Set(reflect.ValueOf(named))
			continue
		}
		switch secret, hasSecret := secrets[f.Name]; {
		case !f.Secret && hasSecret:
			wrong(f.Name, "setting %s is not a secret and must be given with the settings", f.Name)
		case f.Secret && ok:
			wrong(f.Name, "setting %s is a secret and must be given by reference", f.Name)
		case f.Secret && hasSecret:
			f.value.SetString(string(secret))
		case ok:
			if err := setFromJSON(f, raw); err != nil {
				wrong(f.Name, "setting %s %w", f.Name, err)
			}
		case f.Required:
			wrong(f.Name, "setting %s is missing", f.Name)
		}
	}
	for _, name := range unknownNames(known, given, secrets) {
		wrong(name, "setting %s is unknown", name)
	}
	return problems
}

// secretMap puts together what was given as it is and what was given by
// reference, under "SETTING.NAME". Its errors show no value.
func secretMap(setting string, raw json.RawMessage, secrets map[string][]byte) (SecretMap, error) {
	out := SecretMap{}
	for key, secret := range secrets {
		if name, ok := strings.CutPrefix(key, setting+"."); ok && name != "" {
			out[name] = SecretValue{Secret: Secret(secret)}
		}
	}
	if raw == nil {
		return out, nil
	}
	var literals map[string]string
	if string(bytes.TrimSpace(raw)) == "null" || json.Unmarshal(raw, &literals) != nil {
		return out, errors.New("wants a map of strings")
	}
	for name, literal := range literals {
		if _, twice := out[name]; twice {
			return out, fmt.Errorf("has %s twice, as it is and by reference", name)
		}
		out[name] = SecretValue{Secret: Secret(literal), Literal: true}
	}
	return out, nil
}

func unknownNames(known map[string]bool, given map[string]json.RawMessage, secrets map[string][]byte) []string {
	var out []string
	for name := range given {
		if !known[name] {
			out = append(out, name)
		}
	}
	for name := range secrets {
		if _, both := given[name]; !known[name] && !both {
			out = append(out, name)
		}
	}
	sort.Strings(out)
	return out
}
