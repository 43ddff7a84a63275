package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/host/internal/model"
)

// HookRules say whether hooks may fail.
type HookRules = model.HookRules

// hookPlugin runs the user's commands: the host runs none itself.
const hookPlugin = "exec"

// Moment is when a command of the user runs.
type Moment string

// Moments of certbot's hooks.
const (
	PreHook    Moment = "pre-hook"
	DeployHook Moment = "deploy-hook"
	PostHook   Moment = "post-hook"
)

// HookCommand is a command that runs as certbot runs hooks.
type HookCommand struct {
	Moment  Moment
	Command string
}

// instance makes it one of the plugin exec. The same command has the same name
// wherever it stands, so that it is one instance of a run.
func (h HookCommand) instance() Instance {
	sum := sha256.Sum256([]byte(h.Command))
	setting := strings.ReplaceAll(string(h.Moment), "-", "_")
	return Instance{
		Name: string(h.Moment) + "-" + hex.EncodeToString(sum[:4]), Plugin: hookPlugin,
		Settings: map[string]Value{setting: {Any: h.Command}},
	}
}

// moment that an instance was made for; empty: for none.
func moment(instance string) Moment {
	for _, m := range []Moment{PreHook, DeployHook, PostHook} {
		if rest, ok := strings.CutPrefix(instance, string(m)+"-"); ok && len(rest) == 8 {
			return m
		}
	}
	return ""
}

// renewalHooks is the instance for the executables in the directory of that
// name.
const renewalHooks = "renewal-hooks"

// completeHooks completes what was read about hooks: instances for commands, and for the
// directories of executables.
func (c *Config) completeHooks() {
	dir := filepath.Join(c.ConfigDir, renewalHooks)
	for i, instance := range c.Instances {
		if instance.Plugin == hookPlugin && moment(instance.Name) != "" {
			c.Instances[i].Settings["beside"] = Value{Any: dir}
		}
	}
	if _, taken := c.Instance(renewalHooks); taken || !holdsExecutables(dir) {
		return
	}
	c.Instances = append(c.Instances, Instance{
		Name: renewalHooks, Plugin: hookPlugin, Settings: map[string]Value{"directory": {Any: dir}},
	})
	c.Hooks = append([]string{renewalHooks}, c.Hooks...)
}

func holdsExecutables(dir string) bool {
	for _, sub := range []string{"pre", "deploy", "post"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			continue // none, as a rule; the plugin says what it cannot read
		}
		for _, entry := range entries {
			if info, err := os.Stat(filepath.Join(dir, sub, entry.Name())); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return true
			}
		}
	}
	return false
}

// applyHooks adds the commands of the command line.
func (c *Config) applyHooks(a Args) {
	for _, h := range a.Commands {
		c.addHook(h.instance())
	}
	c.completeHooks()
	c.HookSettings = map[string]map[string]any{}
	settings := map[string]any{}
	if a.RunDeployHooks {
		settings["run_deploy_hooks"] = true
	}
	if a.NoHookValidation {
		settings["validate"] = false
	}
	if len(settings) > 0 {
		c.HookSettings[hookPlugin] = settings
	}
}

func (c *Config) addHook(i Instance) {
	if _, there := c.Instance(i.Name); !there {
		c.Instances = append(c.Instances, i)
	}
}

// HookNames gives the hooks of the command line.
func (a Args) HookNames() []string {
	out := slices.Clone(a.Hooks)
	for _, h := range a.Commands {
		if name := h.instance().Name; !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// MergeHooks gives the hooks of before with those of the command line: a command
// takes the place of the commands of the same moment.
func MergeHooks(before, now []string) []string {
	out := slices.DeleteFunc(slices.Clone(before), func(name string) bool {
		return slices.Contains(now, name) || moment(name) != "" &&
			slices.ContainsFunc(now, func(other string) bool { return moment(other) == moment(name) })
	})
	return append(out, now...)
}

// hooks reads a list of instances and of commands.
func (d *decoder) hooks(n *yaml.Node) []string {
	var out []string
	d.each(n, "hooks", func(n *yaml.Node) {
		if resolve(n).Kind != yaml.MappingNode {
			out = append(out, d.text(n, "hooks"))
			return
		}
		command := func(m Moment) func(*yaml.Node) {
			return func(n *yaml.Node) {
				text := strings.TrimSpace(d.text(n, string(m)))
				if text == "" {
					d.fail(n, "a command of hooks is empty")
					return
				}
				i := HookCommand{Moment: m, Command: text}.instance()
				i.Pos = d.pos(n)
				out = append(out, i.Name)
				d.commands = append(d.commands, i)
			}
		}
		d.object(n, "commands of hooks", map[string]func(*yaml.Node){
			"pre": command(PreHook), "deploy": command(DeployHook), "success": command(DeployHook), "post": command(PostHook),
		})
	})
	return out
}

// hookRules are the keys of the rules, each under two names: acme2certifier's
// documentation calls them allow_..., its program ignore_....
func (d *decoder) hookRules(into *model.HookRules, fields map[string]func(*yaml.Node)) map[string]func(*yaml.Node) {
	for kind, rule := range map[string]**bool{"pre": &into.AllowPre, "success": &into.AllowSuccess, "post": &into.AllowPost} {
		for _, word := range []string{"allow", "ignore"} {
			key := fmt.Sprintf("%s_%s_hook_failure", word, kind)
			fields[key] = func(n *yaml.Node) {
				if *rule != nil {
					d.fail(n, "%s stands under its other name already", key)
				}
				b := d.boolean(n, key)
				*rule = &b
			}
		}
	}
	return fields
}
