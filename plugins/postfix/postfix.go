package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// postfix is the installer, for the Postfix of one configuration directory.
type postfix struct {
	settings  settings
	programs  programs
	systemd   systemd
	version   string
	endpoints []sdk.Endpoint
	stateDir  string
	edits     *checkpoint.Edits[staging]
	// turn is held by who reads main.cf to change it, or has it edited.
	turn gate
	// step is for tests that kill the process; see checkpoint.Store.
	step func(string)
	// confined says whether this process is in a sandbox.
	confined func(settings) bool
}

var _ interface {
	sdk.Installer
	sdk.Configurer
	sdk.ConfigTester
	sdk.Rollbacker
	sdk.Namer
	sdk.HealthChecker
} = (*postfix)(nil)

func newPostfix() *postfix {
	return &postfix{turn: make(gate, 1), systemd: systemd{booted: "/run/systemd/system"}, confined: inSandbox}
}

func (p *postfix) at(step string) {
	if p.step != nil {
		p.step(step)
	}
}

// Configure checks the settings, and undoes what a crash left.
func (p *postfix) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := p.settings.check(); err != nil || instance.ValidateOnly {
		return err
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	p.stateDir, p.programs = instance.StateDir, programs{settings: p.settings, confined: p.confined(p.settings)}
	var err error
	if p.endpoints, err = parseEndpoints(p.settings.Endpoints); err != nil {
		return err
	}
	if p.version, err = p.programs.find(ctx); err != nil {
		return err
	}
	store, err := checkpoint.Open(instance.StateDir)
	if err != nil {
		return err
	}
	store.Step = p.step
	p.edits = checkpoint.NewEdits[staging](ctx, store)
	return nil
}

// Health says whether Postfix accepts its configuration and runs.
func (p *postfix) Health(ctx context.Context, _ bool) error {
	if err := p.programs.check(ctx); err != nil {
		return err
	}
	up, err := p.programs.running(ctx)
	if err == nil && !up {
		err = p.stopped()
	}
	return err
}

// Names gives those that Postfix calls itself by.
func (p *postfix) Names(ctx context.Context) ([]sdk.Site, error) {
	order := []string{"myhostname", "mydomain", "myorigin"}
	values, err := p.programs.postconf(ctx, append([]string{"-x", certificates[0], certificates[1]}, order...)...)
	if err != nil {
		return nil, err
	}
	site := sdk.Site{
		ID: "postfix", File: p.settings.mainCF(),
		TLS: values[certificates[0]] != "" || values[certificates[1]] != "",
	}
	for _, name := range order {
		value := values[name]
		if filepath.IsAbs(value) { // a file that has it in its first line
			if value, err = firstLine(value); err != nil {
				return nil, fmt.Errorf("read %s of main.cf: %w", name, err)
			}
		}
		value = strings.ToLower(strings.TrimSuffix(value, "."))
		// A certificate is for names with a dot; a host that is named localhost
		// or vm has none.
		if strings.Contains(value, ".") && !strings.ContainsAny(value, " \t,$/") && !slices.Contains(site.Names, value) {
			site.Names = append(site.Names, value)
		}
	}
	return []sdk.Site{site}, nil
}

func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Scan()
	return strings.TrimSpace(lines.Text()), lines.Err()
}

// ConfigTest has Postfix check its configuration. Certificates it does not look
// at: these smtpd finds fault with in its log, while SMTP goes on without TLS,
// so the endpoints must be proven.
func (p *postfix) ConfigTest(ctx context.Context, _ sdk.Reporter) error {
	p.at("test")
	return p.programs.check(ctx)
}

// Restart has Postfix read its configuration and the certificate.
func (p *postfix) Restart(ctx context.Context, _ sdk.Reporter) error {
	up, err := p.programs.running(ctx)
	if err != nil {
		return err
	}
	p.at("restart: reload")
	if up {
		err = p.programs.reload(ctx)
	} else {
		err = p.start(ctx)
	}
	p.at("restart: reloaded")
	return err
}

// Rollback drops what is staged or unfinished, then reverts checkpoints.
func (p *postfix) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	if err := p.turn.enter(ctx); err != nil {
		return err
	}
	defer p.turn.leave()
	return p.edits.Rollback(ctx, count, r)
}

const (
	systemctl = "/usr/bin/systemctl"
	unit      = "postfix.service"
)

// systemd can start the Postfix of the system.
type systemd struct{ booted string }

func (s systemd) owns(ctx context.Context, p programs) bool {
	if _, err := os.Stat(s.booted); err != nil || !p.isSystem() {
		return false
	}
	return exec.CommandContext(ctx, systemctl, "cat", unit).Run() == nil
}

// start starts the Postfix of the system if systemd has it, and no other: as a
// child of this process it would live in its confinement.
func (p *postfix) start(ctx context.Context) error {
	if !p.systemd.owns(ctx, p.programs) {
		return p.stopped()
	}
	out, err := exec.CommandContext(ctx, systemctl, "start", unit).CombinedOutput()
	if err == nil {
		// To systemd it may be active already: Debian's unit is as long as nobody
		// stops it, whatever has become of Postfix.
		if up, err := p.programs.running(ctx); up || err != nil {
			return err
		}
		return sdk.Hint(p.stopped(), "systemctl start %s did nothing; restart it: systemctl restart %s", unit, unit)
	}
	if ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	problem := sdk.Problemf(sdk.NotRunning, "Postfix does not run, and systemctl start %s failed (%w)", unit, err)
	problem.Detail = shorten(string(out))
	return sdk.Hint(problem, "see what it says: systemctl status %s", unit)
}

func (p *postfix) stopped() error {
	err := sdk.Problemf(sdk.NotRunning, "Postfix is not running with the configuration in %s", p.settings.ConfigDir)
	return sdk.Hint(sdk.RetryAfter(err, 0), "start it: %s", p.programs.command("postfix", "start"))
}

// gate lets one in at a time, and those who wait can give up.
type gate chan struct{}

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }
