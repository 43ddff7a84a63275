//go:build slow

package main

import "testing"

// TestHookMatrix is each hook failing, allowed or not, with a CA that issues and
// one that does not, for commands, the exec plugin and the Python plugin.
func TestHookMatrix(t *testing.T) {
	w := newHookWorld(t)
	for _, kind := range []string{"shell", "exec", "python"} {
		for _, c := range hookCases() {
			t.Run(kind+"/"+c.String(), func(t *testing.T) {
				t.Parallel()
				w.run(t, kind, c)
			})
		}
	}
}
