package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/certwright/certwright/host/config"
	"github.com/certwright/certwright/host/internal/deploy"
	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/pluginhost"
	"github.com/certwright/certwright/host/internal/report"
	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/sdk"
)

// The test binary is also the host: CERTWRIGHT_RUN_CHILD holds what it is to do
// then, with plugins in processes of their own as ever.
const childVar = "CERTWRIGHT_RUN_CHILD"

// command is one run of a host.
type command struct {
	// Dir has etc/ and becomes the working directory; the state is in state/.
	Dir     string
	Plugins string
	// Names of the certificates of the configuration that are wanted.
	Names []string
	// CSR takes the place of a key, and the certificates are not deployed.
	CSR   []byte
	Force bool
	// Dry is --dry-run.
	Dry bool
	// Rollback is the instance at which one deployment is taken back, in place of
	// a run; "any": the only one that has something to take back.
	Rollback string
	// KillAt is the step, counted from 1, at which the process kills itself; or
	// KillOn its text. Zero and empty: never.
	KillAt int
	KillOn string
	// Murder is the step at which the process of the plugin that is being called
	// is killed.
	Murder int
	// Pause stops at the first step with this text until standard input ends.
	Pause string
}

// asHost runs the engine if this process was started for that.
func asHost() {
	sandbox.RunIfLauncher()
	text := os.Getenv(childVar)
	if text == "" {
		return
	}
	var c command
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = c.work(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(report.ExitCode(err))
	}
	os.Exit(0)
}

// work builds an engine as package host does.
func (c command) work(ctx context.Context) (err error) {
	syscall.Umask(0o022)
	s := &steps{command: c}
	if s.log, err = os.OpenFile(filepath.Join(c.Dir, "steps"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return err
	}
	state := filepath.Join(c.Dir, "state")
	cfg, err := config.Load(config.Sources{ConfigDir: filepath.Join(c.Dir, "etc"), Flags: map[string]any{"state_dir": state}})
	if err != nil {
		return err
	}
	disk, err := store.Open(state)
	if err != nil {
		return err
	}
	disk.OnStep(func(what string) { s.at("store: " + what) })
	j, err := journal.Open(filepath.Join(state, "journal"))
	if err != nil {
		return err
	}
	j.OnRecord(func(what string) { s.at("journal: " + what) })
	secrets := &report.Secrets{}
	plugins := pluginhost.New(pluginhost.Options{Dirs: []string{c.Plugins}, HostVersion: "test"}.Within(state))
	terminal := &report.Terminal{Out: os.Stdout, Err: s, Verbose: true}
	e := &Engine{
		Config: cfg, Store: disk, Journal: j, Plugins: plugins, Terminal: terminal, Secrets: secrets,
		Version: "test", RunID: "run-" + strconv.Itoa(os.Getpid()), Now: time.Now, DryRun: c.Dry,
		watch: watch{
			authenticator: func(instance string, a order.Authenticator) order.Authenticator {
				return watchedAuthenticator{a, calls{s, instance}}
			},
			installer: func(instance string, i deploy.Installer) deploy.Installer {
				return watchedInstaller{i, calls{s, instance}}
			},
		},
	}
	if c.Rollback != "" {
		_, err := e.Rollback(ctx, strings.TrimPrefix(c.Rollback, "any"), "", 1)
		return errors.Join(err, plugins.Close(ctx), j.Close())
	}
	outcomes, err := e.Run(ctx, Want{Force: c.Force, Requests: func(context.Context, map[string]model.Lineage) ([]model.Request, error) {
		return c.requests(cfg)
	}})
	errs := []error{err}
	for _, o := range outcomes {
		errs = append(errs, o.Err)
	}
	return errors.Join(append(errs, plugins.Close(ctx), j.Close())...)
}

func (c command) requests(cfg *config.Config) ([]model.Request, error) {
	all, err := cfg.Requests()
	var out []model.Request
	for _, r := range all {
		for _, name := range c.Names {
			if r.Name == name {
				if r.CSR = c.CSR; len(c.CSR) > 0 {
					r.Deploy = nil
				}
				out = append(out, r)
			}
		}
	}
	return out, err
}

// steps counts what happens, and strikes where it is told to.
type steps struct {
	command

	mu   sync.Mutex
	n    int
	log  *os.File
	done bool // the pause
}

func (s *steps) at(what string) { s.strike(what, nil) }

// strike is one step; murder ends the plugin that it is about.
func (s *steps) strike(what string, murder func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	fmt.Fprintln(s.log, what)
	switch {
	case s.n == s.KillAt || what == s.KillOn:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	case s.n == s.Murder && murder != nil:
		murder()
	case what == s.Pause && !s.done:
		s.done = true
		fmt.Println("paused")
		_, _ = os.Stdin.Read(make([]byte, 1))
	}
}

var answered = regexp.MustCompile(`^(GET|HEAD|POST) https://[^/]*/([a-zA-Z-]*)\S*: [0-9]+$`)

// Write takes the story. An answer of the CA is a step: the CA has acted, and
// nobody here knows of it yet.
func (s *steps) Write(text []byte) (int, error) {
	_, _ = os.Stderr.Write(text)
	if m := answered.FindSubmatch(bytes.TrimSpace(text)); m != nil {
		s.at(fmt.Sprintf("answer: %s %s", m[1], m[2]))
	}
	return len(text), nil
}

// calls tells of the calls of one instance.
type calls struct {
	steps    *steps
	instance string
}

func (c calls) at(moment, call string) {
	c.steps.strike(moment+" "+call+" by "+c.instance, func() { murderPlugin(c.instance) })
}

// call is told before a call begins, at everything that is reported meanwhile,
// and when it has ended.
func (c calls) call(name string, r sdk.Reporter, f func(sdk.Reporter) error) error {
	c.at("before", name)
	err := f(watchedReporter{r, c, name})
	c.at("after", name)
	return err
}

// murderPlugin kills the process of an instance: it is a child of this one, and
// its plugin is named like the instance, mostly.
func murderPlugin(instance string) {
	plugin := instance
	if other, named := map[string]string{"one": "files", "two": "sites"}[instance]; named {
		plugin = other
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest) // state, parent
		if filepath.Base(exe) != "certwright-plugin-"+plugin || len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

type watchedReporter struct {
	sdk.Reporter
	calls calls
	call  string
}

func (r watchedReporter) Progress(subject, message string) {
	r.calls.at("during", r.call)
	r.Reporter.Progress(subject, message)
}

func (r watchedReporter) Result(result sdk.Result) {
	r.calls.at("during", r.call)
	r.Reporter.Result(result)
}

type watchedAuthenticator struct {
	order.Authenticator
	calls calls
}

func (a watchedAuthenticator) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	return a.calls.call("Perform", r, func(r sdk.Reporter) error { return a.Authenticator.Perform(ctx, challenges, r) })
}

func (a watchedAuthenticator) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	return a.calls.call("Cleanup", r, func(r sdk.Reporter) error { return a.Authenticator.Cleanup(ctx, challenges, r) })
}

type watchedInstaller struct {
	deploy.Installer
	calls calls
}

func (i watchedInstaller) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	return i.calls.call("Deploy", r, func(r sdk.Reporter) error { return i.Installer.Deploy(ctx, d, r) })
}

func (i watchedInstaller) Save(ctx context.Context, s sdk.SaveRequest, r sdk.Reporter) (c sdk.Checkpoint, err error) {
	name := "Save"
	if s.Title != "" {
		name = "Save with a title"
	}
	err = i.calls.call(name, r, func(r sdk.Reporter) error {
		c, err = i.Installer.Save(ctx, s, r)
		return err
	})
	return c, err
}

func (i watchedInstaller) ConfigTest(ctx context.Context, r sdk.Reporter) error {
	return i.calls.call("ConfigTest", r, func(r sdk.Reporter) error { return i.Installer.ConfigTest(ctx, r) })
}

func (i watchedInstaller) Restart(ctx context.Context, r sdk.Reporter) error {
	return i.calls.call("Restart", r, func(r sdk.Reporter) error { return i.Installer.Restart(ctx, r) })
}

func (i watchedInstaller) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	return i.calls.call(fmt.Sprintf("Rollback %d", count), r, func(r sdk.Reporter) error { return i.Installer.Rollback(ctx, count, r) })
}

func (i watchedInstaller) Enhance(ctx context.Context, name, enhancement string, r sdk.Reporter) error {
	return i.calls.call("Enhance", r, func(r sdk.Reporter) error { return i.Installer.Enhance(ctx, name, enhancement, r) })
}
