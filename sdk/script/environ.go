package script

import (
	"maps"
	"os"
	"slices"
	"strings"
)

// Environ is the environment of this process with set in it, and without unset:
// for variables that would say something wrong if they were left from elsewhere.
// What is in both is set.
func Environ(set map[string]string, unset ...string) []string {
	var out []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if _, replaced := set[name]; !replaced && !slices.Contains(unset, name) {
			out = append(out, entry)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		out = append(out, name+"="+set[name])
	}
	return out
}
