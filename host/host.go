// Package host is the engine of Certwright as a library: one function for each
// verb of the command line. Each takes a request and gives outcomes; what
// happens meanwhile is told to a Terminal.
package host

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/run"
	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/host/internal/store"
)

// What callers see of the inner packages.
type (
	// Terminal is where a verb talks to its user.
	Terminal = report.Terminal
	// Outcome is what became of one certificate.
	Outcome = model.Outcome
	// Plan is what would be done.
	Plan = model.Plan
	// Lineage is what is kept of one certificate.
	Lineage = model.Lineage
)

// What an installer may set beside the certificate.
const (
	Redirect = model.Redirect
	HSTS     = model.HSTS
)

// Base is what every verb needs.
type Base struct {
	Config   *config.Config
	Terminal *Terminal
	// Version of the program, for the user agent and plugins.
	Version string
	// Executable is the path of the program: plugins are looked for beside it.
	Executable string
	// LibexecDir is where the packager put the plugins, if not in a standard
	// place; empty: a standard one.
	LibexecDir string
	// LockFragments is where fragments of plugins.lock are; empty: the standard
	// place.
	LockFragments string
	// Dev are plugins that their author works on.
	Dev Dev
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// ExitCode is the exit code that belongs to an error; 0 for nil.
func ExitCode(err error) int { return report.ExitCode(err) }

// UsageError marks an error as one of usage or configuration: exit code 2.
func UsageError(err error) error {
	if err == nil {
		return nil
	}
	return &report.UsageError{Err: err}
}

// RunIfLauncher turns this process into the launcher of a plugin if it was
// started as one. Every program that uses this package MUST call it first in
// main, before anything else.
func RunIfLauncher() { sandbox.RunIfLauncher() }

// engine opens everything that changes state; close it.
func (b Base) engine(eab *config.EAB) (*run.Engine, func(context.Context) error, error) {
	s, err := store.Open(b.Config.StateDir)
	if err != nil {
		return nil, nil, err
	}
	j, err := journal.Open(filepath.Join(b.Config.StateDir, "journal"))
	if err != nil {
		return nil, nil, err
	}
	secrets := &report.Secrets{}
	b.Terminal.Redact = secrets.Redact
	plugins, err := b.plugins(secrets)
	if err != nil {
		return nil, nil, errors.Join(err, j.Close())
	}
	if eab != nil && eab.HMACKey.Env != "" {
		plugins.Withhold(eab.HMACKey.Env)
	}
	e := &run.Engine{
		Config: b.Config, Store: s, Journal: j, Plugins: plugins, Terminal: b.Terminal, Secrets: secrets,
		EAB: eab, Version: b.Version, RunID: runID(), Now: b.now(),
	}
	return e, func(ctx context.Context) error {
		return errors.Join(plugins.Close(context.WithoutCancel(ctx)), j.Close())
	}, nil
}

// plugins gives those that plugins.lock allows.
func (b Base) plugins(secrets *report.Secrets) (*pluginhost.Host, error) {
	l, err := b.lock()
	if err != nil {
		return nil, UsageError(err)
	}
	return b.pluginHost(secrets, l), nil
}

func (b Base) pluginHost(secrets *report.Secrets, lock pluginhost.Lock) *pluginhost.Host {
	b.warnOfDev()
	level := hclog.Warn
	if b.Terminal.Verbose {
		level = hclog.Debug
	}
	plugins := pluginhost.New(pluginhost.Options{
		Dirs:           b.searchPath(),
		HostVersion:    b.Version,
		NonInteractive: !b.Terminal.Interactive,
		Quiet:          b.Terminal.Quiet,
		Log:            hclog.New(&hclog.LoggerOptions{Output: b.Terminal.Story(), Level: level, DisableTime: true}),
		Redact:         secrets.Redact,
		Lock:           lock,
		Dev:            b.Dev,
	}.Within(b.Config.StateDir))
	plugins.Withhold(b.Config.SecretVariables()...)
	return plugins
}

func (b Base) searchPath() []string {
	dirs := pluginhost.SearchPath(b.Config.PluginDirs, os.Getenv("CERTWRIGHT_PLUGIN_PATH"), b.Executable)
	if b.LibexecDir != "" {
		dirs = append(dirs, filepath.Join(b.LibexecDir, "certwright", "plugins"))
	}
	return dirs
}

func (b Base) now() func() time.Time {
	if b.Now != nil {
		return b.Now
	}
	return time.Now
}

func runID() string {
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	return hex.EncodeToString(id)
}

// reading opens the state for a verb that changes nothing, and mentions what an
// interrupted run has left.
func (b Base) reading() (*store.Store, error) {
	s, err := store.OpenReadOnly(b.Config.StateDir)
	if err != nil {
		return nil, err
	}
	pending, err := journal.Pending(filepath.Join(b.Config.StateDir, "journal"))
	if err != nil {
		b.Terminal.Warn("", "%v", err)
	}
	for _, entry := range pending {
		b.Terminal.Warn("", "an interrupted run has left %s; the next run, certonly, renew or install cleans it up", entry)
	}
	return s, nil
}

func mustHave(l map[string]model.Lineage, name string) (model.Lineage, error) {
	if have, ok := l[name]; ok {
		return have, nil
	}
	return model.Lineage{}, UsageError(fmt.Errorf("there is no certificate %q: see certwright certificates", name))
}
