package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

var pair = sdk.Paths{Fullchain: "/d/fullchain.pem", Privkey: "/d/privkey.pem"}

// inMemory reads a configuration that is nowhere.
func inMemory(t *testing.T, files map[string]string) *configuration {
	t.Helper()
	layer := map[string][]byte{}
	for path, text := range files {
		layer["/none/"+path] = []byte(text)
	}
	c, err := load(t.Context(), "/none/nginx.conf", layer)
	must(t, err)
	return c
}

// inHTTP puts servers into the least configuration there is.
func inHTTP(servers string) string { return "http {\n" + servers + "}\n" }

// deployInto gives what is in the http block after deployments for the names.
func deployInto(t *testing.T, servers string, wishes ...*wish) (string, error) {
	t.Helper()
	c := inMemory(t, map[string]string{"nginx.conf": inHTTP(servers)})
	for _, w := range wishes {
		if w.paths == (sdk.Paths{}) {
			w.paths = pair
		}
		if err := w.choose(t.Context(), c, &recorder{}); err != nil {
			return "", err
		}
		var err error
		if c, err = w.apply(t.Context(), c, ports{80, 443}); err != nil {
			return "", err
		}
	}
	return strings.TrimSuffix(strings.TrimPrefix(c.main.src, "http {\n"), "}\n"), nil
}

func TestEdits(t *testing.T) {
	const m = " " + managed
	const ssl = "ssl_certificate /d/fullchain.pem;" + m + "\n"
	const key = "ssl_certificate_key /d/privkey.pem;" + m + "\n"
	for name, test := range map[string]struct {
		before string
		wishes []*wish
		after  string
	}{
		"plain becomes TLS, in both families": {
			"\tserver {\n\t\tlisten 80;\n\t\tlisten [::]:80;\n\t\tlisten 8080;\n\t\tserver_name a.test; # mine\n\n\t\treturn 200;\n\t}\n",
			[]*wish{{name: "a.test"}},
			"\tserver {\n\t\tlisten 80;\n\t\tlisten [::]:80;\n\t\tlisten 8080;\n" +
				"\t\tlisten 443 ssl;" + m + "\n\t\tlisten [::]:443 ssl;" + m + "\n\t\tserver_name a.test; # mine\n" +
				"\t\t" + ssl + "\t\t" + key + "\n\t\treturn 200;\n\t}\n",
		},
		"no listen at all": {
			"    server {\n        server_name a.test;\n    }\n",
			[]*wish{{name: "a.test"}},
			"    server {\n" + fmt.Sprintf("        listen %d;", defaultPort()) + m + "\n        listen 443 ssl;" + m +
				"\n        server_name a.test;\n        " + ssl + "        " + key + "    }\n",
		},
		"dual stack socket": {
			"  server {\n    listen [::]:80 ipv6only=off;\n    server_name a.test;\n  }\n",
			[]*wish{{name: "a.test"}},
			"  server {\n    listen [::]:80 ipv6only=off;\n    listen [::]:443 ssl ipv6only=off;" + m + "\n    server_name a.test;\n" +
				"    " + ssl + "    " + key + "  }\n",
		},
		"options of an address are not repeated": {
			"  server {\n    listen [::]:443 ssl ipv6only=off;\n    server_name b.test;\n  }\n  server {\n    listen [::]:80 ipv6only=off;\n    server_name a.test;\n  }\n",
			[]*wish{{name: "a.test"}},
			"  server {\n    listen [::]:443 ssl ipv6only=off;\n    server_name b.test;\n  }\n  server {\n    listen [::]:80 ipv6only=off;\n    listen [::]:443 ssl;" + m +
				"\n    server_name a.test;\n    " + ssl + "    " + key + "  }\n",
		},
		"on one line, with Windows line ends elsewhere": {
			"# x\r\nserver { listen 80; server_name a.test; }\r\n# y\r\n",
			[]*wish{{name: "a.test"}},
			"# x\r\nserver { listen 80;\r\n    listen 443 ssl;" + m + "\r\n    server_name a.test;\r\n    " +
				strings.ReplaceAll(ssl, "\n", "\r\n") + "    " + strings.ReplaceAll(key, "\n", "\r\n") + "}\r\n# y\r\n",
		},
		"existing pair, http2 and quic stay": {
			"  server {\n    listen 443 ssl http2;\n    listen 443 quic reuseport;\n    http2 on;\n    server_name a.test;\n" +
				"    ssl_certificate     \"/old/a.pem\";\n    ssl_certificate_key  '/old/a.key'; # old\n  }\n",
			[]*wish{{name: "a.test"}},
			"  server {\n    listen 443 ssl http2;\n    listen 443 quic reuseport;\n    http2 on;\n    server_name a.test;\n" +
				"    ssl_certificate     /d/fullchain.pem;" + m + "\n    ssl_certificate_key  /d/privkey.pem;" + m + ": # old\n  }\n",
		},
		"a second pair is taken out": {
			"  server {\n    listen 443 ssl;\n    server_name a.test;\n    ssl_certificate /old/a.pem;\n    ssl_certificate_key /old/a.key;\n" +
				"    ssl_certificate /old/b.pem; ssl_certificate_key /old/b.key;\n  }\n",
			[]*wish{{name: "a.test"}},
			"  server {\n    listen 443 ssl;\n    server_name a.test;\n    " + ssl + "    " + key +
				"    # managed by Certwright, was: ssl_certificate /old/b.pem;\n    # managed by Certwright, was: ssl_certificate_key /old/b.key;\n  }\n",
		},
		"what is there already stays": {
			"  server {\n    listen 443 ssl;\n    server_name a.test;\n    ssl_certificate /d/fullchain.pem;\n    ssl_certificate_key /d/privkey.pem;\n  }\n",
			[]*wish{{name: "a.test"}},
			"  server {\n    listen 443 ssl;\n    server_name a.test;\n    ssl_certificate /d/fullchain.pem;\n    ssl_certificate_key /d/privkey.pem;\n  }\n",
		},
		"TLS by another block on the address": {
			"  server { listen 443 ssl; server_name b.test; ssl_certificate x; ssl_certificate_key y; }\n  server {\n    listen 443;\n    server_name a.test;\n  }\n",
			[]*wish{{name: "a.test"}},
			"  server { listen 443 ssl; server_name b.test; ssl_certificate x; ssl_certificate_key y; }\n  server {\n    listen 443;\n    server_name a.test;\n    " + ssl + "    " + key + "  }\n",
		},
		"copy of the default server, for two names": {
			"  server {\n    listen 80 default_server backlog=64;\n    listen [::]:80 default_server ipv6only=on;\n    server_name _;\n    server_name x.test;\n    # mine\n    return 444;\n  }\n",
			[]*wish{{name: "a.test"}, {name: "b.test"}},
			"  server {\n    listen 80 default_server backlog=64;\n    listen [::]:80 default_server ipv6only=on;\n    server_name _;\n    server_name x.test;\n    # mine\n    return 444;\n  }\n" +
				"  # managed by Certwright: copy of the default server for a.test\n  server {\n    listen 80;" + m + "\n    listen [::]:80;" + m +
				"\n    listen 443 ssl;" + m + "\n    listen [::]:443 ssl;" + m + "\n    server_name a.test b.test;" + m + "\n    " + ssl + "    " + key +
				"    # mine\n    return 444;\n  }" + m + "\n",
		},
		"wildcard: the block with the wildcard itself": {
			"  server {\n    listen 443 ssl;\n    server_name .a.test;\n    ssl_certificate x;\n    ssl_certificate_key y;\n  }\n" +
				"  server { listen 443 ssl; server_name b.a.test; ssl_certificate x; ssl_certificate_key y; }\n",
			[]*wish{{name: "*.a.test", names: []string{"*.a.test"}}},
			"  server {\n    listen 443 ssl;\n    server_name .a.test;\n    " + ssl + "    " + key + "  }\n" +
				"  server { listen 443 ssl; server_name b.a.test; ssl_certificate x; ssl_certificate_key y; }\n",
		},
		"wildcard: the blocks that are covered": {
			"  server {\n    listen 443 ssl;\n    server_name b.a.test;\n    ssl_certificate x;\n    ssl_certificate_key y;\n  }\n" +
				"  server { listen 443 ssl; server_name b.a.test other.test; ssl_certificate x; ssl_certificate_key y; }\n" +
				"  server { listen 443 ssl; server_name c.b.a.test; ssl_certificate x; ssl_certificate_key y; }\n",
			[]*wish{{name: "*.a.test", names: []string{"*.a.test"}}},
			"  server {\n    listen 443 ssl;\n    server_name b.a.test;\n    " + ssl + "    " + key + "  }\n" +
				"  server { listen 443 ssl; server_name b.a.test other.test; ssl_certificate x; ssl_certificate_key y; }\n" +
				"  server { listen 443 ssl; server_name c.b.a.test; ssl_certificate x; ssl_certificate_key y; }\n",
		},
		"redirect splits, twice is once": {
			"  server {\n    listen 80 default_server;\n    listen 443 ssl;\n    server_name a.test \"~^b\\d$\";\n    ssl_certificate x;\n    ssl_certificate_key y;\n  }\n",
			[]*wish{{name: "a.test", enhancement: "redirect"}, {name: "a.test", enhancement: "redirect"}},
			"  server {\n    # managed by Certwright, was: listen 80 default_server;\n    listen 443 ssl;\n    server_name a.test \"~^b\\d$\";\n    ssl_certificate x;\n    ssl_certificate_key y;\n  }\n" +
				"  server {" + m + "\n    listen 80 default_server;" + m + "\n    server_name a.test \"~^b\\\\d$\";" + m + "\n    if ($host = a.test) {" + m +
				"\n      return 301 https://$host$request_uri;" + m + "\n    }" + m + "\n    return 404;" + m + "\n  }" + m + "\n",
		},
		"redirect in a block of its own": {
			"  server { listen 443 ssl; server_name a.test *.b.test; ssl_certificate x; ssl_certificate_key y; }\n  server {\n    listen 80; # plain\n    server_name a.test *.b.test;\n    root /x;\n  }\n",
			[]*wish{{name: "a.test", enhancement: "redirect"}, {name: "*.b.test", enhancement: "redirect"}, {name: "*.b.test", enhancement: "redirect"}},
			"  server { listen 443 ssl; server_name a.test *.b.test; ssl_certificate x; ssl_certificate_key y; }\n  server {\n" +
				"    if ($host ~ ^[^.]+\\.b\\.test$) {" + m + "\n      return 301 https://$host$request_uri;" + m + "\n    }" + m +
				"\n    if ($host = a.test) {" + m + "\n      return 301 https://$host$request_uri;" + m + "\n    }" + m +
				"\n    listen 80; # plain\n    server_name a.test *.b.test;\n    root /x;\n  }\n",
		},
		"redirects already": {
			"  server { listen 443 ssl; server_name a.test; ssl_certificate x; ssl_certificate_key y; }\n  server { listen 80; server_name a.test; return 301 https://$host$request_uri; }\n",
			[]*wish{{name: "a.test", enhancement: "redirect"}},
			"  server { listen 443 ssl; server_name a.test; ssl_certificate x; ssl_certificate_key y; }\n  server { listen 80; server_name a.test; return 301 https://$host$request_uri; }\n",
		},
		"hsts repeats the headers from outside": {
			"  add_header X-A \"b c\" always;\n  server {\n    listen 443 ssl;\n    server_name a.test;\n    ssl_certificate x;\n    ssl_certificate_key y;\n  }\n",
			[]*wish{{name: "a.test", enhancement: "hsts"}, {name: "a.test", enhancement: "hsts"}},
			"  add_header X-A \"b c\" always;\n  server {\n    listen 443 ssl;\n    server_name a.test;\n    ssl_certificate x;\n    ssl_certificate_key y;\n" +
				"    add_header X-A \"b c\" always;" + m + "\n    add_header Strict-Transport-Security \"max-age=31536000\" always;" + m + "\n  }\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := deployInto(t, test.before, test.wishes...)
			must(t, err)
			equal(t, strings.Split(test.after, "\n"), strings.Split(got, "\n"))
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		servers string
		wish    *wish
		code    sdk.Code
		text    string
	}{
		"no default server":     {"server { listen 80; server_name a.test; }", &wish{name: "b.test"}, sdk.NotFound, "write server_name b.test;"},
		"two default servers":   {"server { listen 80 default_server; } server { listen [::]:80 default_server; }", &wish{name: "b.test"}, sdk.NotFound, "several blocks are marked default_server"},
		"plain on the TLS port": {"server { listen 80; server_name a.test; } server { listen 443; server_name b.test; }", &wish{name: "a.test"}, sdk.Conflict, "has it as plain HTTP"},
		"only a unix socket":    {"server { listen unix:/x; server_name a.test; }", &wish{name: "a.test"}, sdk.NotFound, "server_name a.test;"},
		"no block for wildcard": {"server { listen 80 default_server; server_name a.test; }", &wish{name: "*.b.test"}, sdk.NotFound, "server_name *.b.test;"},
		"wildcard with others":  {"server { listen 80; server_name c.b.test x.test; }", &wish{name: "*.b.test", names: []string{"*.b.test"}}, sdk.NotFound, "without -n"},
		"variable in the path":  {"server { listen 80; server_name a.test; }", &wish{name: "a.test", paths: sdk.Paths{Fullchain: "/$x", Privkey: "/y"}}, sdk.Unsupported, "variable"},
		"redirect without TLS":  {"server { listen 80; server_name a.test; }", &wish{name: "a.test", enhancement: "redirect"}, sdk.NotFound, "deploy a certificate for a.test first"},
		"unknown enhancement":   {"server { listen 80; server_name a.test; }", &wish{name: "a.test", enhancement: "staple"}, sdk.Unsupported, "staple"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := deployInto(t, test.servers, test.wish)
			wantError(t, err, test.code, test.text)
		})
	}
	if err := (&wish{name: "192.0.2.1", paths: pair}).check(); sdk.ProblemOf(err).Code != sdk.Unsupported {
		t.Errorf("an address: %v", err)
	}
}

// nginx's own order, and the address that a block is TLS on.
func TestChoice(t *testing.T) {
	c := inMemory(t, map[string]string{"nginx.conf": inHTTP(`
		server { listen 80 default_server; server_name first; }
		server { listen 80; server_name ~^www\d+\.a\.test$; }
		server { listen 80; server_name ~a\.test; }
		server { listen 80; server_name *.a.test; }
		server { listen 80; server_name *.b.a.test; }
		server { listen 80; server_name www.a.*; }
		server { listen 80; server_name www.*; }
		server { listen 80; server_name .dot.test; }
		server { listen 80; server_name www.A.test; }
		server { listen 80; server_name "~^(?!no)x\.test$"; }
		server { listen 81; server_name a; }
		server { listen 81; server_name b; }
		server { listen 192.0.2.1:443 ssl; server_name t; }
		server { listen 192.0.2.1:443; server_name u; listen 444; ssl on; }
		server { listen 444; server_name v; }
		server { listen unix:/x ssl; server_name w; listen 445 quic; }
		server { listen localhost:446; server_name l; }
	`)})
	for name, want := range map[string]string{
		"www.a.test": "www.a.test", "x.b.a.test": "*.b.a.test", "www1.a.test": "*.a.test", "www.a.other": "www.a.*", "www.x": "www.*",
		"dot.test": ".dot.test", "deep.er.dot.test": ".dot.test", "a.test": `~a\.test`, "WWW.A.test.": "www.a.test",
		"x.test": "first", "none": "first", "": "first",
	} {
		s, _ := c.choose(endpoint{"*", 80}, name)
		equal(t, want, s.names[0])
	}
	if s, how := c.choose(endpoint{"*", 81}, "zzz"); s.names[0] != "a" || how.class != noMatch {
		t.Errorf("the first is not the default: %v", s.names)
	}
	if s, _ := c.choose(endpoint{"*", 445}, "w"); s != nil {
		t.Error("QUIC is taken for TCP")
	}
	for e, want := range map[endpoint]bool{{"192.0.2.1", 443}: true, {"*", 444}: true, {"*", 80}: false, {"127.0.0.1", 446}: false} {
		if c.tls(e) != want || c.on(e) == nil {
			t.Errorf("%s: TLS %v, %d blocks", e, c.tls(e), len(c.on(e)))
		}
	}
}

func TestEndpoints(t *testing.T) {
	c := inMemory(t, map[string]string{"nginx.conf": inHTTP(`
		server { listen 443 ssl; listen [::]:443 ssl; listen 192.0.2.1:8443 ssl; server_name a.test; }
		server { listen 444 ssl proxy_protocol; listen [::]:445 ssl ipv6only=off; server_name a.test; }
		server { listen 446 ssl; server_name b.test; }
		server { listen 127.0.0.1:446 ssl; server_name c.test; }
	`)})
	w := &wish{name: "a.test", names: []string{"a.test"}}
	r := &recorder{}
	var got []string
	for _, e := range w.report(t.Context(), c, ports{80, 443}, r) {
		got = append(got, e.Address+" "+e.ServerName)
	}
	equal(t, []string{"127.0.0.1:443 a.test", "[::1]:443 a.test", "192.0.2.1:8443 a.test"}, got)
	got = nil
	endpoints, hidden := c.shown(t.Context(), "a.test", c.servers[1])
	for _, e := range endpoints {
		got = append(got, e.Address)
	}
	equal(t, []string{"[::1]:445", "127.0.0.1:445"}, got)
	equal(t, []string{"444 wants the PROXY protocol"}, hidden)
	if _, hidden := c.shown(t.Context(), "b.test", c.servers[2]); len(hidden) != 1 || !strings.Contains(hidden[0], "127.0.0.1:446 is listened on by other blocks") {
		t.Errorf("%q", hidden)
	}
}

// The user chooses blocks for a wildcard; once they show the certificate nobody
// is asked again.
func TestWildcardIsAskedFor(t *testing.T) {
	servers := "server { listen 443 ssl; server_name *.a.test; }\nserver { listen 443 ssl; server_name b.a.test x.test; }\nserver { listen 443 ssl; server_name y.test; }\n"
	c := inMemory(t, map[string]string{"nginx.conf": inHTTP(servers)})
	for answer, want := range map[string][]int{"2": {1}, "1, 2": {0, 1}, "": {0}} {
		w := &wish{name: "*.a.test", names: []string{"*.a.test"}, paths: pair}
		r := &recorder{answers: []string{"nine", "3", answer}}
		must(t, w.choose(t.Context(), c, r))
		equal(t, 3, len(r.asked))
		if !strings.Contains(r.asked[0], "2: b.a.test x.test (/none/nginx.conf line 3)") || !strings.Contains(r.asked[0], "[1]: ") {
			t.Errorf("%s", r.asked[0])
		}
		var got []int
		for i, s := range c.servers {
			if slices.Contains(w.sites, s.id()) {
				got = append(got, i)
			}
		}
		equal(t, want, got)
	}
	w := &wish{name: "*.a.test", names: []string{"*.a.test"}, paths: pair, sites: []string{c.servers[1].id()}}
	after, err := w.apply(t.Context(), c, ports{80, 443})
	must(t, err)
	again := &wish{name: "*.a.test", names: []string{"*.a.test"}, paths: pair}
	r := &recorder{answers: []string{"1"}}
	must(t, again.choose(t.Context(), after, r))
	equal(t, 0, len(r.asked))
	equal(t, w.sites, again.sites)
}

func TestChallengesInMemory(t *testing.T) {
	a := answer{host: "a.test", token: "T-_1", body: "T-_1.x"}
	for name, test := range map[string]struct{ servers, want string }{
		"nothing on the port": {
			"  server { listen [::]:443 ssl; server_name b.test; }\n",
			"listen 80; " + managed + "\n    listen [::]:80; " + managed + "\n    server_name a.test;",
		},
		"PROXY protocol": {"  server { listen 80 proxy_protocol; server_name b.test; }\n", "listen 80 proxy_protocol; " + managed},
		"only an expression that PCRE alone knows": {"  server { listen 80; server_name \"~^(?!x)a\"; }\n", "server_name a.test; " + managed},
		"redirect first": {"  server { listen 80; return 301 /; server_name a.test; }\n", "server {\n    rewrite ^(/\\.well-known/acme-challenge/T-_1)$ $1 break; " + managed},
	} {
		t.Run(name, func(t *testing.T) {
			c := inMemory(t, map[string]string{"nginx.conf": inHTTP(test.servers)})
			must(t, c.challenge([]answer{a}, ports{80, 443}))
			if got := c.main.root.print(); !strings.Contains(got, test.want) {
				t.Errorf("%s", got)
			}
		})
	}
	for _, c := range []sdk.Challenge{
		{Type: sdk.DNS01}, {Type: sdk.HTTP01, Token: "a;b", KeyAuthorization: "x"},
		{Type: sdk.HTTP01, Token: "a", KeyAuthorization: "x}"}, {Type: sdk.HTTP01},
		{Type: sdk.HTTP01, Token: "a", KeyAuthorization: "x", Identifier: sdk.Identifier{Value: "a;b"}},
	} {
		if a, err := answerOf(c); err == nil {
			t.Errorf("%+v becomes %+v", c, a)
		}
	}
}

// Included files: certificates that come from one, one that is shared, one that
// is not understood, one that includes itself.
// Patterns mean what they mean to glob(3).
func TestMatching(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".hidden")
	for _, name := range []string{"a.conf", "b.conf", ".c.conf", ".d/e.conf", "f/g.conf"} {
		put(t, filepath.Join(dir, name), "")
	}
	for pattern, want := range map[string][]string{
		"*":          {"a.conf", "b.conf", "f"},
		"/./*.conf":  {"a.conf", "b.conf"},
		".*.conf":    {".c.conf"},
		"[!a]*.conf": {"b.conf"},
		"*/*":        {"f/g.conf"},
		".d/*":       {".d/e.conf"},
		"[":          nil,
	} {
		var got []string
		for _, path := range matching(dir + "/" + pattern) {
			got = append(got, strings.TrimPrefix(path, dir+"/"))
		}
		equal(t, want, got)
	}
}

func TestIncludes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) { put(t, filepath.Join(dir, name), text) }
	write("nginx.conf", "http {\n include sites/*.conf; include none/*.conf; include "+dir+"/absolute.conf;\n}\n")
	write("sites/a.conf", "server {\n  listen 443 ssl;\n  server_name a.test;\n  include snakeoil.conf;\n}\n")
	write("sites/b.conf", "server {\n  listen 443 ssl;\n  server_name b.test;\n  include own.conf;\n}\n")
	write("sites/c.conf", "server { listen 443 ssl; server_name c.test; include shared.conf; }\nserver { listen 443 ssl; server_name d.test; include shared.conf; }\n")
	write("sites/d.conf", "server { listen 80; server_name \"e.test; }\n")
	write("sites/.old.conf", "server { listen 80; server_name hidden.test; }\n")
	write("absolute.conf", "server { listen 80; server_name f.test; }\ninclude absolute.conf;\n")
	write("snakeoil.conf", "# self-signed\nssl_certificate x;\nssl_certificate_key y;\n")
	write("own.conf", "ssl_certificate x;\nssl_certificate_key y;\nkeepalive_timeout 5;\n")
	write("shared.conf", "ssl_certificate x;\nssl_certificate_key y;\nkeepalive_timeout 5;\n")
	c, err := load(t.Context(), filepath.Join(dir, "nginx.conf"), nil)
	must(t, err)
	equal(t, 5, len(c.servers))
	if len(c.warnings) != 1 || !strings.Contains(c.warnings[0], "sites/d.conf is left out of account, because it is not understood: line 1") {
		t.Errorf("%q", c.warnings)
	}
	for _, name := range []string{"a.test", "b.test"} {
		c, err = (&wish{name: name, paths: pair}).apply(t.Context(), c, ports{80, 443})
		must(t, err)
	}
	text := func(name string) string {
		f, err := c.open(filepath.Join(dir, name))
		must(t, err)
		return f.src
	}
	if got := text("sites/a.conf"); !strings.Contains(got, "  "+managed+", was: include snakeoil.conf;\n") || !strings.Contains(got, "ssl_certificate /d/") {
		t.Errorf("%s", got)
	}
	equal(t, read(t, filepath.Join(dir, "snakeoil.conf")), text("snakeoil.conf"))
	equal(t, read(t, filepath.Join(dir, "sites/b.conf")), text("sites/b.conf"))
	if got := text("own.conf"); !strings.HasPrefix(got, "ssl_certificate /d/fullchain.pem; "+managed+"\nssl_certificate_key /d/") {
		t.Errorf("%s", got)
	}
	_, err = (&wish{name: "c.test", paths: pair}).apply(t.Context(), c, ports{80, 443})
	wantError(t, err, sdk.Conflict, "shared.conf", "move ssl_certificate")
}
