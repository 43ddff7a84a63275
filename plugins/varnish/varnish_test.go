package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/sdk"
)

const plain = "vcl 4.1;\nbackend default { ORIGIN }\n"

// A VCL of several files: nested, by a pattern, with words in comments and
// strings that look like statements, a vcl_synth and a status of its own.
const several = `# include "no.vcl";
vcl 4.1;
import std;
/* include "no.vcl"; */
backend default { ORIGIN .probe = { .url = "/probe"; .interval = 1h; .initial = 0; .threshold = 1; .timeout = 30s; } }
include "DIR/a.vcl";
include +glob "DIR/more/*.vcl";
sub vcl_recv {
	set req.http.X-Order = req.http.X-Order + "main";
	if (req.url == "/teapot") { return (synth(418, "short")); }
	if (req.url == "/750") { return (synth(750, "mine")); }
	set req.http.X-Text = {"include "no.vcl";"};
}
sub vcl_deliver { set resp.http.X-Order = req.http.X-Order; }
`

var severalFiles = map[string]string{
	"a.vcl":        "vcl 4.0;\ninclude \"./sub/b.vcl\"; # behind it",
	"sub/b.vcl":    "sub vcl_recv { set req.http.X-Order = \"b,\"; } // ends in a comment",
	"more/one.vcl": "sub vcl_synth { if (resp.status == 418) { synthetic(\"stout\"); return (deliver); } }\n",
	"more/two.vcl": "sub vcl_recv { set req.http.X-Order = req.http.X-Order + \"two,\"; }\n",
}

// Challenges are answered, all else goes on as before, nobody notices a switch,
// and afterwards everything is as it was.
func TestWrapsTheActiveVCL(t *testing.T) {
	t.Parallel()
	c := start(t, several, severalFiles)
	v := c.plugin(t)
	asBefore := func(when string) {
		t.Helper()
		for path, want := range map[string]string{"/page": "hello from /page", "/teapot": "stout"} {
			if _, header, body, err := c.get(t.Context(), "a.test", path); err != nil || body != want ||
				path == "/page" && header.Get("X-Order") != "b,two,main" {
				t.Errorf("%s, %s: %q %v %v", when, path, body, header, err)
			}
		}
		if code, _, body, err := c.get(t.Context(), "a.test", "/750"); err != nil || code != 750 || !strings.Contains(body, "mine") {
			t.Errorf("%s: %d %q %v", when, code, body, err)
		}
	}
	asBefore("before")
	// What is on disk is not what is loaded.
	must(t, os.Remove(filepath.Join(c.dir, "sub/b.vcl")))
	write(t, filepath.Join(c.dir, "more/one.vcl"), "nonsense")
	h := c.hammer(t)
	one, two, other := challenge("a.test", "tok-one"), challenge("www.a.test", "tok_two"), challenge("a.test", "other")
	perform(t, v, "first", one, two)
	c.answers(t, one, true)
	c.answers(t, two, true)
	c.answers(t, other, false)
	c.answers(t, challenge("a.test", "tok-on"), false)
	asBefore("meanwhile")
	perform(t, v, "first", one, two) // the same again changes nothing
	if got := c.programs(t); len(got) != 2 {
		t.Errorf("there are %v", names(got))
	}
	cleanup(t, v, "first", one)
	c.answers(t, one, false)
	c.answers(t, two, true)
	cleanup(t, v, "first", one, two)
	c.answers(t, two, false)
	h.end(t)
	c.asItWas(t, "boot")
	asBefore("after")
	cleanup(t, v, "first", one, two)
	c.asItWas(t, "boot")
}

// Orders that overlap do not lose each other's challenges, in one process and
// with what another one has left.
func TestOrdersAtOnce(t *testing.T) {
	t.Parallel()
	c := start(t, plain, nil)
	left := challenge("left.test", "left")
	perform(t, c.plugin(t), "left", left) // a process that is gone
	v := c.plugin(t)
	h := c.hammer(t)
	var orders sync.WaitGroup
	shared := challenge("shared.test", "shared")
	for n := range 4 {
		orders.Go(func() {
			order := fmt.Sprint("order", n)
			own := challenge(order+".test", fmt.Sprint("own-", n))
			perform(t, v, order, own, shared)
			c.answers(t, own, true)
			c.answers(t, shared, true)
			cleanup(t, v, order, own, shared)
			c.answers(t, own, false)
		})
	}
	orders.Wait()
	h.end(t)
	c.answers(t, shared, false)
	c.answers(t, left, true)
	cleanup(t, c.plugin(t), "left", left)
	c.answers(t, left, false)
	c.asItWas(t, "boot")
}

// What the operator does meanwhile is kept.
func TestKeepsWhatTheOperatorDoes(t *testing.T) {
	t.Parallel()
	c := start(t, plain, nil)
	ch := challenge("a.test", "token")

	t.Run("uses another VCL", func(t *testing.T) {
		v := c.plugin(t)
		perform(t, v, "a", ch)
		c.say(t, "vcl.load", "second", c.config)
		c.say(t, "vcl.use", "second")
		c.answers(t, ch, false)
		second := challenge("b.test", "second")
		perform(t, v, "b", second) // the first one is still wanted
		c.answers(t, ch, true)
		cleanup(t, v, "b", second)
		cleanup(t, v, "a", ch)
		c.asItWas(t, "second")
	})
	t.Run("uses another VCL and goes", func(t *testing.T) {
		perform(t, c.plugin(t), "a", ch)
		c.say(t, "vcl.use", "boot")
		cleanup(t, c.plugin(t), "a", ch)
		c.asItWas(t, "boot")
	})
	t.Run("discards the original", func(t *testing.T) {
		c.say(t, "vcl.use", "second")
		perform(t, c.plugin(t), "a", ch)
		c.say(t, "vcl.discard", "second")
		more := challenge("a.test", "more")
		perform(t, c.plugin(t), "b", more)
		c.answers(t, ch, true)
		cleanup(t, c.plugin(t), "a", ch, more)
		c.asItWas(t, "second")
		if _, _, body, err := c.get(t.Context(), "a.test", "/x"); err != nil || body != "hello from /x" {
			t.Errorf("%q %v", body, err)
		}
	})
	t.Run("has a label in use", func(t *testing.T) {
		c.say(t, "vcl.label", "live", "boot")
		c.say(t, "vcl.use", "live")
		perform(t, c.plugin(t), "a", ch)
		c.answers(t, ch, true)
		cleanup(t, c.plugin(t), "a", ch)
		c.asItWas(t, "live")
	})
	t.Run("has a VCL that leads to labels", func(t *testing.T) {
		write(t, filepath.Join(c.dir, "top.vcl"), "vcl 4.1;\nbackend default none;\nsub vcl_recv { return (vcl(live)); }\n")
		c.say(t, "vcl.load", "top", filepath.Join(c.dir, "top.vcl"))
		c.say(t, "vcl.use", "top")
		perform(t, c.plugin(t), "a", ch)
		c.answers(t, ch, true)
		if _, _, body, err := c.get(t.Context(), "a.test", "/x"); err != nil || body != "hello from /x" {
			t.Errorf("%q %v", body, err)
		}
		cleanup(t, c.plugin(t), "a", ch)
		c.asItWas(t, "top")
	})
	t.Run("has set a backend's health", func(t *testing.T) {
		c.say(t, "vcl.use", "boot")
		c.say(t, "backend.set_health", "boot.default", "sick")
		perform(t, c.plugin(t), "a", ch)
		if code, _, _, err := c.get(t.Context(), "a.test", "/x"); err != nil || code != http.StatusServiceUnavailable {
			t.Errorf("%d %v", code, err)
		}
		c.say(t, "backend.set_health", "boot.default", "healthy")
		cleanup(t, c.plugin(t), "a", ch)
		c.asItWas(t, "boot")
	})
	t.Run("has a long request", func(t *testing.T) {
		perform(t, c.plugin(t), "a", ch)
		var long sync.WaitGroup
		long.Go(func() {
			if code, _, body, err := c.get(t.Context(), "a.test", "/hold"); err != nil || body != "hello from /hold" {
				t.Errorf("%d %q %v", code, body, err)
			}
		})
		<-c.held
		cleanup(t, c.plugin(t), "a", ch)
		c.asItWas(t, "boot")
		if !slices.ContainsFunc(c.programs(t), func(p program) bool { return own(p.Name) }) {
			t.Error("the VCL of the request is gone already, so this tests nothing")
		}
		perform(t, c.plugin(t), "a", ch)
		c.answers(t, ch, true)
		cleanup(t, c.plugin(t), "a", ch)
		c.asItWas(t, "boot")
		close(c.free)
		long.Wait()
	})
	t.Run("restarts varnishd", func(t *testing.T) {
		perform(t, c.plugin(t), "a", ch)
		c.stop(t)
		cleanup(t, plugin(t, settings{Workdir: c.workdir, Address: "*"}), "a", ch)
		c.run(t)
		cleanup(t, c.plugin(t), "a", ch)
		c.asItWas(t, "boot")
	})
}

// A VCL that is longer than an answer of varnishd may be.
func TestLongVCL(t *testing.T) {
	t.Parallel()
	c := start(t, plain+strings.Repeat("# "+strings.Repeat("x", 98)+"\n", 1000), nil)
	limit := c.say(t, "param.show", "cli_limit")
	ch := challenge("a.test", "token")
	perform(t, plugin(t, settings{Workdir: c.workdir, Address: "*"}), "a", ch)
	c.answers(t, ch, true)
	equal(t, limit, c.say(t, "param.show", "cli_limit"))
	cleanup(t, c.plugin(t), "a", ch)
	c.asItWas(t, "boot")
}

// Nothing but what RFC 8555 allows gets into a VCL.
func TestRefusesWhatIsNoToken(t *testing.T) {
	t.Parallel()
	v := plugin(t, settings{Address: "localhost:1"}) // nobody is asked
	for _, text := range []string{"", "a b", `a"b`, "a\nb", "a/../b", "ä", "a;b", "{a}"} {
		ch := challenge("a.test", "token")
		ch.Token, ch.HTTP.Path = text, challengePrefix+text
		wantError(t, outcome(t.Context(), "a", v.Perform, []sdk.Challenge{ch}), sdk.Unsupported, "is not base64url")
		ch = challenge("a.test", "token")
		ch.HTTP.Body = []byte("token." + text)
		wantError(t, outcome(t.Context(), "a", v.Perform, []sdk.Challenge{ch}), sdk.Internal, "no path and body")
		must(t, outcome(t.Context(), "a", v.Cleanup, []sdk.Challenge{ch}))
	}
}

// Whatever is wrong is said with what to do.
func TestTrouble(t *testing.T) {
	t.Parallel()
	c := start(t, plain, nil)
	ch := challenge("a.test", "token")
	wrong := filepath.Join(c.dir, "wrong")
	write(t, wrong, "not it")
	for name, x := range map[string]struct {
		settings settings
		code     sdk.Code
		parts    []string
	}{
		"wrong secret": {settings{Address: c.address(t), SecretFile: wrong}, sdk.Credentials, []string{wrong, "set secret_file"}},
		"no secret":    {settings{Address: c.address(t)}, sdk.Credentials, []string{"asks for its secret", "set secret_file"}},
		"no file":      {settings{Address: c.address(t), SecretFile: wrong + "er"}, sdk.Credentials, []string{wrong + "er", "no such file"}},
		"nobody":       {settings{Workdir: c.dir, Address: "*"}, sdk.NotRunning, []string{c.dir, "option -n"}},
		"no varnishd":  {settings{Address: talker(t)}, sdk.Unsupported, []string{"is no answer of varnishd"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := outcome(t.Context(), "a", plugin(t, x.settings).Perform, []sdk.Challenge{ch})
			wantError(t, err, x.code, x.parts...)
		})
	}
	t.Run("child is stopped", func(t *testing.T) {
		c.say(t, "stop")
		wantError(t, outcome(t.Context(), "a", c.plugin(t).Perform, []sdk.Challenge{ch}), sdk.NotRunning, "varnishadm start")
		must(t, outcome(t.Context(), "a", c.plugin(t).Cleanup, []sdk.Challenge{ch}))
		c.say(t, "start")
		c.asItWas(t, "boot")
	})
}

// talker is a server that is no varnishd.
func talker(t *testing.T) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 mail.test ESMTP of somebody\r\n"))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-served })
	return listener.Addr().String()
}

// The settings are checked before anything is done.
func TestSettings(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		settings settings
		wrong    string
	}{
		"default":      {settings{Address: "localhost:6082", SecretFile: "/etc/varnish/secret"}, ""},
		"any port":     {settings{Address: "*", Workdir: "/var/lib/varnish/a"}, ""},
		"any, nowhere": {settings{Address: "*"}, "address"},
		"no port":      {settings{Address: "localhost"}, "address"},
		"port 0":       {settings{Address: "localhost:0"}, "address"},
		"relative":     {settings{Address: "localhost:6082", Workdir: "varnish"}, "workdir"},
		"secret":       {settings{Address: "localhost:6082", SecretFile: "secret"}, "secret_file"},
		"listen":       {settings{Address: "localhost:6082", Listen: 65536}, "listen"},
	} {
		err := x.settings.check()
		if x.wrong == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantError(t, err, sdk.InvalidConfig, "setting "+x.wrong)
	}
}
