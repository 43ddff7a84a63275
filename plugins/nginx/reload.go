package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

const (
	// reloadLimit is how long a reload may take until the old workers have
	// stopped to accept: nginx tries five times to bind an address.
	reloadLimit = 60 * time.Second
	firstPause  = 5 * time.Millisecond
	mostPause   = 100 * time.Millisecond
)

// reload has nginx read its configuration, and returns when no worker with the
// old one takes a connection any more. The configuration was tested before.
func (p *program) reload(ctx context.Context, c *configuration) error {
	master, err := p.master(c)
	if err != nil {
		return err
	}
	if master == 0 {
		return p.start(ctx)
	}
	old, err := serving(master)
	if err != nil {
		return fmt.Errorf("look at the workers of nginx: %w", err)
	}
	logs := watchLogs(p.errorLogs(c))
	if out, err := p.run(ctx, p.args("-s", "reload")...); err != nil {
		problem := sdk.Problemf(sdk.Unavailable, "tell nginx to reload (%w)", err)
		problem.Detail = out
		return problem
	}
	ctx, cancel := context.WithTimeout(ctx, reloadLimit)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		now, err := serving(master)
		if err != nil {
			return fmt.Errorf("look at the workers of nginx: %w", err)
		}
		if len(old) == 0 || len(now) > 0 && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(old, pid) }) {
			return nil
		}
		if !isNginx(master, p.path) {
			return logs.explain(sdk.Problemf(sdk.Unavailable, "nginx ended when it was told to reload"))
		}
		failed := logs.emergency()
		if failed == "" {
			if err := wait(ctx, pause); err == nil {
				continue
			} else if !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
		}
		return logs.explain(sdk.Problemf(sdk.ConfigTestFailed, "nginx did not take its new configuration on and goes on with the old one"))
	}
}

// start starts the nginx of the system if systemd has it, and no other: as a
// child of this process it would live in its confinement.
func (p *program) start(ctx context.Context) error {
	command := p.command()
	if p.isSystem() && systemd() {
		command = "systemctl start " + unit
		if exec.CommandContext(ctx, systemctl, "cat", unit).Run() == nil {
			out, err := exec.CommandContext(ctx, systemctl, "start", unit).CombinedOutput()
			if err == nil {
				return nil
			}
			problem := sdk.Problemf(sdk.NotRunning, "nginx does not run, and %s failed (%w)", command, err)
			problem.Detail = strings.ToValidUTF8(strings.TrimSpace(string(out)), "?")
			problem.Hint = "see what it says: systemctl status " + unit
			return problem
		}
	}
	return sdk.Hint(sdk.Problemf(sdk.NotRunning, "nginx does not run, so it cannot be told to read its configuration"),
		"start it: %s", command)
}

const unit = "nginx.service"

var systemctl = "/usr/bin/systemctl"

func systemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil && executable(systemctl) == nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// logs are error logs, of which only what is new counts.
type logs struct {
	paths []string
	from  map[string]int64
}

func watchLogs(paths []string) logs {
	l := logs{paths: paths, from: map[string]int64{}}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			l.from[path] = info.Size()
		}
	}
	return l
}

// news gives the new lines that tell why nginx refuses something.
func (l logs) news() []string {
	var out []string
	for _, path := range l.paths {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if _, err = f.Seek(l.from[path], io.SeekStart); err == nil {
			data, _ := io.ReadAll(io.LimitReader(f, 1<<20))
			for text := range bytes.Lines(data) {
				if bytes.Contains(text, []byte("[emerg]")) || bytes.Contains(text, []byte("[alert]")) {
					out = append(out, strings.ToValidUTF8(strings.TrimSpace(string(text)), "?"))
				}
			}
		}
		_ = f.Close()
	}
	return out
}

// emergency gives the line that ends an attempt to reload.
func (l logs) emergency() string {
	for _, text := range l.news() {
		// An address in use it tries again before it gives up.
		again := strings.Contains(text, "bind()") && !strings.Contains(text, "still could not") &&
			(strings.Contains(text, "in use") || strings.Contains(text, "(98:"))
		if strings.Contains(text, "[emerg]") && !again {
			return text
		}
	}
	return ""
}

func (l logs) explain(p *sdk.Problem) error {
	news := l.news()
	slices.Sort(news)
	p.Detail = strings.Join(slices.Compact(news), "\n")
	if p.Detail == "" {
		p.Detail = "its error log says nothing about it"
	}
	p.Hint = "see the error log of nginx, and mend what it complains about"
	return p
}
