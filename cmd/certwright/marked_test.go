package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/certwright/certwright/sdk/plugintest"
)

// The secrets of the stories are marked (plugintest.Mark). At the end of each
// story everything that its commands have printed, and every file that came into
// its directory, is looked through for marked secrets and for private keys.

// storyT is a *testing.T that has the whole log of a story and looks through it.
type storyT struct{ *testing.T }

// Run implements testscript.T.
func (t storyT) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(storyT{t}) })
}

// Verbose has testscript keep what successful commands have printed.
func (t storyT) Verbose() bool { return true }

// Log gets the log of the story, once at its end.
func (t storyT) Log(args ...any) {
	for _, arg := range args {
		text, _ := arg.(string)
		for line := range strings.Lines(text) {
			// What begins so is a line of the story itself.
			if leak := plugintest.Leak([]byte(line)); leak != "" && !strings.HasPrefix(line, "> ") {
				t.Errorf("a command of the story has printed %s: %s", leak, line)
			}
		}
	}
	t.T.Log(args...)
}

// keyFile says where private keys belong: in the state directory where the whole
// suite allows them, beside it in what installers have deployed.
func keyFile(path string) bool {
	if state, inside := strings.CutPrefix(path, "state/"); inside {
		return plugintest.KeyFile(state)
	}
	return strings.HasSuffix(path, ".pem") || strings.HasSuffix(path, ".key")
}

// checkMarked looks at the end of a story through what it has left.
func checkMarked(env *testscript.Env) error {
	given := map[string]bool{}
	err := filepath.WalkDir(env.WorkDir, func(path string, entry fs.DirEntry, err error) error {
		given[strings.TrimPrefix(path, env.WorkDir+"/")] = true
		return err
	})
	t := env.T().(storyT)
	env.Defer(func() {
		leaking, err := plugintest.LeakingFiles(env.WorkDir, func(path string) bool {
			return given[path] || strings.HasPrefix(path, "plugins/certwright-plugin-")
		})
		if err != nil {
			t.Errorf("look through what the story has left: %v", err)
		}
		for path, leak := range leaking {
			if leak != plugintest.PrivateKey || !keyFile(path) {
				t.Errorf("the story has left %s in %s", leak, path)
			}
		}
	})
	return err
}
