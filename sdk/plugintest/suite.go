package plugintest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// Suite says which plugin to check and where its work is to be seen.
type Suite struct {
	// Binary is the path of the plugin; its name is certwright-plugin-NAME.
	Binary string
	// Settings and Secrets are those of one working instance. In their texts,
	// in Env and in DeployedFiles, these stand for parts of a world that the suite makes,
	// looks at, and lets fail:
	//
	//	{dir}          a document root that is served
	//	{web}          URL of a web server over it that also takes PUT and DELETE
	//	{dns}          host:port of a name server for Domain that takes updates (RFC 2136)
	//	{tsig_name}    name of the key that it takes, {tsig_secret} its secret (hmac-sha256)
	//	{http_port}    a free port of 127.0.0.1 on which the plugin answers http-01
	//	{tls_port}     the same for tls-alpn-01
	//	{via URL}      URL of a proxy in front of a server that the author brings,
	//	               a fake of a provider's API as a rule
	Settings map[string]any
	Secrets  map[string][]byte
	// Env are further entries (NAME=value) for the plugin's environment, which
	// otherwise holds what its description asks for.
	Env []string
	// Domain is the name below which all names of the checks are made. Empty:
	// "plugincheck.test". For dns-01 it is also the zone.
	Domain string

	// HTTPAddress (host:port) is where http-01 responses are to be seen.
	// WebrootPath is a directory that the suite serves itself instead.
	HTTPAddress string
	WebrootPath string
	// TLSAddress (host:port) is where tls-alpn-01 responses are to be seen.
	TLSAddress string
	// DNSAddress (host:port) is the server that is asked for dns-01 records.
	DNSAddress string
	// Look tells by challenge type how many times the response is there, where none
	// of these can show it: records in a fake that the test runs itself.
	Look map[string]func(context.Context, sdk.Challenge) (int, error)

	// DeployedFiles must each hold the leaf certificate once an installer has
	// deployed, and be as before once it has rolled back.
	DeployedFiles []string

	// Answer answers the plugin's asks. Nil: nobody can be asked.
	Answer func(text string) (string, error)
	// Limit bounds each check. Zero: two minutes.
	Limit time.Duration
}

// Outcome of a check.
type Outcome string

// Outcomes.
const (
	Passed        Outcome = "ok"
	Failed        Outcome = "fail"
	NotApplicable Outcome = "n.a."
)

// Step is one check and its outcome.
type Step struct {
	// Name is stable over versions: "describe/json", "http-01/cleanup-twice".
	Name string `json:"name"`
	// Category is the line of the score card: one of [Categories].
	Category string `json:"category"`
	// Obligation is what the plugin has to do, as one sentence.
	Obligation string  `json:"obligation"`
	Outcome    Outcome `json:"outcome"`
	// Text says what was seen and what to change, or why the check is not
	// applicable. Empty if it passed.
	Text string `json:"text,omitempty"`
	// Mend says in one line what to do about a failure.
	Mend string `json:"mend,omitempty"`
	// Unseen says of a check that is not applicable that it would be, had the
	// suite been told more.
	Unseen bool `json:"unseen,omitempty"`
}

// Run checks a plugin in a Go test; each check is a subtest.
func Run(t *testing.T, s Suite) {
	t.Helper()
	ctx := t.Context()
	_ = Check(ctx, s, func(step Step) {
		t.Run(step.Name, func(t *testing.T) {
			switch step.Outcome {
			case Failed:
				t.Errorf("%s\n%s\n%s", step.Obligation, step.Text, step.Mend)
			case NotApplicable:
				t.Logf("not applicable: %s", step.Text)
			}
		})
	})
}

// Check checks a plugin, reports each step as it ends (report may be nil) and
// returns all. It ends early, with a failed step, only if the plugin cannot be
// described or the context is done.
func Check(ctx context.Context, s Suite, report func(Step)) []Step {
	var steps []Step
	add := func(step Step) {
		steps = append(steps, step)
		if report != nil {
			report(step)
		}
	}
	b, err := newBench(s)
	if err != nil {
		add(Step{Name: "suite", Category: Contract, Obligation: "the suite itself can be set up", Outcome: Failed, Text: err.Error()})
		return steps
	}
	defer b.close()
	first := b.run(ctx, describeJSON)
	add(first)
	if first.Outcome == Failed {
		return steps
	}
	for _, c := range b.checks() {
		if ctx.Err() != nil {
			add(Step{Name: "suite", Category: Contract, Obligation: "the suite runs to its end", Outcome: Failed,
				Text: "cancelled before " + c.name + ": " + context.Cause(ctx).Error()})
			return steps
		}
		add(b.run(ctx, c))
	}
	return steps
}

// check is one obligation.
type check struct {
	name       string
	obligation string
	// run returns nil, a notApplicable, an unseen, an untried, or an error whose text tells the author
	// what to change.
	run func(context.Context, *bench) error
}

type notApplicable string

func (n notApplicable) Error() string { return string(n) }

// unseen is a notApplicable for want of something that the author can give.
type unseen string

func (n unseen) Error() string { return string(n) }

func (b *bench) checks() []check {
	var all []check
	all = append(all, describeChecks()...)
	all = append(all, configureChecks()...)
	all = append(all, wireChecks()...)
	all = append(all, authenticatorChecks()...)
	all = append(all, faultChecks()...)
	all = append(all, hookChecks()...)
	all = append(all, installerChecks()...)
	return append(all, lifeChecks()...)
}

// bench is where the checks of one suite run: one after the other, each with
// processes and a state directory of its own.
type bench struct {
	Suite
	description sdk.Description
	views       map[string]view
	world       *world
	ears        *ears
	dir         string
	processes   []*process
	closers     []func()
	count       int
	// causes are the failed checks by what cannot be tried since then.
	causes map[string]string
	// patience is how long something that must happen may take on a busy machine.
	patience time.Duration
}

func newBench(s Suite) (*bench, error) {
	if s.Binary == "" {
		return nil, errors.New("no plugin binary was named")
	}
	binary, err := filepath.Abs(s.Binary)
	if err != nil {
		return nil, fmt.Errorf("find plugin %s: %w", s.Binary, err)
	}
	s.Binary = binary
	if s.Domain == "" {
		s.Domain = "plugincheck.test"
	}
	if s.Limit == 0 {
		s.Limit = 2 * time.Minute
	}
	// A short path: a unix socket's is limited to some 100 bytes.
	dir, err := os.MkdirTemp("", "cwcheck")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the checks: %w", err)
	}
	b := &bench{Suite: s, dir: dir, causes: map[string]string{}, patience: 30 * time.Second}
	b.closers = append(b.closers, func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(b.makeWorld(), b.makeViews()); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	for i := len(b.closers) - 1; i >= 0; i-- {
		b.closers[i]()
	}
}

// run runs one check and ends every process that it started.
func (b *bench) run(ctx context.Context, c check) Step {
	step := Step{Name: c.name, Category: gradeOf(c.name).category, Obligation: c.obligation, Outcome: Passed}
	ctx, cancel := context.WithTimeoutCause(ctx, b.Limit,
		fmt.Errorf("the check did not end within %s: a call of the plugin hangs", b.Limit))
	defer cancel()
	err := c.run(ctx, b)
	for _, p := range b.processes {
		p.kill()
	}
	b.world.faults.clear()
	var na notApplicable
	var un unseen
	var after untried
	switch {
	case errors.As(err, &after):
		step.Outcome, step.Text = NotApplicable, after.Error()
	case errors.As(err, &na):
		step.Outcome, step.Text = NotApplicable, na.Error()
	case errors.As(err, &un):
		step.Outcome, step.Text, step.Unseen = NotApplicable, un.Error(), true
	case err != nil:
		step.Outcome, step.Text, step.Mend = Failed, err.Error()+b.lastWords(), gradeOf(c.name).mend
		b.remember(c.name, err)
	}
	b.processes = nil
	return step
}

// lastWords is what the plugins of a failed check wrote to stderr.
func (b *bench) lastWords() string {
	var out string
	for _, p := range b.processes {
		if words := p.runner.lastWords(); words != "" {
			out += "\nstderr of the plugin:\n" + words
		}
	}
	return out
}

// stateDir makes a new directory for one instance.
func (b *bench) stateDir() (string, error) {
	b.count++
	dir := filepath.Join(b.dir, fmt.Sprintf("state-%d", b.count))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a state directory: %w", err)
	}
	return dir, nil
}
