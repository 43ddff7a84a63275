package config

import (
	"slices"
	"strings"
)

// CheckSets refuses settings for instances that are not used: a name that is
// misspelt would silently change nothing. used are those that the command uses.
func (a Args) CheckSets(used []string) error {
	in := "none is in use"
	if len(used) > 0 {
		used = slices.Compact(slices.Sorted(slices.Values(used)))
		in = "in use: " + strings.Join(used, ", ")
	}
	for _, set := range a.Sets {
		key, _, _ := strings.Cut(set, "=") // the value may be a secret
		instance, _, _ := strings.Cut(key, ".")
		if instance != "dns" && !slices.Contains(used, instance) {
			return errorAt(Pos{}, "--set %s: the instance %s is not used here (%s)", key, instance, in)
		}
	}
	if slices.ContainsFunc(a.Ordered, func(arg Arg) bool { return arg.Kind == ArgWebroot }) && !slices.Contains(used, "webroot") {
		return errorAt(Pos{}, "-w is for the instance webroot, which is not used here (%s): name it with -a webroot", in)
	}
	return nil
}
