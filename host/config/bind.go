package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// Bind holds the settings of an instance against the plugin's description: text
// from the command line is read by type, secrets become references. Each
// mistake is reported with its place. Whether what is there suffices is for the
// check of the schema, which knows no places: see Place.
func Bind(i Instance, d sdk.Description) (model.Instance, error) {
	out := model.Instance{
		Name: i.Name, Plugin: i.Plugin, Timeout: i.Timeout, Sandbox: i.Sandbox, User: i.User,
		Settings: map[string]any{}, Secrets: map[string]model.SecretRef{},
	}
	schema := map[string]sdk.Setting{}
	for _, s := range d.Settings {
		schema[s.Name] = s
	}
	names := make([]string, 0, len(i.Settings))
	for name := range i.Settings {
		names = append(names, name)
	}
	sort.Strings(names)
	var errs []error
	for _, name := range names {
		v, s := i.Settings[name], schema[name]
		if setting, entry, ok := strings.Cut(name, "."); ok && s.Name == "" {
			if of := schema[setting]; secretMap(of) {
				if err := bindEntry(&out, setting, entry, v); err != nil {
					errs = append(errs, errorAt(v.Pos, "setting %s of instance %s %v", name, i.Name, err))
				}
				continue
			}
		}
		if secretMap(s) {
			if err := bindEntries(&out, name, v); err != nil {
				errs = append(errs, errorAt(v.Pos, "setting %s of instance %s %v", name, i.Name, err))
			}
			continue
		}
		if s.Secret {
			ref, err := v.secret()
			if err != nil {
				errs = append(errs, errorAt(v.Pos, "setting %s of instance %s %v", name, i.Name, err))
			}
			out.Secrets[name] = ref
			continue
		}
		value, err := v.typed(s.Type)
		if err != nil {
			errs = append(errs, errorAt(v.Pos, "setting %s of instance %s %v", name, i.Name, err))
		}
		out.Settings[name] = value
	}
	return out, errors.Join(errs...)
}

func secretMap(s sdk.Setting) bool { return s.Secret && s.Type == sdk.MapSetting }

// bindEntries takes a whole map of secrets.
func bindEntries(out *model.Instance, setting string, v Value) error {
	given := v.Any
	if v.Text != nil {
		given = nil
		// The error of YAML may quote a secret.
		if yaml.Unmarshal([]byte(*v.Text), &given) != nil {
			given = nil
		}
	}
	entries, ok := given.(map[string]any)
	if !ok {
		return errors.New("wants a map such as {NAME: {env: NAME}} or {NAME: value}")
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := bindEntry(out, setting, name, Value{Any: entries[name]}); err != nil {
			errs = append(errs, fmt.Errorf("in %s %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// bindEntry takes one secret of a map, which may be a reference or the secret
// itself. Its errors do not show it.
func bindEntry(out *model.Instance, setting, name string, v Value) error {
	key := setting + "." + name
	text, literal := v.Any.(string)
	switch {
	case v.Text != nil:
		ref, err := SecretFlag(*v.Text)
		if err == nil {
			out.Secrets[key] = ref
			return nil
		}
		text = *v.Text
	case !literal:
		if _, isMap := v.Any.(map[string]any); !isMap {
			return errors.New("wants text or a reference: write a number or a switch in quotes")
		}
		ref, err := secretRef(v.Any)
		if err != nil {
			return err
		}
		out.Secrets[key] = ref
		return nil
	}
	if out.Literals == nil {
		out.Literals = model.Literals{}
	}
	if out.Literals[setting] == nil {
		out.Literals[setting] = map[string]string{}
	}
	out.Literals[setting][name] = text
	return nil
}

// Place says where a setting of the instance was written, or the instance.
func (i Instance) Place(setting string) Pos {
	if v, ok := i.Settings[setting]; ok {
		return v.Pos
	}
	// One entry of a map.
	if name, _, ok := strings.Cut(setting, "."); ok {
		return i.Place(name)
	}
	return i.Pos
}

// At makes an error of usage about a setting of the instance.
func (i Instance) At(setting, format string, args ...any) error {
	return errorAt(i.Place(setting), "instance %s: %s", i.Name, fmt.Sprintf(format, args...))
}

// AtSecret makes an error of usage about a secret that could not be fetched, with
// what to do.
func (i Instance) AtSecret(setting string, err error) error {
	if p := sdk.ProblemOf(err); p != nil && p.Hint != "" {
		return i.At(setting, "setting %s: %v; %s", setting, err, p.Hint)
	}
	return i.At(setting, "setting %s: %v", setting, err)
}

func (v Value) typed(t sdk.SettingType) (any, error) {
	if v.Text == nil {
		return v.Any, v.quoted(t)
	}
	text := *v.Text
	switch t {
	case sdk.BoolSetting:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("wants true or false, not %q", text)
		}
		return b, nil
	case sdk.IntSetting:
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("wants a whole number, not %q", text)
		}
		return n, nil
	case sdk.ListSetting:
		return fromFlow[[]string](text, "a list such as [a, b]")
	case sdk.MapSetting:
		return fromFlow[map[string]string](text, "a map such as {a: b}")
	default:
		return text, nil
	}
}

// quoted finds text that YAML takes for something else: 0644 is the number 420.
func (v Value) quoted(t sdk.SettingType) error {
	if t != sdk.StringSetting {
		return nil
	}
	switch v.Any.(type) {
	case int, int64, uint64, float64, bool:
		return fmt.Errorf("wants a string, and without quotes this is %v for YAML: write it in quotes", v.Any)
	}
	return nil
}

func fromFlow[T any](text, want string) (any, error) {
	var out T
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("wants %s, not %q", want, text)
	}
	return out, nil
}
