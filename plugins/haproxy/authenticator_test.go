package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func challenge(name, token string) sdk.Challenge {
	proof := token + ".thumbprint"
	return sdk.Challenge{
		ID: name + "/" + token, Type: sdk.HTTP01, Identifier: sdk.Identifier{Type: "dns", Value: name},
		Token: token, KeyAuthorization: proof,
		HTTP: &sdk.HTTPChallenge{Path: challengePrefix + token, Body: []byte(proof)},
	}
}

// visible says how a CA would see a challenge, on both families.
func (p *proxy) visible(t *testing.T, c sdk.Challenge) string {
	t.Helper()
	out := p.answers(t, c)
	if out[0] != out[1] {
		t.Errorf("%s: IPv4 gives %q, IPv6 %q", c.ID, out[0], out[1])
	}
	return out[0]
}

// answers are those of IPv4 and of IPv6.
func (p *proxy) answers(t *testing.T, c sdk.Challenge) (out []string) {
	t.Helper()
	for _, address := range []string{loopback(p.web), loopback6(p.web)} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+c.HTTP.Path, nil)
		must(t, err)
		request.Host = c.Identifier.Value
		response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
		must(t, err)
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		must(t, err)
		if got := string(body); response.StatusCode != http.StatusOK {
			out = append(out, fmt.Sprint(response.StatusCode))
		} else {
			out = append(out, got)
		}
	}
	return out
}

func performed(t *testing.T, h *haproxy, lineage string, challenges ...sdk.Challenge) *recorder {
	t.Helper()
	r := &recorder{}
	must(t, h.Perform(during(t.Context(), lineage, "perform"), challenges, r))
	equal(t, len(challenges), len(r.results))
	for _, result := range r.results {
		must(t, result.Err)
	}
	return r
}

func cleaned(t *testing.T, h *haproxy, lineage string, challenges ...sdk.Challenge) {
	t.Helper()
	r := &recorder{}
	must(t, h.Cleanup(during(t.Context(), lineage, "cleanup"), challenges, r))
	for _, result := range r.results {
		must(t, result.Err)
	}
}

func TestChallengesInBothWays(t *testing.T) {
	for name, s := range map[string]setup{"map": {}, "map, master": {master: true}, "listener": {listener: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, s)
			h := plugin(t, p.settings(s), t.TempDir())
			gone := "302" // as everything else
			if s.listener {
				gone = "503"
			}
			one, two := challenge("a.test", "one"), challenge("b.test", "two")
			equal(t, gone, p.visible(t, one))
			r := performed(t, h, "a.test", one, two)
			equal(t, "", r.story())
			performed(t, h, "a.test", one, two) // again
			// The CA has given the same authorization to another order.
			performed(t, h, "other.test", one)
			equal(t, one.KeyAuthorization, p.visible(t, one))
			equal(t, two.KeyAuthorization, p.visible(t, two))
			if !s.listener {
				equal(t, 2, strings.Count(p.say(t, "show map "+p.acmeMap()), challengePrefix))
			}
			cleaned(t, h, "a.test", one)
			equal(t, one.KeyAuthorization, p.visible(t, one))
			cleaned(t, h, "other.test", one)
			if got := p.visible(t, one); got != "404" && got != gone {
				t.Errorf("it is still there: %s", got)
			}
			equal(t, two.KeyAuthorization, p.visible(t, two))
			cleaned(t, h, "a.test", one, two)
			cleaned(t, h, "a.test", one, two)
			equal(t, gone, p.visible(t, two))
			equal(t, "", read(t, p.acmeMap()))
		})
	}
}

func TestMapAfterACrash(t *testing.T) {
	p := start(t, setup{})
	one := challenge("a.test", "one")
	state := t.TempDir()
	h := plugin(t, p.settings(setup{}), state)
	performed(t, h, "a.test", one)
	// Somebody else's entries, with the key twice.
	p.say(t, "add map "+p.acmeMap()+" "+one.HTTP.Path+" old")
	p.say(t, "add map "+p.acmeMap()+" /other old")
	next := plugin(t, p.settings(setup{}), state)
	cleaned(t, next, "a.test", one)
	lines, _ := parseListed(p.say(t, "show map "+p.acmeMap()))
	if len(lines) != 1 || !strings.HasSuffix(lines[0], " /other old") {
		t.Errorf("the map holds %q", lines)
	}
	// What is left from another order gives way.
	p.say(t, "add map "+p.acmeMap()+" "+one.HTTP.Path+" old.value")
	performed(t, next, "a.test", one)
	equal(t, one.KeyAuthorization, p.visible(t, one))
	p.stop(t)
	cleaned(t, next, "a.test", one)
}

func TestPerformSaysWhatIsWrong(t *testing.T) {
	t.Run("no such map", func(t *testing.T) {
		t.Parallel()
		p := start(t, setup{})
		s := p.settings(setup{})
		s.Map = "/elsewhere.map"
		r := &recorder{}
		must(t, plugin(t, s, t.TempDir()).Perform(t.Context(), []sdk.Challenge{challenge("a.test", "one")}, r))
		wantError(t, r.results[0].Err, sdk.NotFound, "http-01 for a.test", "/elsewhere.map", "no such map", "haproxy.cfg")
		cleaned(t, plugin(t, s, t.TempDir()), "a.test", challenge("a.test", "one"))
	})
	t.Run("the line comes too late", func(t *testing.T) {
		t.Parallel()
		p := start(t, setup{edit: func(_ *proxy, config string) string {
			lines := strings.SplitAfter(config, "\n")
			for i, line := range lines {
				if strings.Contains(line, "http-request return") {
					lines[i], lines[i+1] = lines[i+1], line
					break
				}
			}
			return strings.Join(lines, "")
		}})
		r := performed(t, plugin(t, p.settings(setup{}), t.TempDir()), "a.test", challenge("a.test", "one"))
		if !strings.Contains(r.story(), "a.test") || !strings.Contains(r.story(), "302") {
			t.Errorf("the story is %q", r.story())
		}
	})
	t.Run("tokens that are none", func(t *testing.T) {
		t.Parallel()
		p := start(t, setup{})
		h := plugin(t, p.settings(setup{}), t.TempDir())
		for _, token := range []string{"", "a b", "a;del map x", "a\nb", "../x", "ü"} {
			c := challenge("a.test", token)
			r := &recorder{}
			must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
			wantError(t, r.results[0].Err, sdk.Unsupported, "base64url")
			cleaned(t, h, "a.test", c)
		}
		c := challenge("a.test", "one")
		c.HTTP.Body = []byte("one.x y")
		r := &recorder{}
		must(t, h.Perform(t.Context(), []sdk.Challenge{c}, r))
		wantError(t, r.results[0].Err, sdk.Internal)
		equal(t, "", p.say(t, "show map "+p.acmeMap()))
	})
	t.Run("port in use", func(t *testing.T) {
		t.Parallel()
		p := start(t, setup{listener: true})
		busy, err := net.Listen("tcp", loopback(p.listen))
		must(t, err)
		defer func() { _ = busy.Close() }()
		r := &recorder{}
		h := plugin(t, p.settings(setup{listener: true}), t.TempDir())
		must(t, h.Perform(t.Context(), []sdk.Challenge{challenge("a.test", "one")}, r))
		wantError(t, r.results[0].Err, sdk.Conflict, "setting listen", fmt.Sprint(p.listen))
	})
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		p := start(t, setup{stopped: true})
		err := plugin(t, p.settings(setup{}), t.TempDir()).Perform(t.Context(), []sdk.Challenge{challenge("a.test", "one")}, &recorder{})
		wantError(t, err, sdk.NotRunning, p.socket, program+" -D -f "+p.config)
	})
	t.Run("no settings for it", func(t *testing.T) {
		t.Parallel()
		p := start(t, setup{stopped: true})
		s := p.settings(setup{})
		s.Map = ""
		h := plugin(t, s, t.TempDir())
		wantError(t, h.Perform(t.Context(), []sdk.Challenge{challenge("a.test", "one")}, &recorder{}), sdk.InvalidConfig, "map", "listen")
		got, err := h.Prefer(t.Context(), []sdk.Identifier{{Type: "dns", Value: "a.test"}})
		must(t, err)
		wantError(t, got[0].Err, sdk.InvalidConfig, "map")
	})
}

func TestPrefer(t *testing.T) {
	p := start(t, setup{stopped: true})
	ids := []sdk.Identifier{{Type: "dns", Value: "a.test"}, {Type: "dns", Value: "a.test", Wildcard: true}, {Type: "ip", Value: "192.0.2.1"}}
	got, err := plugin(t, p.settings(setup{}), t.TempDir()).Prefer(t.Context(), ids)
	must(t, err)
	equal(t, 3, len(got))
	for i, p := range got {
		equal(t, ids[i], p.Identifier)
	}
	must(t, got[0].Err)
	must(t, got[2].Err)
	wantError(t, got[1].Err, sdk.Unsupported, "*.a.test", "DNS")
}

// A haproxy that cannot start for want of a certificate gets one, once.
func TestFallback(t *testing.T) {
	for name, s := range map[string]setup{
		"directory": {without: true, stopped: true}, "crt-list": {without: true, stopped: true, crtList: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, s)
			state := t.TempDir()
			h := plugin(t, p.settings(s), state)
			one := challenge("a.test", "one")
			r := &recorder{}
			wantError(t, h.Perform(t.Context(), []sdk.Challenge{one}, r), sdk.NotRunning, program)
			if !strings.Contains(r.story(), fallbackLabel) {
				t.Errorf("the story is %q", r.story())
			}
			before := tree(t, p.dir)
			wantError(t, h.Perform(t.Context(), []sdk.Challenge{one}, r), sdk.NotRunning)
			equal(t, before, tree(t, p.dir))
			// As the hint says.
			p.run(t)
			performed(t, h, "a.test", one)
			deployed(t, h, issue(t, "a.test"), "1")
			p.inOrder(t, p.settings(s))
			cleaned(t, h, "a.test", one)
		})
	}
	for name, c := range map[string]struct {
		without bool
		edit    func(p *proxy, config string) string
	}{
		"not needed": {true, func(_ *proxy, config string) string {
			return strings.ReplaceAll(config, "ssl crt", "ssl strict-sni crt")
		}},
		"of no use": {true, func(p *proxy, config string) string {
			return strings.ReplaceAll(config, "/certs", "/other")
		}},
		"not empty": {false, func(p *proxy, config string) string {
			return strings.Replace(config, "ssl crt "+p.certs(), "ssl crt "+p.dir+"/other", 1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, setup{without: c.without, stopped: true, edit: c.edit})
			must(t, os.Mkdir(filepath.Join(p.dir, "other"), 0o700))
			before := tree(t, p.dir)
			err := plugin(t, p.settings(setup{}), t.TempDir()).Perform(t.Context(), []sdk.Challenge{challenge("a.test", "one")}, &recorder{})
			wantError(t, err, sdk.NotRunning)
			equal(t, before, tree(t, p.dir))
		})
	}
}

// What was never put into the map needs no haproxy to be taken away.
func TestCleanupOfNothing(t *testing.T) {
	ended, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	// It takes connections and ends them without an answer.
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ended.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ended.Close(); <-done })
	h := plugin(t, settings{Socket: ended.Addr().String(), Map: "/acme.map"}, t.TempDir())
	one := challenge("a.test", "one")
	if err := h.Perform(during(t.Context(), "a.test", "perform"), []sdk.Challenge{one}, &recorder{}); err == nil {
		t.Error("a challenge was performed by nobody")
	}
	cleaned(t, h, "a.test", one)
}
