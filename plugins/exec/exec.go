package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

// hooks runs the commands of one instance.
type hooks struct {
	settings settings
	stateDir string
}

// Configure implements sdk.Configurer.
func (h *hooks) Configure(ctx context.Context, i sdk.Instance) error {
	h.stateDir = i.StateDir
	if !i.ValidateOnly {
		sweep(i.StateDir)
	}
	return h.settings.check(ctx)
}

// Run implements sdk.Hook.
func (h *hooks) Run(ctx context.Context, e sdk.HookEvent, r sdk.Reporter) (sdk.HookResult, error) {
	s := h.settings
	switch e.Event {
	case sdk.EventPre:
		return h.certbot(ctx, r, "pre", command{"pre_hook", s.PreHook}, nil)
	case sdk.EventPost:
		return h.certbot(ctx, r, "post", command{"post_hook", s.PostHook}, postVariables(e, r))
	case sdk.EventAttempt:
		return h.own(ctx, r, command{"pre", s.Pre}, e)
	case sdk.EventAttempted:
		return h.own(ctx, r, command{"post", s.Post}, e)
	case sdk.EventDryRun:
		if !s.RunDeployHooks {
			if s.DeployHook+s.Success+s.Directory != "" {
				r.Progress("", "a dry run: deploy hooks are left out (run_deploy_hooks runs them)")
			}
			return sdk.HookResult{}, nil
		}
		fallthrough
	case sdk.EventSuccess:
		result, err := h.certbot(ctx, r, "deploy", command{"deploy_hook", s.DeployHook}, deployVariables(e))
		own, ownErr := h.own(ctx, r, command{"success", s.Success}, e)
		result.Warnings = append(result.Warnings, own.Warnings...)
		return result, errors.Join(err, ownErr)
	}
	return sdk.HookResult{}, nil
}

// certbotVariables are what certbot gives to hooks; one that does not belong to
// the moment must not be left from elsewhere.
var certbotVariables = []string{"RENEWED_DOMAINS", "FAILED_DOMAINS", "RENEWED_LINEAGE"}

// certbot runs the directory of a moment and its command. What fails is a
// warning, and the others are run.
func (h *hooks) certbot(
	ctx context.Context, r sdk.Reporter, moment string, c command, variables map[string]string,
) (result sdk.HookResult, err error) {
	if h.settings.Directory == "" && c.line == "" {
		return result, nil
	}
	scripts, err := executables(h.settings.Directory, moment)
	if err != nil {
		result.Warnings = append(result.Warnings, sdk.ProblemOf(err))
	}
	others, err := executables(h.settings.Beside, moment)
	if err != nil {
		result.Warnings = append(result.Warnings, sdk.ProblemOf(err))
	}
	env := script.Environ(with(h.settings.Env, variables), certbotVariables...)
	run := func(c script.Command) {
		warnings, err := h.run(ctx, r, c)
		if err != nil {
			warnings = append(warnings, sdk.ProblemOf(err))
		}
		result.Warnings = append(result.Warnings, warnings...)
	}
	for _, path := range scripts {
		run(script.Command{Name: moment + " hook " + path, Path: path, Env: env})
	}
	switch {
	case c.line == "":
	case slices.Contains(scripts, c.line), slices.Contains(others, c.line):
		r.Progress("", c.name()+" is one of the directory's and was run with them")
	default:
		run(script.Command{Name: c.name(), Line: c.line, Env: env})
	}
	return result, ctx.Err()
}

// own runs a command with acme2certifier's values.
func (h *hooks) own(ctx context.Context, r sdk.Reporter, c command, e sdk.HookEvent) (result sdk.HookResult, err error) {
	if c.line == "" {
		return result, nil
	}
	variables, remove, err := h.values(c.setting, e)
	if err != nil {
		return result, err
	}
	defer remove()
	for name, value := range deployVariables(e) {
		if e.Paths.Cert != "" {
			variables[name] = value
		}
	}
	env := script.Environ(with(h.settings.Env, variables), slices.Concat(certbotVariables, valueNames())...)
	result.Warnings, err = h.run(ctx, r, script.Command{Name: c.name(), Line: c.line, Env: env})
	return result, err
}

// shown is how many lines of a command's output are told.
const shown = 20

// run runs one command and tells what it said. What it has left behind is a warning.
func (h *hooks) run(ctx context.Context, r sdk.Reporter, c script.Command) (warnings []*sdk.Problem, err error) {
	c.Limit, c.LimitSetting = h.settings.Limit, "limit"
	r.Progress("", "running "+c.Name)
	result, err := script.Run(ctx, c)
	if p := result.Warning(); p != nil {
		warnings = append(warnings, p)
	}
	if err != nil {
		return warnings, err // with the end of the output
	}
	text := strings.TrimSpace(strings.ToValidUTF8(result.Stdout+result.Stderr, "?"))
	lines := strings.Split(text, "\n")
	if more := len(lines) - shown; more > 0 {
		lines = append(lines[:shown:shown], fmt.Sprintf("… %d more lines", more))
	}
	for _, line := range lines {
		if line != "" {
			r.Progress("", c.Name+": "+line)
		}
	}
	return warnings, nil
}

// executables lists what certbot would run of a directory: what can be executed,
// is no backup of an editor, sorted by name.
func executables(directory, moment string) ([]string, error) {
	if directory == "" {
		return nil, nil
	}
	dir := filepath.Join(directory, moment)
	entries, err := os.ReadDir(dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for hooks: %w", err)
	}
	var out []string
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || strings.HasSuffix(path, "~") || unix.Access(path, unix.X_OK) != nil {
			continue // certbot takes no notice either
		}
		out = append(out, path)
	}
	return out, nil
}

func with(sets ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, set := range sets {
		maps.Copy(out, set)
	}
	return out
}
