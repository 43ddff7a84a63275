package script

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/sdk"
)

// Look finds the program or script that a user has named, in PATH if the name has
// no slash, and says what is wrong with one that could not be run. name is what
// the error calls it ("the handler").
func Look(name, path string) (string, error) {
	if strings.ContainsRune(path, '/') {
		return path, executable(name, path)
	}
	found, err := exec.LookPath(path)
	if err == nil {
		return found, nil
	}
	if _, here := os.Stat(path); here == nil {
		p := sdk.Problemf(sdk.NotFound, "%s %s is not in PATH", name, path)
		return "", sdk.Hint(sdk.Permanent(p), "write ./%s for the file in this directory, or give its full path", path)
	}
	p := sdk.Problemf(sdk.NotFound, "%s %s is not in PATH (%s)", name, path, os.Getenv("PATH"))
	return "", sdk.Hint(sdk.Permanent(p), "give its full path")
}

// CheckLine says whether the first word of a command line is something that can
// be run. What only a shell can tell (a line that starts with an expansion) is
// taken as good.
func CheckLine(ctx context.Context, name, line string) error {
	word := firstWord(line)
	switch {
	case strings.TrimSpace(line) == "":
		return sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, "%s is empty", name))
	case word == "" || strings.ContainsAny(word, "'\"\\$`*?[]{}()<>|&;~#!"):
		return nil
	case strings.ContainsRune(word, '/'):
		return executable(name, word)
	}
	if _, err := exec.LookPath(word); err == nil {
		return nil
	}
	// A word of the shell's own.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := Run(ctx, Command{Path: shell, Args: []string{"-c", `command -v -- "$1"`, "sh", word}}); err == nil {
		return nil
	}
	_, err := Look(name, word)
	return err
}

// firstWord leaves out what sets variables in front of a command.
func firstWord(line string) string {
	for _, word := range strings.Fields(line) {
		if variable, _, ok := strings.Cut(word, "="); !ok || variable == "" || strings.ContainsRune(variable, '/') {
			return word
		}
	}
	return ""
}

func executable(name, path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint := "correct the path"
		if !filepath.IsAbs(path) {
			hint = "correct the path, or give it from the root on: it counts from the directory where certwright is started"
		}
		return sdk.Hint(sdk.Permanent(sdk.Problemf(sdk.NotFound, "%s %s does not exist", name, path)), "%s", hint)
	case err != nil:
		return sdk.Permanent(sdk.WithCode(fmt.Errorf("find %s: %w", name, err), sdk.PermissionDenied))
	case info.IsDir():
		return sdk.Hint(sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, "%s %s is a directory", name, path)), "name a file in it")
	case !info.Mode().IsRegular():
		return sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, "%s %s is not a file", name, path))
	case info.Mode()&0o111 == 0:
		return sdk.Hint(sdk.Permanent(sdk.Problemf(sdk.PermissionDenied, "%s %s is not executable", name, path)), "run chmod +x %s", path)
	}
	return nil
}

// unstarted says why a command could not be started.
func (c Command) unstarted(err error) error {
	path := c.Path
	if c.Line != "" {
		path = shell
	}
	if c.Dir != "" {
		if info, dirErr := os.Stat(c.Dir); dirErr != nil || !info.IsDir() {
			return sdk.Permanent(sdk.Problemf(sdk.NotFound, "run %s: the directory %s where it is to run does not exist", c.name(), c.Dir))
		}
	}
	if errors.Is(err, syscall.E2BIG) {
		return sdk.Permanent(sdk.Problemf(sdk.Unsupported, "run %s: its arguments and environment are longer than the system allows", c.name()))
	}
	found, wrong := Look(c.name(), path)
	switch {
	case wrong != nil:
		return wrong
	case errors.Is(err, fs.ErrNotExist):
		p := sdk.Problemf(sdk.NotInstalled, "run %s: the interpreter that the first line of %s names does not exist", c.name(), found)
		return sdk.Hint(sdk.Permanent(p), "install it, or correct the line that starts with #!")
	case errors.Is(err, fs.ErrPermission):
		p := sdk.Problemf(sdk.PermissionDenied, "run %s: the system refuses to run %s", c.name(), found)
		return sdk.Hint(sdk.Permanent(p), "see that this user may run it and that its file system is not mounted noexec")
	case errors.Is(err, syscall.ETXTBSY):
		return sdk.RetryAfter(sdk.Problemf(sdk.Unavailable, "run %s: %s is being written", c.name(), found), 0)
	}
	return fmt.Errorf("run %s: %w", c.name(), err)
}
