// Package service is how an installer speaks to the service manager and to the
// programs of the server that it deploys to. It never starts a daemon: that would
// live in the plugin's sandbox; systemd starts it.
package service

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	// searchPath is the same however certwright was started, by cron too.
	searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// holdLimit is how long output is awaited after a program has ended: it may
	// have left a process that keeps the pipe open.
	holdLimit = 2 * time.Second
	// tailLimit bounds what an error quotes of a program's output, in bytes.
	tailLimit = 4 << 10
)

// Run runs a program in the root directory with nothing but PATH in its
// environment, as a service manager would, and gives all that it prints.
func Run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = []string{"PATH=" + searchPath}, "/", holdLimit
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return strings.TrimSpace(strings.ToValidUTF8(out.String(), "?")), err
}

// Tail is the end of an output, for an error to quote.
func Tail(text string) string {
	if len(text) > tailLimit {
		text = "… " + strings.ToValidUTF8(text[len(text)-tailLimit:], "")
	}
	return text
}

// What a plugin that uses [Unit] declares to execute and to read.
const (
	Systemctl = "/usr/bin/systemctl"
	// Booted is there if systemd manages the machine, see sd_booted(3).
	Booted = "/run/systemd/system"
)

// Unit is a service of systemd.
type Unit struct {
	Name string
	// Program is systemctl; empty: Systemctl.
	Program string
	// Booted is looked for in place of the constant of that name; empty: that.
	Booted string
}

// Exists says whether systemd has the unit.
func (u Unit) Exists(ctx context.Context) bool { return u.property(ctx, "LoadState") == "loaded" }

// Active says whether the unit runs.
func (u Unit) Active(ctx context.Context) bool { return u.property(ctx, "ActiveState") == "active" }

// Do has systemctl start, reload or restart the unit, and gives what it prints.
func (u Unit) Do(ctx context.Context, verb string) (string, error) {
	return Run(ctx, u.program(), verb, u.Name)
}

func (u Unit) program() string {
	if u.Program == "" {
		return Systemctl
	}
	return u.Program
}

func (u Unit) property(ctx context.Context, name string) string {
	booted := u.Booted
	if booted == "" {
		booted = Booted
	}
	if _, err := os.Stat(booted); err != nil {
		return ""
	}
	out, err := Run(ctx, u.program(), "show", u.Name, "--value", "--property="+name)
	if err != nil {
		return ""
	}
	return out
}
