package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/plugintest"
)

// prepare makes a suite of the command line.
func (o *options) prepare(ctx context.Context, binary string) (plugintest.Suite, error) {
	s := o.suite
	s.Binary, s.Env, s.DeployedFiles = binary, o.env, o.deployed
	s.Settings, s.Secrets = map[string]any{}, map[string][]byte{}
	if info, err := os.Stat(binary); err != nil {
		return s, fmt.Errorf("find the plugin: %w", err)
	} else if info.IsDir() || info.Mode()&0o111 == 0 {
		return s, fmt.Errorf("%s is not executable; name the plugin's binary", binary)
	}
	if s.WebrootPath != "" {
		if info, err := os.Stat(s.WebrootPath); err != nil || !info.IsDir() {
			return s, fmt.Errorf("--webroot %s is not a directory; make it first", s.WebrootPath)
		}
	}
	if o.settingsFile != "" {
		if err := readSettings(o.settingsFile, &s.Settings); err != nil {
			return s, err
		}
	}
	for _, file := range o.deployed {
		if err := places("--deployed", file, sdk.Setting{}); err != nil {
			return s, err
		}
	}
	types, described := settingTypes(ctx, binary, s.Env)
	if described {
		if err := o.known(types, s.Settings); err != nil {
			return s, err
		}
	}
	for name, value := range s.Settings {
		if text, ok := value.(string); ok && types[name].Secret {
			if err := setOne(&s, types, name, text); err != nil {
				return s, err
			}
			delete(s.Settings, name)
		}
	}
	for _, pair := range o.set {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return s, fmt.Errorf("--set %q: wants KEY=VALUE", pair)
		}
		if err := places("--set "+name, value, types[name]); err != nil {
			return s, err
		}
		if err := setOne(&s, types, name, value); err != nil {
			return s, err
		}
	}
	return s, nil
}

// readSettings reads YAML, of which JSON is a part.
func readSettings(path string, into *map[string]any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the settings: %w", err)
	}
	if err := yaml.NewDecoder(bytes.NewReader(content)).Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the settings in %s: %w; write a map of names to values", path, err)
	}
	if _, err := json.Marshal(*into); err != nil {
		return fmt.Errorf("read the settings in %s: %w; keys must be strings", path, err)
	}
	return nil
}

// known refuses, once and before any check, settings that the plugin does not have.
func (o *options) known(types map[string]sdk.Setting, fromFile map[string]any) error {
	names := slices.Sorted(maps.Keys(types))
	has := "it has " + strings.Join(names, ", ")
	if len(names) == 0 {
		has = "it has none"
	}
	for _, name := range slices.Sorted(maps.Keys(fromFile)) {
		if _, ok := typeOfSetting(types, name); !ok {
			return fmt.Errorf("%s: the plugin has no setting %s; %s", o.settingsFile, name, has)
		}
	}
	for _, pair := range o.set {
		name, _, _ := strings.Cut(pair, "=")
		if _, ok := typeOfSetting(types, name); !ok && name != "" {
			return fmt.Errorf("--set %s: the plugin has no setting %s; %s", pair, name, has)
		}
	}
	return nil
}

// typeOfSetting also knows an entry of a map of secrets, MAP.KEY.
func typeOfSetting(types map[string]sdk.Setting, name string) (sdk.Setting, bool) {
	if setting, ok := types[name]; ok {
		return setting, true
	}
	of, _, dotted := strings.Cut(name, ".")
	setting, ok := types[of]
	return setting, ok && dotted && setting.Secret && setting.Type == sdk.MapSetting
}

// braces are what looks like a placeholder; a shell's or a template's do not.
var braces = regexp.MustCompile(`(^|[^${])(\{[a-z_]+\})`)

// places refuses what looks like a placeholder and is none, neither of the suite's
// world nor, by the doc of the setting, of the plugin's own.
func places(what, text string, setting sdk.Setting) error {
	for _, found := range braces.FindAllStringSubmatch(text, -1) {
		place := found[2]
		if slices.Contains(plugintest.Placeholders(), place) || strings.Contains(setting.Doc+setting.Default, place) {
			continue
		}
		return fmt.Errorf("%s: %s is no placeholder; there are %s and {via URL}, and those that the doc of the setting names. "+
			"Give a text that is meant as it is by --settings FILE", what, place, strings.Join(plugintest.Placeholders(), ", "))
	}
	return nil
}

// settingTypes asks the plugin for the types of its settings. If it cannot say,
// the checks will tell why, so nothing is known here.
func settingTypes(ctx context.Context, binary string, env []string) (types map[string]sdk.Setting, described bool) {
	out := map[string]sdk.Setting{}
	cmd := exec.CommandContext(ctx, binary, "describe")
	if !strings.ContainsRune(binary, os.PathSeparator) {
		cmd = exec.CommandContext(ctx, "."+string(os.PathSeparator)+binary, "describe")
	}
	cmd.Env = append(os.Environ(), env...)
	printed, err := cmd.Output()
	var d sdk.Description
	if err != nil || json.Unmarshal(printed, &d) != nil {
		return out, false
	}
	for _, s := range d.Settings {
		out[s.Name] = s
	}
	return out, true
}

// placeholder is a text that stands for something of the suite's world. As YAML
// it would be a map.
var placeholder = regexp.MustCompile(`^\{[a-z_]+\}$`)

// setOne sets one setting by its type: text as it is, all else as YAML.
func setOne(s *plugintest.Suite, types map[string]sdk.Setting, name, text string) error {
	setting, _ := typeOfSetting(types, name)
	if setting.Secret {
		secret, err := secretOf(text)
		if err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
		s.Secrets[name] = secret
		return nil
	}
	if setting.Type == sdk.StringSetting || setting.Type == sdk.DurationSetting || placeholder.MatchString(text) {
		s.Settings[name] = text
		return nil
	}
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return fmt.Errorf("--set %s=%s: %w", name, text, err)
	}
	s.Settings[name] = value
	return nil
}

// secretOf resolves a reference; a literal would stand in the shell's history.
func secretOf(reference string) ([]byte, error) {
	if path, ok := strings.CutPrefix(reference, "@"); ok {
		content, err := os.ReadFile(path)
		return bytes.TrimRight(content, "\r\n"), err
	}
	if name, ok := strings.CutPrefix(reference, "env:"); ok {
		if value, set := os.LookupEnv(name); set {
			return []byte(value), nil
		}
		return nil, fmt.Errorf("the variable %s is not set", name)
	}
	if placeholder.MatchString(reference) {
		return []byte(reference), nil // of the suite's world, and known to everybody
	}
	return nil, errors.New("it is a secret: give @FILE or env:NAME")
}
