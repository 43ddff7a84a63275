package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/service"
)

const shell = "/bin/sh"

// alertPattern picks what matters of the output of haproxy -c.
var alertPattern = regexp.MustCompile(`(?m)^\[ALERT\]\s*(?:\(\d+\)\s*:\s*)?(?:config : )?(.*)$`)

// testConfiguration runs haproxy -c. tested is false if it could not be run.
func (h *haproxy) testConfiguration(ctx context.Context) error {
	h.at("test: %s -c -f %s", h.settings.Binary, h.settings.Config)
	out, err := service.Run(ctx, h.settings.Binary, "-c", "-f", h.settings.Config)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("test haproxy's configuration: %w", ctx.Err())
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		err = sdk.Problemf(sdk.NotInstalled, "test haproxy's configuration: %w", err)
		return sdk.Hint(sdk.Subject(err, "binary"), "install haproxy, or set binary to its program")
	}
	p := sdk.Problemf(sdk.ConfigTestFailed, "haproxy does not accept its configuration %s", h.settings.Config)
	p.Detail = alerts(out)
	p.Hint = fmt.Sprintf("run %s -c -f %s and mend what it says", h.settings.Binary, h.settings.Config)
	p.Subject = h.settings.Config
	return p
}

// alerts are the lines that say why, without their dress and the verdicts that
// follow from them.
func alerts(out string) string {
	var lines []string
	for _, m := range alertPattern.FindAllStringSubmatch(out, -1) {
		if strings.HasPrefix(m[1], "Fatal errors found") || strings.HasPrefix(m[1], "Error(s) found") {
			continue
		}
		lines = append(lines, strings.TrimSpace(m[1]))
	}
	if len(lines) == 0 {
		return service.Tail(out)
	}
	return service.Tail(strings.Join(lines, "; "))
}

// reload runs the operator's command.
func (h *haproxy) reload(ctx context.Context) error {
	h.at("reload: run the command")
	out, err := service.Run(ctx, shell, "-c", h.settings.Reload)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the reload command was stopped: %w", ctx.Err())
	}
	// The command itself is not quoted: it may hold a password.
	p := sdk.Problemf(sdk.Unavailable, "the reload command failed (%w)", err)
	if p.Detail = service.Tail(out); out == "" {
		p.Detail = "it printed nothing"
	}
	p.Hint, p.Subject = "run the command of setting reload by hand, see what it says and mend that", "reload"
	return p
}
