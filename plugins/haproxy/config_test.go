package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                                   nil,
		"   # comment":                       nil,
		"bind :80":                           {"bind", ":80"},
		"\tbind  :80 # comment":              {"bind", ":80"},
		`acl a path "/a b" '/c d'`:           {"acl", "a", "path", "/a b", "/c d"},
		`a "b"'c'd`:                          {"a", "bcd"},
		`a \# b\ c \\ \x41`:                  {"a", "#", "b c", `\`, "A"},
		`a "x\"y" '\n' "\n"`:                 {"a", `x"y`, `\n`, `\n`},
		`bind "${ADDR}:80" "$IP:81" '$x' $y`: {"bind", unknown + ":80", unknown + ":81", "$x", "$y"},
		`a ""`:                               {"a", ""},
		`a b#c d`:                            {"a", "b"},
		"bind :80\r\n":                       {"bind", ":80"},
		`a "unclosed b`:                      {"a", "unclosed b"},
		`a \`:                                {"a", `\`},
		`a "${unclosed`:                      {"a", unknown + "unclosed"},
	} {
		if diff := cmp.Diff(want, splitWords(line)); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", line, diff)
		}
	}
}

func TestHostNames(t *testing.T) {
	for line, want := range map[string][]string{
		"acl a hdr(host) -i A.test www.a.test":                              {"a.test", "www.a.test"},
		"acl a hdr(Host) a.test:8080 a.test.":                               {"a.test", "a.test"},
		"acl a req.hdr(host),lower -m str -- a.test":                        {"a.test"},
		"acl a hdr(host),field(1,:) -i a.test":                              {"a.test"},
		"acl a hdr(host) -m end .a.test":                                    nil,
		"acl a hdr_end(host) -i .a.test a.test":                             nil,
		"acl a hdr(host) -i -f /etc/haproxy/hosts a.test":                   {"a.test"},
		"acl a ssl_fc_sni -i a.test":                                        {"a.test"},
		"use_backend b if { req.ssl_sni -i a.test } { path /x.test }":       {"a.test"},
		"http-request deny if { hdr(host) a.test } || { hdr(host) b.test }": {"a.test", "b.test"},
		"acl a hdr(host) -i localhost 192.0.2.1 [2001:db8::1]:80 *.a.test":  {"*.a.test"},
		"acl a path_beg /a.test":                                            nil,
		"acl a hdr(host)":                                                   nil,
	} {
		if got := hostNames(splitWords(line)); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

const manyBinds = `
global
    crt-base /c
    stats socket /run/admin.sock level admin
defaults
    mode http
frontend web
    bind :80
    bind [::]:80
    bind 192.0.2.1:81,192.0.2.2:82 name x
    bind 127.0.0.1:83 accept-proxy
    bind unix@/run/web.sock
    bind /run/other.sock
    bind fd@3
    bind "${ADDRESS}:84"
    acl site hdr(host) -i b.test a.test
    acl more hdr(host) -i a.test
frontend tls
    bind *:443 ssl crt certs/
    bind :::443 v4v6 ssl crt /c/certs alpn h2
    bind ipv6@:444 ssl crt-list list.txt
    bind ipv4@0.0.0.0:445-450 ssl crt certs/a.pem
    bind quic4@:443 ssl crt certs/
    bind 127.0.0.1:446 ssl crt /elsewhere/
    bind 127.0.0.1:447 ssl crt certs accept-proxy
.if defined(X)
    bind 127.0.0.1:448 ssl crt certs
.endif
    use_backend c if { ssl_fc_sni c.test }
listen tcp
    mode tcp
    bind 127.0.0.1:85
frontend off
    bind 127.0.0.1:86
    acl site hdr(host) off.test
    disabled
backend app
    server a 127.0.0.1:9000 ssl crt client.pem
    http-request deny if { hdr(host) -i d.test }
`

func TestConfiguration(t *testing.T) {
	var r reader
	r.read("h.cfg", manyBinds)
	c := r.end()
	equal(t, []string{"127.0.0.1:80", "192.0.2.1:81", "192.0.2.2:82", "[::1]:80"}, c.plain())
	equal(t, []string{"127.0.0.1:443", "127.0.0.1:445", "[::1]:443", "[::1]:444"}, c.endpoints("/c/certs/a.pem", "/c/certs", "/c/list.txt"))
	equal(t, []string{"127.0.0.1:443", "[::1]:443"}, c.endpoints("/c/certs/b.pem", "/c/certs", ""))
	if got := c.endpoints("/d/b.pem", "/d", "/c/other.txt"); got != nil {
		t.Errorf("others' addresses: %q", got)
	}
	want := []site{
		{section: "frontend web", file: "h.cfg", names: []string{"a.test", "b.test"}},
		{section: "frontend tls", file: "h.cfg", names: []string{"c.test"}, tls: true},
		{section: "backend app", file: "h.cfg", names: []string{"d.test"}},
	}
	if diff := cmp.Diff(want, c.sites, cmp.AllowUnexported(site{})); diff != "" {
		t.Errorf("sites (-want +got)\n%s", diff)
	}
}

func TestConfigurationFiles(t *testing.T) {
	dir := t.TempDir()
	for name, port := range map[string]string{"b.cfg": "82", "a.cfg": "81", ".hidden.cfg": "83", "c.txt": "84"} {
		write(t, dir+"/"+name, "frontend "+name+"\n mode http\n bind 127.0.0.1:"+port+"\n")
	}
	c, err := readConfiguration(dir)
	must(t, err)
	equal(t, []string{"127.0.0.1:81", "127.0.0.1:82"}, c.plain())
	c, err = readConfiguration(dir + "/c.txt")
	must(t, err)
	equal(t, []string{"127.0.0.1:84"}, c.plain())
	for _, path := range []string{dir + "/none", t.TempDir()} {
		if _, err := readConfiguration(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add(manyBinds)
	f.Add("frontend \"a\nbind \\x4 '\nacl x hdr(host) -m")
	f.Fuzz(func(t *testing.T, text string) {
		var r reader
		r.read("h.cfg", text)
		c := r.end()
		for _, s := range c.sites {
			for _, name := range s.names {
				if !namePattern.MatchString(name) {
					t.Errorf("%q is no name", name)
				}
			}
		}
		for _, address := range append(c.plain(), c.endpoints("/c/a.pem", "/c", "/c/list")...) {
			if strings.Contains(address, unknown) || !strings.Contains(address, ":") {
				t.Errorf("%q is no address", address)
			}
		}
		for line := range strings.Lines(text) {
			for _, w := range splitWords(line) {
				if len(w) > len(line) {
					t.Errorf("%q has the word %q", line, w)
				}
			}
		}
	})
}
