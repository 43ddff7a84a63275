package main

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// Between our look at what is in use and the moment that ours is used the
// compiler runs: what the operator has put to use by then is not overridden.
func TestGivesWayWhileItWorks(t *testing.T) {
	t.Parallel()
	c := start(t, plain, nil)
	ch := challenge("a.test", "token")
	c.say(t, "vcl.load", "second", c.config)
	v := c.plugin(t)
	turns := []string{"second"}
	v.step = func(what string) {
		if strings.HasPrefix(what, "cli: vcl.inline") && len(turns) > 0 {
			c.say(t, "vcl.use", turns[0])
			turns = turns[1:]
		}
	}
	perform(t, v, "a", ch)
	c.answers(t, ch, true)
	// The original is loaded again, and something else is used before that is done.
	c.say(t, "vcl.discard", "second")
	turns = []string{"boot"}
	cleanup(t, v, "a", ch)
	c.asItWas(t, "boot")
	// Somebody does nothing else.
	turns = []string{"second", "boot", "second", "boot"}
	wantError(t, outcome(t.Context(), "a", v.Perform, []sdk.Challenge{ch}), sdk.Conflict, "another VCL was put to use", "nobody changes it")
	c.asItWas(t, "second")
}

// The way that the README names to load a VCL meanwhile, and the one that it
// says does not work.
func TestReloadsMeanwhile(t *testing.T) {
	t.Parallel()
	c := start(t, plain, nil)
	ch := challenge("a.test", "token")
	reload := func(args ...string) error {
		out, err := exec.CommandContext(t.Context(), "/usr/share/varnish/varnishreload", append([]string{"-n", c.workdir}, args...)...).CombinedOutput()
		t.Logf("%q: %s", args, out)
		return err
	}
	perform(t, c.plugin(t), "a", ch)
	if reload() == nil {
		t.Error("varnishreload has found the file of the VCL: the README says otherwise")
	}
	must(t, reload(c.config))
	active := c.programs(t).active()
	cleanup(t, c.plugin(t), "a", ch)
	if !strings.HasPrefix(active, "reload_") {
		t.Errorf("the VCL %s is in use", active)
	}
	c.asItWas(t, active)
}

// The operator may name a VCL as we do.
func TestNamesLikeOurs(t *testing.T) {
	t.Parallel()
	c := start(t, plain, nil)
	ch := challenge("a.test", "token")
	c.say(t, "vcl.load", "certwright-idle", c.config)
	c.say(t, "vcl.load", "certwright-configurator", c.config)
	c.say(t, "vcl.use", "certwright-configurator")
	perform(t, c.plugin(t), "a", ch)
	c.answers(t, ch, true)
	cleanup(t, c.plugin(t), "a", ch)
	all := c.programs(t)
	equal(t, "certwright-configurator", all.active())
	if _, ok := all.find("certwright-idle"); !ok {
		t.Errorf("a VCL of the operator is gone: %v", names(all))
	}
}

// What the operator says of a backend while the copy is in use is about the
// copy, and is not forgotten with it.
func TestKeepsWhatIsSaidOfBackends(t *testing.T) {
	t.Parallel()
	c := start(t, plain, nil)
	one, two := challenge("a.test", "one"), challenge("a.test", "two")
	status := func(want int) {
		t.Helper()
		if code, _, _, err := c.get(t.Context(), "a.test", "/x"); err != nil || code != want {
			t.Errorf("%d %v, not %d", code, err, want)
		}
	}
	for _, x := range []struct {
		state string
		want  int
	}{{"sick", http.StatusServiceUnavailable}, {"auto", http.StatusOK}} {
		perform(t, c.plugin(t), "a", one)
		c.say(t, "backend.set_health", "default", x.state)
		status(x.want)
		perform(t, c.plugin(t), "a", two) // another copy
		status(x.want)
		cleanup(t, c.plugin(t), "a", one, two)
		c.asItWas(t, "boot")
		status(x.want)
	}
}

// A VCL that has gone cold since knows nothing of late about its backends: it is
// used when its probes have found out what those of the copy know.
func TestOriginalHasGoneCold(t *testing.T) {
	t.Parallel()
	c := start(t, `vcl 4.0;
backend default { ORIGIN .probe = { .url = "/state"; .interval = 500ms; .initial = 0; .threshold = 3; .window = 3; .timeout = 30s; } }
`, nil)
	ch := challenge("a.test", "token")
	becomes := func(vcl string, sick bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s becomes sick: %t", vcl, sick), func() error {
			all, err := c.line(t).backends(t.Context(), vcl)
			if err == nil && all["default"].sick() != sick {
				err = errors.New("it is not")
			}
			return err
		})
	}
	c.failing.Store(true)
	becomes("boot", true)
	perform(t, c.plugin(t), "a", ch)
	eventually(t, "boot goes cold", func() error {
		if p, _ := c.programs(t).find("boot"); p.Temperature != "cold" {
			return fmt.Errorf("it is %+v", p)
		}
		return nil
	})
	c.failing.Store(false)
	becomes(c.programs(t).active(), false)
	clients := c.hammer(t)
	cleanup(t, c.plugin(t), "a", ch)
	clients.end(t)
	c.asItWas(t, "boot")
	if p, _ := c.programs(t).find("boot"); p.State != auto {
		t.Errorf("the VCL is to go cold no more: %+v", p)
	}
}
