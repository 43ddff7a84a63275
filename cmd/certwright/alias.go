package main

import (
	"strconv"

	"github.com/spf13/pflag"

	"github.com/certwright/certwright/host/config"
)

// The flags that certbot's users know. Each is a fixed expansion of -a, -i and
// --set; nothing else gets one.

// aliasFlags adds them.
func (c *cli) aliasFlags(f *pflag.FlagSet) {
	roles := func(plugin string, installer bool) func(string) {
		return func(string) {
			c.args.Ordered = append(c.args.Ordered, config.Arg{Kind: config.ArgAuthenticator, Value: plugin})
			if installer {
				c.args.Installers = append(c.args.Installers, plugin)
			}
		}
	}
	set := func(key string) func(string) {
		return func(value string) { c.args.Sets = append(c.args.Sets, key+"="+value) }
	}
	c.aliasSwitch(f, "standalone", "the same as -a standalone", roles("standalone", false))
	c.aliasSwitch(f, "webroot", "the same as -a webroot", roles("webroot", false))
	c.aliasSwitch(f, "manual", "the same as -a manual", roles("manual", false))
	c.aliasSwitch(f, "nginx", "the same as -a nginx -i nginx", roles("nginx", true))
	c.aliasSwitch(f, "apache", "the same as -a apache -i apache", roles("apache", true))
	f.VarP(&orderedArg{args: &c.args.Ordered, kind: config.ArgWebroot}, "webroot-path", "w",
		"directory of the webroot instance for the -d that follow (repeatable)")
	f.Var(alias{expand: set("manual.auth_hook")}, "manual-auth-hook", "the same as --set manual.auth_hook=")
	f.Var(alias{expand: set("manual.cleanup_hook")}, "manual-cleanup-hook", "the same as --set manual.cleanup_hook=")
	f.Var(alias{expand: func(value string) { roles(value, true)(value) }}, "configurator", "the same as -a NAME -i NAME")
}

// hookFlags are those of hooks: an instance of the plugin exec for each command.
func (c *cli) hookFlags(f *pflag.FlagSet) {
	command := func(m config.Moment) alias {
		return alias{expand: func(value string) {
			c.args.Commands = append(c.args.Commands, config.HookCommand{Moment: m, Command: value})
		}}
	}
	f.Var(command(config.PreHook), "pre-hook", "command to run once before the first certificate is obtained")
	f.Var(command(config.DeployHook), "deploy-hook", "command to run for each certificate that was obtained")
	f.Var(command(config.PostHook), "post-hook", "command to run once after all, whether they were obtained or not")
	f.StringArrayVar(&c.args.Hooks, "hook", nil, "instance that is told what happens (repeatable)")
	f.BoolVar(&c.args.RunDeployHooks, "run-deploy-hooks", false, "run deploy hooks in a dry run too")
	f.BoolVar(&c.args.NoHookValidation, "disable-hook-validation", false, "do not look beforehand whether the commands of hooks exist")
	rules := &c.args.HookRules
	for name, rule := range map[string]**bool{"pre": &rules.AllowPre, "success": &rules.AllowSuccess, "post": &rules.AllowPost} {
		f.Var(decision{rule}, "allow-"+name+"-hook-failure", "whether "+name+" hooks may fail (=true or =false)")
		f.Lookup("allow-" + name + "-hook-failure").NoOptDefVal = "true"
	}
}

// decision is a switch of which it matters whether it was given.
type decision struct{ into **bool }

func (d decision) String() string { return "" }

func (d decision) Type() string { return "bool" }

func (d decision) IsBoolFlag() bool { return true }

func (d decision) Set(value string) error {
	b, err := strconv.ParseBool(value)
	*d.into = &b
	return err
}

func (c *cli) aliasSwitch(f *pflag.FlagSet, name, doc string, expand func(string)) {
	f.Var(alias{expand: expand, isSwitch: true}, name, doc)
	f.Lookup(name).NoOptDefVal = "true"
}

// list is a flag that may be given several times, and that aliases add to: unlike
// pflag's own it never drops what was there before its first value.
type list []string

func (l *list) String() string { return "" }

func (l *list) Type() string { return "stringArray" }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// alias is a flag that stands for others.
type alias struct {
	expand   func(string)
	isSwitch bool
}

func (a alias) String() string { return "" }

func (a alias) Type() string {
	if a.isSwitch {
		return "bool"
	}
	return "string"
}

func (a alias) IsBoolFlag() bool { return a.isSwitch }

func (a alias) Set(value string) error {
	if a.isSwitch {
		on, err := strconv.ParseBool(value)
		if err != nil || !on {
			return err
		}
	}
	a.expand(value)
	return nil
}
