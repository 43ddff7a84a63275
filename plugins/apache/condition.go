package main

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// isCondition: sections that httpd takes away when it reads the configuration,
// so that what is in them belongs to what they are in.
func isCondition(n *node) bool {
	switch strings.ToLower(n.name) {
	case "ifmodule", "ifdefine", "ifversion", "iffile", "ifdirective", "ifsection":
		return n.kind == section
	}
	return false
}

// holds says whether a condition is met. What cannot be known (which directives
// httpd has) is taken as met.
func (c *config) holds(n *node) bool {
	arg, rest := nextWord(n.args)
	arg, not := strings.CutPrefix(c.resolve(arg), "!")
	if not && arg == "" {
		arg, _ = nextWord(rest)
		arg = c.resolve(arg)
	}
	switch strings.ToLower(n.name) {
	case "ifmodule":
		return c.hasModule(arg) != not
	case "ifdefine":
		_, ok := c.defines[arg]
		return ok != not
	case "iffile":
		return c.ws.exists(c.absolute(arg)) != not
	case "ifversion":
		return versionHolds(c.facts.version, words(n.args)) // with its own "!"
	}
	return true
}

// hasModule takes a module's identifier or the name of its source file.
func (c *config) hasModule(name string) bool {
	source, ok := strings.CutSuffix(name, ".c")
	if !ok {
		return c.modules[name]
	}
	switch source {
	case "core", "http_core":
		return true
	case "event", "worker", "prefork":
		return c.modules["mpm_"+source+"_module"]
	case "mod_unixd", "mod_systemd":
		return c.modules[source[4:]+"_module"]
	}
	return c.modules[strings.TrimPrefix(source, "mod_")+"_module"]
}

var versionPattern = regexp.MustCompile(`^\d+(\.\d+){0,2}$`)

// versionHolds evaluates the arguments of IfVersion: an operator, which may be
// left out, and a version or, between slashes or after ~, a regular expression.
func versionHolds(have [3]int, args []string) bool {
	operator := "="
	var want string
	switch len(args) {
	case 1:
		want = args[0]
	case 2:
		operator, want = args[0], args[1]
	default:
		return true
	}
	operator, not := strings.CutPrefix(operator, "!")
	if operator == "" {
		operator = "="
	}
	if inner, ok := strings.CutPrefix(want, "/"); ok || operator == "~" {
		text := strconv.Itoa(have[0]) + "." + strconv.Itoa(have[1]) + "." + strconv.Itoa(have[2])
		re, err := regexp.Compile(strings.TrimSuffix(inner, "/"))
		return err != nil || re.MatchString(text) != not
	}
	if !versionPattern.MatchString(want) {
		return true
	}
	order := compareVersions(have, want)
	switch operator {
	case "=", "==":
		return (order == 0) != not
	case ">":
		return (order > 0) != not
	case ">=":
		return (order >= 0) != not
	case "<":
		return (order < 0) != not
	case "<=":
		return (order <= 0) != not
	}
	return true
}

// compareVersions is negative if have is the older one; parts that are not
// named are zero.
func compareVersions(have [3]int, want string) int {
	for i, part := range append(strings.Split(want, "."), "0", "0")[:3] {
		n, err := strconv.Atoi(part)
		if err != nil {
			return 0
		}
		if have[i] != n {
			return have[i] - n
		}
	}
	return 0
}

func (c *config) resolve(word string) string {
	return expand(word, func(name string) (string, bool) {
		value, ok := c.defines[name]
		if !ok {
			value, ok = c.facts.environment[name]
		}
		return value, ok
	})
}

func (c *config) absolute(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.facts.serverRoot, path)
	}
	return filepath.Clean(path)
}
