package pluginhost

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// CheckSettings finds what is wrong with an instance's settings by the plugin's
// description alone: unknown and missing ones, wrong types, values that are no
// choice, secrets given as literals and others given by reference. secretNames
// are the settings that are given by reference. The words are those that the
// SDK uses when it configures a plugin.
func CheckSettings(d sdk.Description, settings map[string]any, secretNames []string) []*sdk.Problem {
	var problems []*sdk.Problem
	wrong := func(name, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, format, args...)
		p.Subject, p.Retry = name, sdk.RetryNever
		problems = append(problems, p)
	}
	known := map[string]bool{}
	for _, s := range d.Settings {
		known[s.Name] = true
		value, given := settings[s.Name]
		secret := slices.Contains(secretNames, s.Name)
		switch named := entriesOf(s, secretNames); {
		case s.Secret && s.Type == sdk.MapSetting:
			for _, name := range named {
				known[name] = true
			}
			if given && checkValue(s, value) != nil {
				wrong(s.Name, "setting %s wants %s", s.Name, wanted(s.Type)) // and does not show it
			} else if !given && s.Required && len(named) == 0 {
				wrong(s.Name, "setting %s is missing", s.Name)
			}
		case s.Secret && given:
			wrong(s.Name, "setting %s is a secret and must be given by reference", s.Name)
			problems[len(problems)-1].Hint = fmt.Sprintf("write %s: {file: /path} or %s: {env: NAME}", s.Name, s.Name)
		case !s.Secret && secret:
			wrong(s.Name, "setting %s is not a secret and must be given as a value", s.Name)
		case given:
			if err := checkValue(s, value); err != nil {
				wrong(s.Name, "setting %s %w", s.Name, err)
			}
		case s.Required && !secret:
			wrong(s.Name, "setting %s is missing", s.Name)
		}
	}
	names := slices.Concat(slices.Collect(maps.Keys(settings)), secretNames)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !known[name] {
			wrong(name, "setting %s is unknown", name)
			problems[len(problems)-1].Hint = settingsHint(d)
		}
	}
	return problems
}

// entriesOf finds the secrets that are entries of a map of secrets.
func entriesOf(s sdk.Setting, secretNames []string) []string {
	var out []string
	for _, name := range secretNames {
		if entry, ok := strings.CutPrefix(name, s.Name+"."); ok && entry != "" {
			out = append(out, name)
		}
	}
	return out
}

func settingsHint(d sdk.Description) string {
	if len(d.Settings) == 0 {
		return fmt.Sprintf("remove it: plugin %s has no settings", d.Name)
	}
	var names []string
	for _, s := range d.Settings {
		names = append(names, s.Name)
	}
	return fmt.Sprintf("use one of the settings of plugin %s: %s", d.Name, strings.Join(names, ", "))
}

// checkValue looks at the value as it will travel, which is JSON.
func checkValue(s sdk.Setting, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("wants %s, not a %T", wanted(s.Type), value)
	}
	if !fits(s.Type, raw) {
		return fmt.Errorf("wants %s, not %s", wanted(s.Type), raw)
	}
	if text, ok := value.(string); len(s.Choices) > 0 && (!ok || !slices.Contains(s.Choices, text)) {
		return fmt.Errorf("wants one of %s, not %s", strings.Join(s.Choices, ", "), raw)
	}
	return nil
}

func fits(t sdk.SettingType, raw []byte) bool {
	if bytes.Equal(raw, []byte("null")) {
		return false
	}
	is := func(target any) bool { return json.Unmarshal(raw, target) == nil }
	switch t {
	case sdk.StringSetting:
		return is(new(string))
	case sdk.BoolSetting:
		return is(new(bool))
	case sdk.IntSetting:
		_, err := strconv.ParseInt(string(raw), 10, 64)
		return err == nil
	case sdk.DurationSetting:
		var text string
		if !is(&text) {
			return false
		}
		_, err := time.ParseDuration(text)
		return err == nil
	case sdk.ListSetting:
		return is(new([]string))
	case sdk.MapSetting:
		return is(new(map[string]string))
	}
	// A type of a later SDK: the plugin itself will judge.
	return true
}

func wanted(t sdk.SettingType) string {
	switch t {
	case sdk.StringSetting:
		return "a string"
	case sdk.BoolSetting:
		return "true or false"
	case sdk.IntSetting:
		return "a whole number"
	case sdk.DurationSetting:
		return "a duration such as 90s or 2m"
	case sdk.ListSetting:
		return "a list of strings"
	case sdk.MapSetting:
		return "a map of strings"
	}
	return string(t)
}
