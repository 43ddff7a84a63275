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
	hook := func(key string) func(string) {
		return func(value string) {
			set(key)(value)
			c.args.Hooks = []string{"exec"}
		}
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
	f.Var(alias{expand: hook("exec.pre_hook")}, "pre-hook", "the same as --set exec.pre_hook=, with exec as a hook")
	f.Var(alias{expand: hook("exec.post_hook")}, "post-hook", "the same as --set exec.post_hook=, with exec as a hook")
	f.Var(alias{expand: hook("exec.deploy_hook")}, "deploy-hook", "the same as --set exec.deploy_hook=, with exec as a hook")
	f.Var(alias{expand: func(value string) { roles(value, true)(value) }}, "configurator", "the same as -a NAME -i NAME")
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
