package config

import (
	"encoding/json"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/host/internal/model"
)

// Same says whether the instance is configured as it was when it was used.
func (i Instance) Same(before model.Instance) bool {
	now := i.entries(before)
	literals := 0
	for _, values := range before.Literals {
		literals += len(values)
	}
	if i.Plugin != before.Plugin || len(now) != len(before.Settings)+len(before.Secrets)+literals {
		return false
	}
	for name, v := range now {
		if setting, entry, ok := strings.Cut(name, "."); ok {
			if _, literal := before.Literals[setting][entry]; literal {
				continue // what it was is not known
			}
		}
		if ref, ok := before.Secrets[name]; ok {
			if now, err := v.secret(); err != nil || now != ref {
				return false
			}
			continue
		}
		if was, ok := before.Settings[name]; !ok || !v.is(was) {
			return false
		}
	}
	return true
}

// entries are the settings with each entry of a map of secrets as one of its own.
func (i Instance) entries(before model.Instance) map[string]Value {
	out := map[string]Value{}
	for name, v := range i.Settings {
		entries, isMap := v.Any.(map[string]any)
		named := before.Literals[name] != nil
		for key := range before.Secrets {
			named = named || strings.HasPrefix(key, name+".")
		}
		if !isMap || !named {
			out[name] = v
			continue
		}
		for entry, value := range entries {
			out[name+"."+entry] = Value{Any: value, Pos: v.Pos}
		}
	}
	return out
}

// is compares with a value that was kept as JSON. Text is read as YAML, in which
// the types of settings are written, or taken as it is.
func (v Value) is(was any) bool {
	if v.Text == nil {
		return asJSON(v.Any) == asJSON(was)
	}
	var flow any
	if yaml.Unmarshal([]byte(*v.Text), &flow) == nil && asJSON(flow) == asJSON(was) {
		return true
	}
	return *v.Text == fmt.Sprint(was)
}

func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
