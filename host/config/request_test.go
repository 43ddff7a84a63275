package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
)

// ordered reads "-a x -d y -w z" as the command line gives it.
func ordered(t *testing.T, line string) []Arg {
	t.Helper()
	var out []Arg
	fields := strings.Fields(line)
	for i := 0; i < len(fields); i += 2 {
		at := slices.Index([]string{"-a", "-d", "-w"}, fields[i])
		if at < 0 || i+1 >= len(fields) {
			t.Fatalf("%q is no line of -a, -d and -w", line)
		}
		out = append(out, Arg{Kind: []ArgKind{ArgAuthenticator, ArgDomain, ArgWebroot}[at], Value: fields[i+1]})
	}
	return out
}

func TestAuthenticatorGrammar(t *testing.T) {
	cfg := &Config{Server: "https://ca.example/dir", KeyType: model.P256}
	for _, tt := range []struct {
		line string
		// want is "name=instance,instance" for each name, or the error.
		want string
		err  string
	}{
		{line: "-a web -d a.example -d b.example", want: "a.example=web b.example=web"},
		{line: "-d a.example -d b.example -a web", want: "a.example=web b.example=web"},
		{line: "-d a.example -a web,dns-a -d b.example", want: "a.example=web,dns-a b.example=web,dns-a"},
		{line: "-d a.example,b.example -a web", want: "a.example=web b.example=web"},
		{line: "-d a.example", want: "a.example="},
		{line: "-a web -d a.example -a dns-a,dns-b -d *.b.example", want: "a.example=web *.b.example=dns-a,dns-b"},
		{line: "-a web -d A.example. -a dns-a -d *.a.example,Bücher.example", want: "a.example=web *.a.example=dns-a xn--bcher-kva.example=dns-a"},
		{line: "-a web -d a.example -d b.example -a dns-a -d c.example", want: "a.example=web b.example=web c.example=dns-a"},
		{line: "-a web -a dns-a -d a.example", want: "a.example=dns-a"},
		{line: "-a web -d a.example -a dns-a -d a.example", want: "a.example=web"},
		{line: "-a web -d 192.0.2.1 -a dns-a -d [2001:db8::1]", want: "192.0.2.1=web 2001:db8::1=dns-a"},
		{line: "-d a.example -a web -d b.example -a dns-a -d c.example", err: "command line: -d a.example stands before the first of several -a"},
		{line: "-a Web -d a.example", err: "command line: -a Web: an instance wants a name"},
		{line: "-a web,dns -d a.example", err: `command line: -a web,dns: the instance name "dns" is reserved`},
		{line: "-a web -d a..example", err: `command line: "a..example" is not a domain name`},
		{line: "-a web -d a.example -a x -d b..example", err: `command line: -d b..example: "b..example" is not a domain name`},
	} {
		r, err := cfg.Request(Args{Ordered: ordered(t, tt.line)})
		if tt.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %s", tt.line, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		var got []string
		for _, id := range r.Identifiers {
			got = append(got, id.String()+"="+strings.Join(slices.Concat(r.Ways(id)...), ","))
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: %s, want %s", tt.line, text, tt.want)
		}
	}
}

func TestRequest(t *testing.T) {
	cfg := &Config{
		Server: "https://ca.example/dir", KeyType: model.P256, CABundle: "/ca.pem",
		Accounts: []Account{{Name: "here"}, {Name: "there", Server: "https://there.example/dir"}},
	}
	r, err := cfg.Request(Args{
		Ordered: ordered(t, "-d *.A.example -d a.example -a web"), Installers: []string{"files"}, Hooks: []string{"notify"},
		KeyType: model.P384, Preferred: []string{"dns", "HTTP-01"}, Account: "there",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := model.Request{
		Name: "a.example", KeyType: model.P384, Server: "https://there.example/dir", Account: "there", CABundle: "/ca.pem",
		Identifiers:  []model.Identifier{{Type: "dns", Value: "a.example", Wildcard: true}, {Type: "dns", Value: "a.example"}},
		Authenticate: []model.Rule{{With: []string{"web"}}}, Deploy: []string{"files"}, Hooks: []string{"notify"},
		Preferred: []string{"dns-01", "http-01"},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, tt := range map[string]struct {
		args    Args
		want    string // name, server, account and key type
		refused string
	}{
		"default account":  {args: Args{Ordered: ordered(t, "-d a.example")}, want: "a.example https://ca.example/dir ca.example-dir p256"},
		"account anywhere": {args: Args{Ordered: ordered(t, "-d a.example"), Account: "here"}, want: "a.example https://ca.example/dir here p256"},
		"unknown account":  {args: Args{Ordered: ordered(t, "-d a.example"), Account: "new"}, want: "a.example https://ca.example/dir new p256"},
		"cert-name":        {args: Args{Ordered: ordered(t, "-d a.example"), CertName: "x_1"}, want: "x_1 https://ca.example/dir ca.example-dir p256"},
		"no names":         {args: Args{CertName: "x"}, want: "x https://ca.example/dir ca.example-dir p256"},
		"IPv6":             {args: Args{Ordered: ordered(t, "-d 2001:db8::1")}, want: "2001-db8--1 https://ca.example/dir ca.example-dir p256"},
		"bad cert-name":    {args: Args{CertName: "../x"}, refused: `command line: --cert-name "../x" wants lower-case letters`},
		"bad key type":     {args: Args{Ordered: ordered(t, "-d a.example"), KeyType: "dsa"}, refused: `command line: key type "dsa"`},
	} {
		r, err := cfg.Request(tt.args)
		if tt.refused != "" {
			if err == nil || !strings.HasPrefix(err.Error(), tt.refused) {
				t.Errorf("%s: %v, want %s", name, err, tt.refused)
			}
			continue
		}
		if got := strings.Join([]string{r.Name, r.Server, r.Account, string(r.KeyType)}, " "); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, tt.want)
		}
	}
}

func TestWebrootGrammar(t *testing.T) {
	for _, tt := range []struct {
		line string
		path string
		dirs map[string]any
		err  string
	}{
		{line: "-w /one -d a.example", path: "/one"},
		{line: "-d a.example -w /one", path: "/one"},
		{line: "-w /one -d a.example -d *.b.example -w /two -d c.example,d.example", path: "/two",
			dirs: map[string]any{"a.example": "/one", "b.example": "/one", "c.example": "/two", "d.example": "/two"}},
		{line: "-w /one -w /two -d A.example", path: "/two", dirs: map[string]any{"a.example": "/two"}},
		{line: "-d a.example -w /one -d b.example -w /two", err: "command line: with several -w every -d must follow the -w that it belongs to"},
		{line: "-d a.example"},
	} {
		cfg := &Config{}
		err := cfg.Apply(Args{Ordered: ordered(t, tt.line)})
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s: %v, want %s", tt.line, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		i, made := cfg.Instance("webroot")
		if made != (tt.path != "") || made && i.Plugin != "webroot" {
			t.Errorf("%s: instance %+v", tt.line, i)
			continue
		}
		path, _ := i.Settings["path"].Any.(string)
		dirs, _ := i.Settings["map"].Any.(map[string]any)
		if path != tt.path || !cmp.Equal(dirs, tt.dirs) {
			t.Errorf("%s: path %q, map %v; want %q, %v", tt.line, path, dirs, tt.path, tt.dirs)
		}
	}
	dir := t.TempDir()
	t.Chdir(dir)
	cfg := &Config{}
	if err := cfg.Apply(Args{Ordered: ordered(t, "-w html -d a.example")}); err != nil {
		t.Fatal(err)
	}
	if i, _ := cfg.Instance("webroot"); i.Settings["path"].Any != dir+"/html" {
		t.Errorf("a relative path stays relative: %v", i.Settings["path"].Any)
	}
}

func TestSetFlags(t *testing.T) {
	cfg := load(t, map[string]string{FileName: "instances: [{name: web, plugin: webroot, settings: {path: /a, keep: 1}}]\ndns: {port: 53, skip: true}\n"}, nil)
	err := cfg.Apply(Args{Sets: []string{
		"web.path=/b=c", "web.timeout=90s", "other.plugin=standalone", "other.http_port=5002", "new.a.b=",
		"dns.resolvers=[192.0.2.1:53, '[2001:db8::1]:53']", "dns.port=5353", "dns.timeout=1m", "dns.interval=1s", "dns.skip=false",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := DNS{Resolvers: []string{"192.0.2.1:53", "[2001:db8::1]:53"}, Port: 5353, Timeout: time.Minute, Interval: time.Second}
	if diff := cmp.Diff(want, cfg.DNS); diff != "" {
		t.Errorf("dns (-want +got):\n%s", diff)
	}
	text := func(s string) Value { return Value{Text: &s} }
	web := Pos{cfg.Files[0], 1, 13}
	wantInstances := []Instance{
		{Name: "web", Plugin: "webroot", Timeout: 90 * time.Second, Pos: web,
			Settings: map[string]Value{"path": text("/b=c"), "keep": {Any: 1, Pos: Pos{cfg.Files[0], 1, 69}}}},
		{Name: "other", Plugin: "standalone", Settings: map[string]Value{"http_port": text("5002")}, Partial: true},
		{Name: "new", Plugin: "new", Settings: map[string]Value{"a.b": text("")}, Partial: true},
	}
	if diff := cmp.Diff(wantInstances, cfg.Instances); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
	for set, want := range map[string]string{
		"web":              "wants INSTANCE.KEY=VALUE",
		"web=x":            "wants INSTANCE.KEY=VALUE",
		"web.path":         "wants INSTANCE.KEY=VALUE",
		"web.=x":           "wants INSTANCE.KEY=VALUE",
		"Web.path=x":       "an instance wants a name",
		".path=x":          "an instance wants a name",
		"dns.ports=5":      "dns has resolvers, port, timeout, interval and skip",
		"dns.plugin=x":     "dns has resolvers",
		"dns.port=x":       "invalid syntax",
		"dns.skip=ja":      "invalid syntax",
		"dns.timeout=5":    `wants a duration such as 90s or 2m, not "5"`,
		"dns.interval=-1s": "wants a duration",
		"web.timeout=-1s":  "wants a duration",
		"dns.resolvers=a":  "wants a list such as [192.0.2.53:53]",
	} {
		err := (&Config{}).Apply(Args{Sets: []string{set}})
		key, _, _ := strings.Cut(set, "=") // the value may be a secret
		if err == nil || !strings.HasPrefix(err.Error(), "command line: --set "+key+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", set, err, want)
		}
	}
}

func TestInstancesOf(t *testing.T) {
	cfg := &Config{Instances: []Instance{{Name: "web", Plugin: "webroot"}, {Name: "unused", Plugin: "x"}}}
	r := model.Request{Authenticate: []model.Rule{{With: []string{"web", "standalone"}}}, Deploy: []string{"files", "web"}}
	var got []string
	for _, i := range cfg.InstancesOf(r) {
		got = append(got, i.Name+"="+i.Plugin)
	}
	if diff := cmp.Diff([]string{"files=files", "standalone=standalone", "web=webroot"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
