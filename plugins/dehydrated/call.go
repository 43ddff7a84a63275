package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

// probe is a name that no hook knows: one that does not ignore it would fail on
// whatever a later version calls.
const probe = "this_hookscript_is_broken__dehydrated_is_working_fine__please_ignore_unknown_hooks_in_your_script"

// call runs the hook, if there is one.
func (d *dehydrated) call(ctx context.Context, r sdk.Reporter, name string, args ...string) error {
	_, err := d.run(ctx, r, true, name, args...)
	return err
}

// run gives what the hook prints on stdout; show says that it is for the user.
func (d *dehydrated) run(ctx context.Context, r sdk.Reporter, show bool, name string, args ...string) (string, error) {
	if d.hook == "" {
		return "", nil
	}
	if err := d.runnable(); err != nil {
		return "", fmt.Errorf("call %s of the hook: %w", name, err)
	}
	shown, story := &lines{say: r.Progress}, &lines{say: r.Progress}
	defer shown.close()
	defer story.close()
	var out io.Writer
	if show {
		out = shown
	}
	hint := "make the hook handle this call, or let it end with exit code 0"
	if name == probe {
		hint = "let the hook do nothing and end with exit code 0 when it is called with a name that it does not know"
	}
	result, err := script.Run(ctx, script.Command{
		Name: "the call " + name + " of the hook " + d.hook, Path: d.hook, Args: append([]string{name}, args...), Interpreter: "bash",
		Env:   script.Environ(d.environment(), "CHALLENGETYPE", "KEY_ALGO", "PRIVATE_KEY_ROLLOVER", "alias", "altnames"),
		Limit: d.settings.HookTimeout, LimitSetting: "hook_timeout", Stdout: out, Stderr: story, Hint: hint,
	})
	result.Warn(r)
	return result.Stdout, sdk.Subject(err, "hook")
}

// environment is what dehydrated exports.
func (d *dehydrated) environment() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	env := map[string]string{
		"WELLKNOWN": d.config.wellknown, "BASEDIR": d.config.baseDir, "CERTDIR": d.config.certDir,
		"ALPNCERTDIR": d.config.alpnCertDir, "CONFIG": d.config.path, "COMMAND": "sign_domains",
	}
	for name, value := range d.exported {
		env[name] = value
	}
	return env
}

// export sets variables for this call and all that follow.
func (d *dehydrated) export(pairs ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 0; i+1 < len(pairs); i += 2 {
		d.exported[pairs[i]] = pairs[i+1]
	}
}

// lines tells the user what a hook prints, line by line while it runs.
type lines struct {
	say func(subject, message string)

	mu   sync.Mutex
	rest []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		line, after, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok && len(l.rest) < 4<<10 {
			return len(b), nil
		}
		if !ok {
			line, after = l.rest, nil
		}
		l.tell(line)
		l.rest = bytes.Clone(after)
	}
}

func (l *lines) tell(line []byte) {
	if text := strings.TrimRight(strings.ToValidUTF8(string(line), "?"), " \r"); text != "" {
		l.say("hook", text)
	}
}

func (l *lines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell(l.rest)
	l.rest = nil
}
