package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

// leftovers are variables of TLS-SNI that handlers still print; they are not set.
var leftovers = []string{"z_domain", "cert_path", "key_path", "port"}

// stage is a call before or after all challenges. Dehydrated hooks have none.
func (e *external) stage(ctx context.Context, name string, r sdk.Reporter) error {
	if e.settings.Mode != handlerMode {
		return nil
	}
	return e.call(ctx, name, nil, r)
}

// call runs the handler for one stage.
func (e *external) call(ctx context.Context, stage string, o object, r sdk.Reporter) error {
	name, args := stage, []string(nil)
	if e.settings.Mode == dehydratedMode {
		name, args = dehydrated(stage, o)
	}
	env, unset := map[string]string{}, []string(nil)
	if o != nil {
		env, unset = o.environment(), leftovers
	}
	if e.marcan() && stage == "cleanup" {
		// Those handlers were told no more.
		unset = slices.Concat(leftovers, slices.Collect(maps.Keys(env)))
		env = map[string]string{"domain": o.get("domain")}
	}
	if _, err := script.Look("the handler", e.handler); err != nil {
		return e.unusable(stage, err)
	}
	result, err := script.Run(ctx, script.Command{
		Name: fmt.Sprintf("the handler %s, called for the stage %s,", e.settings.Handler, name),
		Path: e.handler, Args: append([]string{name}, args...), Env: script.Environ(env, unset...),
		Limit: e.settings.HandlerTimeout, LimitSetting: "handler_timeout",
		Hint: "run it by hand with the same argument and mend what it says; one that does not know a stage prints NotImplemented and nothing else",
	})
	result.Warn(r)
	switch {
	case err == nil:
		tell(name, result, r)
		return nil
	case result.Exited && strings.TrimSpace(result.Stdout) == "NotImplemented":
		if e.marcan() && stage == "perform" {
			p := sdk.Problemf(sdk.Unsupported, "the handler %s does not implement the stage %s", e.settings.Handler, name)
			return sdk.Hint(sdk.Permanent(p), "make it put the proof in place, or choose variant out, where this is only a warning")
		}
		r.Say(sdk.Stderr, fmt.Sprintf("warning: the handler does not implement %s\n%s", name, result.Stderr))
		return nil
	case !result.Started && ctx.Err() == nil:
		return e.unusable(stage, err)
	}
	return fmt.Errorf("the stage %s failed: %w", name, err)
}

// unusable notes a handler that cannot be run. If that was found out in Perform
// there is nothing that Cleanup could have it take away.
func (e *external) unusable(stage string, err error) error {
	if stage == "pre-perform" || stage == "perform" {
		e.mu.Lock()
		e.broken = true
		e.mu.Unlock()
	}
	return sdk.Subject(sdk.Permanent(fmt.Errorf("the stage %s failed: %w", stage, err)), "handler")
}

// tell shows what a handler has printed.
func tell(stage string, result script.Result, r sdk.Reporter) {
	var b strings.Builder
	fmt.Fprintf(&b, "Handler output (%s):\n\n", stage)
	for _, text := range []string{result.Stdout, result.Stderr} {
		if text = strings.ToValidUTF8(text, "?"); text != "" {
			b.WriteString(strings.TrimSuffix(text, "\n") + "\n")
		}
	}
	r.Say(sdk.Stderr, b.String()+"\n")
}

// dehydrated gives the name and the arguments that a dehydrated hook knows.
func dehydrated(stage string, o object) (string, []string) {
	pick := func(keys ...string) (out []string) {
		for _, key := range keys {
			out = append(out, o.get(key))
		}
		return out
	}
	switch stage {
	case "perform":
		return "deploy_challenge", pick("domain", "token", "validation")
	case "cleanup":
		return "clean_challenge", pick("domain", "token", "validation")
	case "deploy_cert":
		return stage, pick("domain", "key_path", "cert_path", "fullchain_path", "chain_path", "timestamp")
	}
	return stage, pick("domain", "key_path", "cert_path", "fullchain_path", "chain_path")
}
