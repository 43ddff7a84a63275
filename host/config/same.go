package config

import (
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/host/internal/model"
)

// Same says whether the instance is configured as it was when it was used.
func (i Instance) Same(before model.Instance) bool {
	if i.Plugin != before.Plugin || len(i.Settings) != len(before.Settings)+len(before.Secrets) {
		return false
	}
	for name, v := range i.Settings {
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
