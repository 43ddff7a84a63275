package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// old is a socket that answers as a haproxy does that lacks a command.
func old(t *testing.T, dir string, knows ...string) string {
	t.Helper()
	path := filepath.Join(dir, "old.sock")
	listener, err := net.Listen("unix", path)
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			command, _ := bufio.NewReader(conn).ReadString('\n')
			answer := "Unknown command, but maybe one of the following ones is a better match:\n  help\n\n"
			for _, k := range knows {
				if strings.HasPrefix(command, k) {
					answer = "\n"
				}
			}
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return path
}

func TestOlderVersions(t *testing.T) {
	for name, knows := range map[string][]string{
		"no list of certificates": nil,
		"no new certificates":     {"show ssl cert", "show ssl crt-list"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, setup{})
			s := p.settings(setup{})
			s.Socket = old(t, p.dir, knows...)
			if knows != nil {
				s.CrtList = p.crtList()
			}
			d := issue(t, "a.test")
			before := tree(t, p.dir)
			h := plugin(t, s, t.TempDir())
			_, err := restart(t, h, d)
			if knows == nil {
				wantError(t, err, sdk.Unsupported, "does not know the command", "set reload")
			} else if err == nil {
				t.Error("it is accepted")
			}
			must(t, h.Rollback(during(t.Context(), "a.test", "rollback"), 1, &recorder{}))
			equal(t, before, tree(t, p.dir))
			mark := filepath.Join(t.TempDir(), "reloaded")
			s.Reload = "echo 1 > " + mark
			_, err = restart(t, plugin(t, s, t.TempDir()), d)
			must(t, err)
			equal(t, "1\n", read(t, mark))
		})
	}
}

func TestSocketByTCP(t *testing.T) {
	p := start(t, setup{edit: func(p *proxy, config string) string {
		return strings.Replace(config, "global\n", "global\n    stats socket ipv4@"+loopback(p.listen)+" level admin\n", 1)
	}})
	s := p.settings(setup{})
	s.Socket = loopback(p.listen)
	h := plugin(t, s, t.TempDir())
	d, one := issue(t, "a.test"), challenge("a.test", "one")
	deployed(t, h, d, "1")
	p.serves(t, "a.test", d)
	performed(t, h, "a.test", one)
	equal(t, one.KeyAuthorization, p.visible(t, one))
	cleaned(t, h, "a.test", one)
	p.stop(t)
	wantError(t, h.Restart(during(t.Context(), "a.test", "restart"), &recorder{}), sdk.NotRunning, s.Socket)
}

// A socket that takes the question and says nothing is left when the call ends.
func TestSilentSocket(t *testing.T) {
	path := filepath.Join(shortDir(t), "silent.sock")
	listener, err := net.Listen("unix", path)
	must(t, err)
	defer func() { _ = listener.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	r := &runtime{address: path, step: func(string) {}}
	ended := make(chan error, 1)
	go func() {
		_, err := r.ask(ctx, "show info", nil)
		ended <- err
	}()
	conn, err := listener.Accept()
	must(t, err)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended by %v", err)
	}
	_ = conn.Close()
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_ = conn.Close()
		}
	}()
	if _, err := r.ask(t.Context(), "show info", nil); !errors.Is(err, errSilent) {
		t.Errorf("nothing is taken as %v", err)
	}
}

func TestNotInstalled(t *testing.T) {
	p := start(t, setup{})
	s := p.settings(setup{})
	s.Binary = filepath.Join(p.dir, "haproxy")
	h := plugin(t, s, t.TempDir())
	before := tree(t, p.dir)
	err := h.Deploy(during(t.Context(), "a.test", "deploy"), issue(t, "a.test"), &recorder{})
	wantError(t, err, sdk.NotInstalled, s.Binary, "install haproxy")
	equal(t, before, tree(t, p.dir))
	s.Config = filepath.Join(p.dir, "nothing.cfg")
	_, err = plugin(t, s, t.TempDir()).Names(t.Context())
	wantError(t, err, sdk.NotFound, s.Config, "setting config")
	s.CrtDir = filepath.Join(p.dir, "nowhere")
	err = plugin(t, s, t.TempDir()).Deploy(during(t.Context(), "a.test", "deploy"), issue(t, "a.test"), &recorder{})
	wantError(t, err, sdk.NotFound, "crt_dir", s.CrtDir)
}
