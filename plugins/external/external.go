package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

// Modes.
const (
	jsonMode       = "json"
	handlerMode    = "handler"
	dehydratedMode = "dehydrated"
	textMode       = "text"
)

type settings struct {
	Mode           string        `setting:"mode" default:"json" choices:"json,handler,dehydrated,text" doc:"json: objects on stdout, answered by lines on stdin; handler: a program for every stage; dehydrated: a handler that is a dehydrated hook; text: instructions for a person"`
	Handler        string        `setting:"handler" doc:"path of the handler; for the modes handler and dehydrated"`
	Variant        string        `setting:"variant" default:"out" choices:"out,marcan" doc:"out: certbot-external-auth; marcan: certbot-external, whose handlers came first"`
	SelfCheck      bool          `setting:"self_check" default:"true" doc:"with a handler: look whether each proof can be seen from here, and warn if not"`
	HandlerTimeout time.Duration `setting:"handler_timeout" default:"9m" doc:"how long one run of the handler may take"`
}

// external is the authenticator and the installer.
type external struct {
	settings settings
	instance sdk.Instance
	// handler is the absolute path of the handler.
	handler string
	// started is when this process began: a certificate that is older was not
	// obtained by this run.
	started time.Time
	seen    seer

	mu sync.Mutex
	// broken says that the handler could not be run at all in a Perform; Cleanup
	// does not try it again.
	broken bool
	// obtained are lines for the report.
	obtained []message
	told     map[string]bool
}

func newExternal(now time.Time) *external {
	return &external{started: now, seen: newSeer(), told: map[string]bool{}}
}

var _ interface {
	sdk.Authenticator
	sdk.Configurer
	sdk.Installer
	sdk.Hook
} = (*external)(nil)

// Configure names what does not fit together. Whether the handler is there is
// looked at when it is needed: what was put in place has to be cleaned up in any
// case.
func (e *external) Configure(_ context.Context, instance sdk.Instance) error {
	s := e.settings
	e.instance = instance
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, format, args...)
		p.Subject, p.Hint, p.Retry = setting, hint, sdk.RetryNever
		errs = append(errs, p)
	}
	switch {
	case e.byHandler() && s.Handler == "":
		wrong("handler", "give the path of the handler", "mode %s needs a handler, and the setting handler is not set", s.Mode)
	case !e.byHandler() && s.Handler != "":
		wrong("mode", "set mode to handler, or to dehydrated if the handler is a dehydrated hook; or leave the handler out",
			"a handler is set, but mode is %s, which runs none", s.Mode)
	}
	if s.Variant == "marcan" && s.Mode != handlerMode {
		wrong("variant", "set mode to handler, or leave variant out", "variant marcan has no mode %s, only handler", s.Mode)
	}
	if s.HandlerTimeout <= 0 {
		wrong("handler_timeout", "give a duration such as 5m", "setting handler_timeout must be more than 0, not %s", s.HandlerTimeout)
	}
	if s.Handler != "" {
		path, err := filepath.Abs(s.Handler)
		if err != nil {
			wrong("handler", "give the path from the root on", "find the handler %s: %w", s.Handler, err)
		}
		e.handler = path
	}
	return errors.Join(errs...)
}

func (e *external) byHandler() bool {
	return e.settings.Mode == handlerMode || e.settings.Mode == dehydratedMode
}

// speaks says whether objects are written to stdout.
func (e *external) speaks() bool { return e.settings.Mode != textMode && !e.marcan() }

func (e *external) marcan() bool { return e.settings.Variant == "marcan" }

// possible says, before there is an order, what could not be done.
func (e *external) possible() error {
	if e.byHandler() {
		_, err := script.Look("the handler", e.handler)
		return sdk.Subject(err, "handler")
	}
	if !e.instance.NonInteractive {
		return nil
	}
	err := sdk.Permanent(sdk.WithCode(fmt.Errorf("mode %s waits for lines on standard input: %w", e.settings.Mode, sdk.ErrNotInteractive), sdk.InvalidConfig))
	return sdk.Hint(sdk.Subject(err, "mode"), "leave out -n, which a program that answers does not need; or set external.mode to handler")
}

// Perform has every proof put in place. Nothing counts as in place before all
// of it is: the CA is asked after the last stage.
func (e *external) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	if err := e.possible(); err != nil && !e.byHandler() {
		return err
	}
	if err := e.stage(ctx, "pre-perform", r); err != nil {
		return err
	}
	for _, c := range challenges {
		if err := e.perform(ctx, c, r); err != nil {
			return fmt.Errorf("%s for %s: %w", c.Type, c.Identifier, err)
		}
	}
	if err := e.stage(ctx, "post-perform", r); err != nil {
		return err
	}
	for _, c := range challenges {
		r.Result(sdk.Result{Subject: c.ID})
	}
	return nil
}

func (e *external) perform(ctx context.Context, c sdk.Challenge, r sdk.Reporter) error {
	o := performObject(c)
	switch e.settings.Mode {
	case textMode:
		r.Say(sdk.Stdout, instruction(c)+"Press ENTER to continue")
		return e.wait(ctx, c, r)
	case jsonMode:
		e.say(o, r)
		return e.wait(ctx, c, r)
	}
	e.say(o, r)
	if err := e.call(ctx, "perform", o, r); err != nil {
		return err
	}
	if e.settings.SelfCheck && !e.seen.sees(ctx, c) {
		r.Say(sdk.Stderr, "Self-verify of challenge failed.\n")
	}
	return ctx.Err()
}

// wait waits for the line that says that a proof is in place.
func (e *external) wait(ctx context.Context, c sdk.Challenge, r sdk.Reporter) error {
	_, err := r.Ask(ctx, "")
	if errors.Is(err, io.EOF) {
		p := sdk.Problemf(sdk.Cancelled, "wait until the proof for %s is in place: standard input ended", c.Identifier)
		return sdk.Hint(p, "keep it open and write one line for each perform_challenge")
	}
	return err
}

// Cleanup has every proof taken away. One that fails does not stop the others.
func (e *external) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	e.mu.Lock()
	skip := e.broken
	e.mu.Unlock()
	var errs []error
	if !skip {
		errs = append(errs, e.stage(ctx, "pre-cleanup", r))
	}
	for _, c := range challenges {
		if err := ctx.Err(); err != nil {
			return err
		}
		o := cleanupObject(c)
		e.say(o, r)
		var err error
		if e.byHandler() && !skip {
			err = e.call(ctx, "cleanup", o, r)
		}
		r.Result(sdk.Result{Subject: c.ID, Err: sdk.Subject(err, c.ID)})
	}
	if !skip {
		errs = append(errs, e.stage(ctx, "post-cleanup", r))
	}
	return errors.Join(errs...)
}

// say writes one object for the calling program.
func (e *external) say(o object, r sdk.Reporter) {
	if e.speaks() {
		r.Say(sdk.Stdout, o.text()+"\n")
	}
}

func instruction(c sdk.Challenge) string {
	var b strings.Builder
	if c.DNS != nil {
		fmt.Fprintf(&b, "To prove control of %s, create a DNS TXT record with the name\n%s.\nand the value\n\n%s\n\n",
			c.Identifier, c.DNS.Name, c.DNS.Value)
	} else {
		fmt.Fprintf(&b, "To prove control of %s, make your web server answer\n%s\nwith\n\n%s\n\n"+
			"If there is no web server, run this on that machine, as root:\n\n%s\n\n",
			c.Identifier, uri(c), c.KeyAuthorization, command(c))
	}
	return b.String()
}
