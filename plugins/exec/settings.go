package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

type settings struct {
	PreHook    string `setting:"pre_hook" doc:"certbot's: once in a run, when the first certificate is really due"`
	DeployHook string `setting:"deploy_hook" doc:"certbot's: for each certificate that was obtained, with RENEWED_LINEAGE and RENEWED_DOMAINS"`
	PostHook   string `setting:"post_hook" doc:"certbot's: once at the end of a run, with RENEWED_DOMAINS and FAILED_DOMAINS"`
	Directory  string `setting:"directory" doc:"directory with pre, deploy and post: each executable in them runs before the command of that moment"`
	Beside     string `setting:"beside" doc:"such a directory that another instance runs: a command that is one of its executables is not run again"`

	Pre     string `setting:"pre" doc:"acme2certifier's pre_hook: for each order, before anything is proven; its failure gives the certificate up"`
	Success string `setting:"success" doc:"acme2certifier's success_hook: for each certificate that was obtained; its failure makes the run fail"`
	Post    string `setting:"post" doc:"acme2certifier's post_hook: for each certificate, after it was obtained or not"`

	RunDeployHooks bool              `setting:"run_deploy_hooks" doc:"run deploy_hook and success in a dry run too"`
	Validate       bool              `setting:"validate" default:"true" doc:"look beforehand whether the first word of each command can be run"`
	Limit          time.Duration     `setting:"limit" default:"4m" doc:"how long one command may take; beyond 5m the timeout of the instance has to be raised too"`
	Env            map[string]string `setting:"env" doc:"further variables for the commands"`
}

// command is one of the settings that are command lines.
type command struct {
	setting, line string
}

// name is what errors call it.
func (c command) name() string { return "the " + strings.ReplaceAll(c.setting, "_", " ") + " command" }

func (s settings) commands() []command {
	return []command{
		{"pre_hook", s.PreHook}, {"deploy_hook", s.DeployHook}, {"post_hook", s.PostHook},
		{"pre", s.Pre}, {"success", s.Success}, {"post", s.Post},
	}
}

// check gives one problem for each setting that is wrong.
func (s settings) check(ctx context.Context) error {
	var errs []error
	wrong := func(setting string, err error) {
		if err != nil {
			err = sdk.WithCode(fmt.Errorf("setting %s: %w", setting, err), sdk.InvalidConfig)
			errs = append(errs, sdk.Subject(sdk.Permanent(err), setting))
		}
	}
	anything := s.Directory != ""
	for _, c := range s.commands() {
		if c.line == "" {
			continue
		}
		anything = true
		if s.Validate {
			wrong(c.setting, script.CheckLine(ctx, c.name(), c.line))
		}
	}
	if !anything {
		wrong("deploy_hook", errors.New("there is nothing to run: set one of the commands, or directory"))
	}
	if s.Limit <= 0 {
		wrong("limit", errors.New("wants a time above 0"))
	}
	for setting, path := range map[string]string{"directory": s.Directory, "beside": s.Beside} {
		if path != "" && !filepath.IsAbs(path) {
			wrong(setting, fmt.Errorf("%s is not absolute", path))
		}
	}
	if info, err := os.Stat(s.Directory); s.Directory != "" && (err != nil || !info.IsDir()) {
		wrong("directory", fmt.Errorf("%s is no directory that can be read", s.Directory))
	}
	for name := range s.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			wrong("env", fmt.Errorf("%q cannot be the name of a variable", name))
		}
	}
	return errors.Join(errs...)
}
