package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

const (
	shell = "/bin/sh"
	// searchPath is the same however certwright was started, by cron too.
	searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// outputLimit bounds what an error quotes of a command's output, in bytes.
	outputLimit = 4 << 10
	// holdLimit is how long output is awaited after the command has ended: it may
	// have left a process that keeps the pipe open.
	holdLimit = 2 * time.Second
)

// run runs one of the operator's commands; the error has its output as the
// detail. The command stays in the plugin's process group, which the host ends
// as a whole.
func run(ctx context.Context, setting, command string, env []string, code sdk.Code) error {
	out := &tail{limit: outputLimit}
	cmd := exec.CommandContext(ctx, shell, "-c", command)
	cmd.Env, cmd.Dir = env, "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = holdLimit
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("the %s command was stopped: %w", setting, ctx.Err())
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	// The command itself is not quoted: it may hold a password.
	p := sdk.Problemf(code, "the %s command failed (%w)", setting, err)
	p.Detail = out.String()
	if p.Detail == "" {
		p.Detail = "it printed nothing"
	}
	p.Hint = fmt.Sprintf("run the command of setting %s by hand, see what it says and mend that", setting)
	p.Subject = setting
	return p
}

// environment is all that a command gets.
func environment(lineage string, names []string) []string {
	return []string{
		"PATH=" + searchPath,
		"CERTWRIGHT_LINEAGE=" + lineage,
		"CERTWRIGHT_NAMES=" + strings.Join(names, " "),
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	limit int
	data  []byte
	cut   bool
}

func (t *tail) Write(b []byte) (int, error) {
	t.data = append(t.data, b...)
	if over := len(t.data) - t.limit; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
		t.cut = true
	}
	return len(b), nil
}

// String is valid UTF-8, which a message to the host must be.
func (t *tail) String() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.data), "?"))
	if t.cut {
		return "… " + text
	}
	return text
}
