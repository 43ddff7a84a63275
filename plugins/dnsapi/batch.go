package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

//go:embed shim/*.sh
var shimFiles embed.FS

// shim is what scripts find instead of acme.sh: every file, in the order of use.
func shim() (string, error) {
	var out strings.Builder
	for _, name := range []string{"log", "text", "encode", "digest", "system", "http", "conf", "drive"} {
		text, err := shimFiles.ReadFile("shim/" + name + ".sh")
		if err != nil {
			return "", err
		}
		out.Write(text)
	}
	return out.String(), nil
}

// batch is one call of the host: the shell that it runs in, mostly one.
type batch struct {
	*dnsapi
	action   string
	reporter sdk.Reporter
	account  *account
	lock     *os.File
	// dir is this batch's own and gone afterwards.
	dir string
}

// failedError says that the script itself reported a failure for one record.
type failedError struct {
	problem *sdk.Problem
	status  int
}

func (e *failedError) Error() string { return e.problem.Error() }
func (e *failedError) Unwrap() error { return e.problem }

// report is told the outcome for each challenge, with what the script said.
type report func(c sdk.Challenge, err error, said []string)

// run calls the function of the script for every challenge. A script that ends its
// shell ends only its own call: the others are made in another shell. Its error is
// the context's; all others are told.
func (b *batch) run(ctx context.Context, challenges []sdk.Challenge, tell report) error {
	for left := challenges; len(left) > 0; {
		done, broken := b.shell(ctx, left, tell)
		if ctx.Err() != nil || broken == nil {
			return ctx.Err()
		}
		left = left[done:]
		var fatal *fatalError
		affected := 1
		if errors.As(broken, &fatal) {
			affected = len(left)
		}
		for _, c := range left[:affected] {
			tell(c, sdk.Subject(broken, c.ID), nil)
		}
		left = left[affected:]
	}
	return nil
}

// fatalError will be the same in the next shell too.
type fatalError struct{ error }

func (e *fatalError) Unwrap() error { return e.error }

// shell makes calls in one shell and says how many it has told of. What broke is
// about the next one.
func (b *batch) shell(ctx context.Context, challenges []sdk.Challenge, tell report) (told int, broken error) {
	op := sdk.OperationFrom(ctx)
	domain := b.domainFile(op.Lineage)
	nonce := rand.Text()
	if err := b.write(challenges, domain, nonce); err != nil {
		return 0, &fatalError{fmt.Errorf("write what the shell is to do: %w", err)}
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWatch(nonce, b.settings.CallTimeout, cancel)
	w.line = func(err bool, line string) { b.story(err, line) }
	w.done = func(n, code int, said []string) {
		c := challenges[n]
		err := errors.Join(syncPath(b.account.path), syncPath(domain), syncPath(b.instance.StateDir), syncPath(filepath.Dir(domain)))
		if err != nil {
			err = fmt.Errorf("keep what the script remembers: %w", err)
		} else if code != 0 {
			err = b.failed(c, code, said)
		}
		tell(c, err, said)
	}
	env := map[string]string{}
	for name, value := range b.settings.Env {
		env[name] = string(value.Secret)
	}
	result, err := script.Run(running, script.Command{
		Name: b.source.file, Path: b.source.shell[0], Args: append(slices.Clone(b.source.shell[1:]), filepath.Join(b.dir, "run.sh")),
		Env: script.Environ(env, "ENV", "BASH_ENV", "CDPATH", "IFS", "HTTP_HEADER", "_H1", "_H2", "_H3", "_H4", "_H5"), Dir: b.dir,
		Stdout: w.stream(false), Stderr: w.stream(true),
	})
	w.end()
	result.Warn(b.reporter)
	late := context.Cause(running)
	told, begun, loaded, said := w.state()

	switch {
	case told == len(challenges):
		return told, nil
	case errors.Is(late, errCallTimeout):
		p := sdk.Problemf(sdk.Timeout, "%s did not %s within %s and was stopped", b.source.name, b.what(challenges[told]), b.settings.CallTimeout)
		p.Detail, p.Hint = b.quote(said), "see what the script waits for ("+b.advice()+"), or raise the setting call_timeout"
		return told, &fatalError{p}
	case !loaded:
		return told, &fatalError{b.unloaded(w.failure(), said, result, err)}
	case err != nil && result.Signal == "" && !result.Exited:
		p := *sdk.ProblemOf(err)
		p.Detail, p.Summary = b.quote(said), b.mask(p.Summary)
		return told, &fatalError{&p}
	}
	how := "ended the shell"
	if result.Signal != "" {
		how = "was ended by the signal " + result.Signal
	}
	doing := "before it could "
	if begun {
		doing = "where it should "
	}
	p := sdk.Problemf(sdk.Unavailable, "%s %s (exit status %d) %s%s", b.source.name, how, result.Code, doing, b.what(challenges[told]))
	p.Detail, p.Hint = b.quote(said), "see why: "+b.advice()
	return told, p
}

func (b *batch) what(c sdk.Challenge) string {
	return map[string]string{add: "add", remove: "remove"}[b.action] + " the TXT record of " + c.DNS.Name
}

func (b *batch) advice() string {
	return fmt.Sprintf("run again with -v and --set %s.env.DEBUG=2", b.instance.Name)
}

// failed is the error of a call that returned something else than 0.
func (b *batch) failed(c sdk.Challenge, code int, said []string) error {
	p := sdk.Problemf(sdk.Unavailable, "%s could not %s (status %d)", b.source.name, b.what(c), code)
	p.Detail, p.Subject = b.quote(said), c.ID
	p.Hint = fmt.Sprintf("correct the script's variables (certwright plugins describe dnsapi --set dnsapi.dir=%s --set dnsapi.script=%s shows them), or %s",
		b.settings.Dir, b.source.name, b.advice())
	return &failedError{problem: p, status: code}
}

func (b *batch) unloaded(failure string, said []string, result script.Result, err error) error {
	text := fmt.Sprintf("%s could not be read by %s", b.source.file, strings.Join(b.source.shell, " "))
	hint := "mend the script, or set shell to the one that it was written for"
	switch {
	case failure == "functions":
		text = fmt.Sprintf("%s does not define %s_%s and %s_%s", b.source.file, b.source.name, add, b.source.name, remove)
	case err != nil && (result.Signal != "" || !result.Exited):
		p := *sdk.ProblemOf(err)
		p.Detail = b.quote(said)
		return &p
	}
	p := sdk.Problemf(sdk.Unavailable, "%s", text)
	p.Detail, p.Hint = b.quote(said), hint
	return sdk.Permanent(p)
}

// quote gives the last words of a script for an error, on one line.
func (b *batch) quote(said []string) string {
	const most = 8
	if len(said) == 0 {
		return "it said nothing"
	}
	return b.mask(strings.Join(said[max(0, len(said)-most):], "; "))
}

// story passes on a line while the script runs: what it reports to the user, the
// rest to the log.
func (b *batch) story(err bool, line string) {
	if err {
		fmt.Fprintf(os.Stderr, "%s: %s\n", b.source.name, b.mask(line))
		return
	}
	b.reporter.Progress("", b.mask(line))
}

// sensitive finds the names of settings that are no business of a log.
var sensitive = regexp.MustCompile(`(?i)token|key|secret|pass|pw|auth|cred|cookie|sid|session|login`)

// mask takes secrets out of what a script says: the host knows only those that it
// was given by settings.
func (b *batch) mask(text string) string {
	for name, value := range b.settings.Env {
		if sensitive.MatchString(name) {
			text = masked(text, string(value.Secret))
		}
	}
	if b.account == nil {
		return text
	}
	for _, v := range b.account.vars {
		if sensitive.MatchString(v.name) {
			text = masked(text, v.value)
		}
	}
	return text
}

func masked(text, secret string) string {
	if len(secret) < 4 {
		return text
	}
	return strings.ReplaceAll(text, secret, "[secret]")
}

// write puts together what the shell reads.
func (b *batch) write(challenges []sdk.Challenge, domain, nonce string) error {
	shimText, err := shim()
	if err != nil {
		return err
	}
	var run strings.Builder
	put := func(name, value string) { fmt.Fprintf(&run, "%s=%s\n", name, quoted(value)) }
	put("_cw_run", b.dir)
	put("_cw_nonce", nonce)
	put("_cw_isolate", map[bool]string{true: "1"}[b.settings.Isolate])
	put("ACCOUNT_CONF_PATH", b.account.path)
	put("DOMAIN_CONF", domain)
	put("LE_WORKING_DIR", b.instance.StateDir)
	put("LE_CONFIG_HOME", b.instance.StateDir)
	put("VER", version)
	b.load(put, b.account.vars)
	kept, err := openAccount(domain)
	if err != nil {
		return err
	}
	b.load(put, kept.vars)
	run.WriteString("export LE_WORKING_DIR LE_CONFIG_HOME\n")
	fmt.Fprintf(&run, ": \"${USER_AGENT:=certwright/%s (dnsapi)}\"\n", version)
	fmt.Fprintf(&run, ". %s\n", quoted(filepath.Join(b.dir, "shim.sh")))
	fmt.Fprintf(&run, "_cw_source %s %s\n", quoted(b.source.file), b.source.name)
	for i, c := range challenges {
		fmt.Fprintf(&run, "_cw_call %s %s %s %s\n", strconv.Itoa(i), b.action, quoted(c.DNS.Name), quoted(c.DNS.Value))
	}
	run.WriteString("exit 0\n")
	for name, text := range map[string]string{"shim.sh": shimText, "run.sh": run.String()} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// load gives the shell what is kept as variables, as acme.sh reads its files. What
// the settings give goes before that, and SAVED_ ones are asked for by the script.
func (b *batch) load(put func(name, value string), vars []variable) {
	for _, v := range vars {
		if _, given := b.settings.Env[v.name]; !given && identifier.MatchString(v.name) &&
			!strings.HasPrefix(v.name, "SAVED_") && !foreign.MatchString(v.name) {
			put(v.name, v.value)
		}
	}
}

// quoted is a word for the shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

var errCallTimeout = errors.New("the script took too long for one record")

// callTimer ends a shell of which one call takes too long.
type callTimer struct {
	limit time.Duration
	timer *time.Timer
	end   context.CancelCauseFunc
}

func (c *callTimer) begin() {
	c.stop()
	c.timer = time.AfterFunc(c.limit, func() { c.end(errCallTimeout) })
}

func (c *callTimer) stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
}
