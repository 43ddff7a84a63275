package main

import (
	"path/filepath"
	"testing"
)

func TestParsesConfigurations(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		text      string
		file      string
		loads     bool
		endpoints []string
	}{
		"pem-file":         {`pem-file = "/x/a.pem"`, "/x/a.pem", true, []string{"127.0.0.1:8443"}},
		"another file":     {`pem-file = "/x/b.pem"`, "/x/a.pem", false, nil},
		"comment":          {"# pem-file = \"/x/a.pem\"\nbackend = \"[1.2.3.4]:80\"", "/x/a.pem", false, nil},
		"block":            {`pem-file = { ocsp-resp-file = "/x/o" cert = "/x/a.pem" private-key = "/x/k" }`, "/x/a.pem", true, []string{"127.0.0.1:8443"}},
		"pem-dir":          {`pem-dir = "/x/"`, "/x/a.pem", true, []string{"127.0.0.1:8443"}},
		"another dir":      {`pem-dir = "/x/y"`, "/x/a.pem", false, nil},
		"glob":             {"pem-dir-glob = \"*.pem\"\npem-dir = \"/x\"", "/x/a.pem", true, []string{"127.0.0.1:8443"}},
		"another glob":     {"pem-dir = \"/x\"\npem-dir-glob = \"*.crt\"", "/x/a.pem", false, nil},
		"frontend":         {`frontend="[*]:443" pem-file="/x/a.pem"`, "/x/a.pem", true, []string{"127.0.0.1:443"}},
		"IPv6":             {`frontend = "[::]:443" frontend = "[::1]:444" pem-file = "/x/a.pem"`, "/x/a.pem", true, []string{"[::1]:443", "[::1]:444"}},
		"two":              {`frontend={host="10.0.0.1" port="443"} frontend="[10.0.0.2]:444" pem-file="/x/a.pem"`, "/x/a.pem", true, []string{"10.0.0.1:443", "10.0.0.2:444"}},
		"its own":          {`frontend="[10.0.0.1]:443+/x/b.pem" frontend="[10.0.0.2]:443" pem-file="/x/a.pem"`, "/x/a.pem", true, []string{"10.0.0.2:443"}},
		"its own, ours":    {`frontend={port="443" pem-file="/x/a.pem" sni-nomatch-abort=on}`, "/x/a.pem", true, []string{"127.0.0.1:443"}},
		"its own, and all": {`frontend={port="443" match-global-certs=on pem-file={cert="/x/b.pem"}} pem-file="/x/a.pem"`, "/x/a.pem", true, []string{"127.0.0.1:443"}},
		"no port":          {`frontend={host="*"} pem-file="/x/a.pem"`, "/x/a.pem", true, nil},
		"cut off":          {`pem-file="/x/a.pem" frontend={port="443`, "/x/a.pem", true, nil},
		"nothing":          {"", "/x/a.pem", false, nil},
	} {
		c := parseConf(x.text)
		if c.loads(x.file) != x.loads {
			t.Errorf("%s: it loads the file: %t", name, !x.loads)
		}
		t.Run(name, func(t *testing.T) { equal(t, x.endpoints, c.endpoints(x.file)) })
	}
}

func TestFindsPrivateKeys(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		`pem-file = { private-key = "/x/k" cert = "/x/a.pem" } pem-file = { cert = "/x/b.pem" }`: {"/x/a.pem"},
		`frontend = { port = "1" pem-file = { cert = "/x/a.pem" private-key = "/x/k" } }`:        {"/x/a.pem"},
		`pem-file = { cert = "private-key" ocsp-resp-file = "/x/o" } # private-key = "/x/k"`:     nil,
	} {
		equal(t, want, parseConf(text).keyed)
	}
}

func FuzzConf(f *testing.F) {
	f.Add("frontend = { host = \"*\" port = \"443\" }\npem-file = \"/a\" # x")
	f.Add("pem-file={cert=\"/a\"}frontend=\"[a]:1+b\"{=}")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseConf(text)
		for _, e := range c.endpoints(filepath.Join(c.pemDir, "a.pem")) {
			if !isEndpoint(e) {
				t.Errorf("%q is no endpoint", e)
			}
		}
	})
}
