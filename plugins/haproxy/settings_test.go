package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func TestSettings(t *testing.T) {
	good := settings{Binary: program, Config: "/h.cfg", Socket: "/s", CrtDir: "/c", CrtList: "/l", Map: "/m"}
	must(t, good.check())
	for name, c := range map[string]struct {
		change  func(*settings)
		subject string
	}{
		"relative config":     {func(s *settings) { s.Config = "h.cfg" }, "config"},
		"relative binary":     {func(s *settings) { s.Binary = "haproxy" }, "binary"},
		"relative directory":  {func(s *settings) { s.CrtDir = "c" }, "crt_dir"},
		"space in directory":  {func(s *settings) { s.CrtDir = "/c d" }, "crt_dir"},
		"command in the map":  {func(s *settings) { s.Map = "/m;shutdown" }, "map"},
		"line end in a list":  {func(s *settings) { s.CrtList = "/l\nx" }, "crt_list"},
		"socket without port": {func(s *settings) { s.Socket = "localhost" }, "socket"},
		"socket with no port": {func(s *settings) { s.Socket = "localhost:x" }, "socket"},
		"map without socket":  {func(s *settings) { s.Socket, s.Reload = "", "true" }, "socket"},
		"nothing to reload":   {func(s *settings) { s.Socket, s.Map = "", "" }, "socket"},
		"list alone":          {func(s *settings) { s.CrtDir = "" }, "crt_dir"},
		"both ways":           {func(s *settings) { s.Listen = 8402 }, "listen"},
		"no port":             {func(s *settings) { s.Listen, s.Map = 65536, "" }, "listen"},
		"nothing":             {func(s *settings) { *s = settings{Binary: program, Config: "/h.cfg"} }, "crt_dir"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			c.change(&s)
			err := s.check()
			wantError(t, err, sdk.InvalidConfig, "setting "+c.subject)
			if many := err.(interface{ Unwrap() []error }).Unwrap(); len(many) != 1 {
				t.Errorf("%d problems: %v", len(many), err)
			} else if p := sdk.ProblemOf(many[0]); p.Subject != c.subject || p.Hint == "" || p.Retry != sdk.RetryNever {
				t.Errorf("the problem is %+v", p)
			}
		})
	}
	for _, fine := range []settings{
		{Binary: program, Config: "/h.cfg", Listen: 8402},
		{Binary: program, Config: "/h.cfg", CrtDir: "/c", Reload: "true"},
		{Binary: program, Config: "/h.cfg", Map: "acme", Socket: "127.0.0.1:9999"},
		{Binary: program, Config: "/h.cfg", Map: "virt@acme", Socket: "[::1]:9999"},
	} {
		if err := fine.check(); err != nil {
			t.Error(err)
		}
	}
}

// What stands in the README's table is what the plugin has.
func TestReadmeNamesEverySetting(t *testing.T) {
	d, err := declaration(newHAProxy()).Description()
	must(t, err)
	readme := read(t, "README.md")
	for _, s := range d.Settings {
		if !strings.Contains(readme, "| `"+s.Name+"` |") {
			t.Errorf("the README's table lacks %s", s.Name)
		}
	}
	if len(d.Settings) != 8 || d.Permissions.Unconfined || !slices.Equal(d.Permissions.UnconfinedBy, []string{"reload"}) || d.Permissions.Key != sdk.KeyBytes {
		t.Errorf("%d settings, permissions %+v", len(d.Settings), d.Permissions)
	}
}

// What the README says on passing tls-alpn-01 on is accepted by haproxy.
func TestReadmePassthrough(t *testing.T) {
	p := start(t, setup{stopped: true})
	write(t, p.config, "defaults\n    timeout connect 5s\n    timeout client 5s\n    timeout server 5s\n"+readmeBlocks(t)["frontend passthrough"]+
		"backend standalone\n    mode tcp\nbackend tls\n    mode tcp\n")
	must(t, plugin(t, p.settings(setup{}), t.TempDir()).ConfigTest(t.Context(), &recorder{}))
}
