package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// alone keeps what the machine is configured with out of a test.
func alone(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "CERTWRIGHT_") {
			t.Setenv(name, "")
		}
	}
}

// write makes a configuration directory; the names are relative to it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	alone(t)
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, files map[string]string, flags map[string]any) *Config {
	t.Helper()
	cfg, err := Load(Sources{ConfigDir: write(t, files), Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// The example of the documentation, read as it is meant.
func TestLoad(t *testing.T) {
	cfg := load(t, map[string]string{FileName: `
email: ops@example.com
server: letsencrypt-staging
accounts:
  - {name: zerossl, server: "https://acme.example/dir", email: a@example.com, eab: {kid: k1, hmac_key: {file: /run/keys/eab}}}
dns: {resolvers: ["192.0.2.53:53"], port: 5353, timeout: 2m, interval: 500ms, skip: true}
instances:
  - name: dns-a
    plugin: rfc2136
    timeout: 90s
    settings: &shared {server: "192.0.2.1:53", TTL: 60, when: 2026-01-02, tsig_secret: {file: /run/keys/a}}
  - {name: web, plugin: webroot, settings: {path: /var/www/html}}
  - {name: again, settings: *shared}
  - {name: nginx}
certificates:
  - names: [Example.com, "*.example.com", example.net]
    account: zerossl
    key_type: rsa3072
    preferred_challenges: [dns, http-01]
    authenticate:
      - {match: "*.Example.com", with: [dns-a]}
      - {with: [web, dns-a]}
    deploy: [nginx, files]
    hooks: [notify]
  - {names: [other.example], authenticate: [{with: [web]}]}
`}, nil)
	wantAccount := Account{
		Name: "zerossl", Server: "https://acme.example/dir", Email: "a@example.com",
		EAB: &EAB{Kid: "k1", HMACKey: model.SecretRef{File: "/run/keys/eab"}},
		Pos: Pos{filepath.Join(cfg.ConfigDir, FileName), 5, 5},
	}
	if diff := cmp.Diff([]Account{wantAccount}, cfg.Accounts); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	wantDNS := DNS{Resolvers: []string{"192.0.2.53:53"}, Port: 5353, Timeout: 2 * time.Minute, Interval: 500 * time.Millisecond, Skip: true}
	if diff := cmp.Diff(wantDNS, cfg.DNS); diff != "" {
		t.Errorf("dns (-want +got):\n%s", diff)
	}
	i, ok := cfg.Instance("dns-a")
	if !ok || i.Plugin != "rfc2136" || i.Timeout != 90*time.Second || i.Pos.Line != 8 {
		t.Errorf("instance: %+v", i)
	}
	for _, name := range []string{"dns-a", "again"} {
		i, _ := cfg.Instance(name)
		got := map[string]any{}
		for key, v := range i.Settings {
			got[key] = v.Any
		}
		// Case is kept, and a date is what was written.
		want := map[string]any{"server": "192.0.2.1:53", "TTL": 60, "when": "2026-01-02", "tsig_secret": map[string]any{"file": "/run/keys/a"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("settings of %s (-want +got):\n%s", name, diff)
		}
	}
	if i, _ := cfg.Instance("nginx"); i.Plugin != "nginx" {
		t.Errorf("the plugin does not default to the name: %+v", i)
	}
	got, err := cfg.Requests()
	if err != nil {
		t.Fatal(err)
	}
	dns := func(name string) model.Identifier { return model.Identifier{Type: "dns", Value: name} }
	want := []model.Request{{
		Name: "example.com", Server: "https://acme.example/dir", Account: "zerossl", KeyType: model.RSA3072,
		Identifiers:  []model.Identifier{dns("example.com"), {Type: "dns", Value: "example.com", Wildcard: true}, dns("example.net")},
		Preferred:    []string{"dns-01", "http-01"},
		Authenticate: []model.Rule{{Match: "*.example.com", With: []string{"dns-a"}}, {With: []string{"web", "dns-a"}}},
		Deploy:       []string{"nginx", "files"}, Hooks: []string{"notify"},
	}, {
		Name: "other.example", Server: "https://acme-staging-v02.api.letsencrypt.org/directory",
		Account: "acme-staging-v02.api.letsencrypt.org-directory", KeyType: model.P256, Preferred: []string{},
		Identifiers: []model.Identifier{dns("other.example")}, Authenticate: []model.Rule{{With: []string{"web"}}},
	}}
	want[1].Preferred = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	for id, with := range map[model.Identifier]string{
		want[0].Identifiers[0]: "web dns-a", want[0].Identifiers[1]: "dns-a", want[0].Identifiers[2]: "web dns-a",
	} {
		if got := strings.Join(slices.Concat(got[0].Ways(id)...), " "); got != with {
			t.Errorf("%s is proven by %q, want %q", id, got, with)
		}
	}
}

func TestConfDirIsAppendedInOrder(t *testing.T) {
	cfg := load(t, map[string]string{
		FileName:                "instances: [{name: a}]\nemail: first@example.com\ndns: {port: 5353}",
		"conf.d/20-later.yaml":  "instances: [{name: c}]\nemail: last@example.com",
		"conf.d/10-sooner.yaml": "instances: [{name: b}]\ndns: {skip: true}",
		"conf.d/ignored.yml":    "this: is not read",
	}, nil)
	var names []string
	for _, i := range cfg.Instances {
		names = append(names, i.Name)
	}
	if got := strings.Join(names, " "); got != "a b c" {
		t.Errorf("instances: %s", got)
	}
	if cfg.Email != "last@example.com" {
		t.Errorf("email: %s", cfg.Email)
	}
	if want := (DNS{Port: 5353, Skip: true}); !cmp.Equal(cfg.DNS, want) {
		t.Errorf("dns: %+v, want what both files say", cfg.DNS)
	}
	var files []string
	for _, f := range cfg.Files {
		rel, err := filepath.Rel(cfg.ConfigDir, f)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, rel)
	}
	if diff := cmp.Diff([]string{FileName, "conf.d/10-sooner.yaml", "conf.d/20-later.yaml"}, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// A directory whose name is a pattern is a directory all the same.
func TestDirectoryIsNoPattern(t *testing.T) {
	alone(t)
	dir := filepath.Join(t.TempDir(), "a[b*")
	if err := os.MkdirAll(filepath.Join(dir, "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "conf.d", "x.yaml"), []byte("email: a@example.com"), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, err := Load(Sources{ConfigDir: dir}); err != nil || cfg.Email != "a@example.com" {
		t.Errorf("%+v, %v", cfg, err)
	}
}

// TestWritableByEverybody: who may write the configuration may have commands run.
func TestWritableByEverybody(t *testing.T) {
	dir := write(t, map[string]string{"certwright.yaml": "email: a@b.test\n"})
	file := filepath.Join(dir, "certwright.yaml")
	if err := os.Chmod(file, 0o646); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Sources{ConfigDir: dir})
	if p := sdk.ProblemOf(err); p == nil || !strings.Contains(p.Error(), "everybody may write it (mode 0646)") || p.Hint != "run: chmod o-w "+file {
		t.Errorf("%+v", p)
	}
}

func TestNothingConfigured(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "comment": "# nothing yet\n", "marker": "---\n", "null lists": "instances:\ncertificates:\n"} {
		cfg := load(t, map[string]string{FileName: text}, nil)
		if len(cfg.Instances) > 0 || len(cfg.Certificates) > 0 || cfg.KeyType != model.P256 {
			t.Errorf("%s: %+v", name, cfg)
		}
	}
	alone(t)
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	cfg, err := Load(Sources{SysconfDir: t.TempDir()})
	if err != nil || len(cfg.Files) > 0 {
		t.Errorf("no files at all: %+v, %v", cfg, err)
	}
}

func TestPrecedence(t *testing.T) {
	file := map[string]string{FileName: `
email: file@example.com
server: https://file.example/dir
ca_bundle: /file.pem
agree_tos: true
key_type: p384
state_dir: /file/state
`}
	for _, tt := range []struct {
		key, env string
		flag     any
		get      func(*Config) any
		// what is in force by flag, environment, file, and by default
		want [4]any
	}{
		{"email", "env@example.com", "flag@example.com", func(c *Config) any { return c.Email },
			[4]any{"flag@example.com", "env@example.com", "file@example.com", ""}},
		{"server", "letsencrypt-staging", "https://flag.example/dir", func(c *Config) any { return c.Server },
			[4]any{"https://flag.example/dir", servers["letsencrypt-staging"], "https://file.example/dir", servers["letsencrypt"]}},
		{"ca_bundle", "/env.pem", "/flag.pem", func(c *Config) any { return c.CABundle },
			[4]any{"/flag.pem", "/env.pem", "/file.pem", ""}},
		{"agree_tos", "false", true, func(c *Config) any { return c.AgreeTOS },
			[4]any{true, false, true, false}},
		{"key_type", "rsa2048", "rsa4096", func(c *Config) any { return c.KeyType },
			[4]any{model.RSA4096, model.RSA2048, model.P384, model.P256}},
		{"state_dir", "/env/state", "/flag/state", func(c *Config) any { return c.StateDir },
			[4]any{"/flag/state", "/env/state", "/file/state", defaultDir("XDG_STATE_HOME", ".local/state", "/var/lib/certwright")}},
	} {
		t.Run(tt.key, func(t *testing.T) {
			flags := map[string]any{tt.key: tt.flag}
			dir, empty := write(t, file), t.TempDir()
			check := func(from string, s Sources, want any) {
				t.Helper()
				cfg, err := Load(s)
				if err != nil {
					t.Fatalf("from %s: %v", from, err)
				}
				if got := tt.get(cfg); got != want {
					t.Errorf("from %s: %v, want %v", from, got, want)
				}
			}
			check("default", Sources{ConfigDir: empty}, tt.want[3])
			check("file", Sources{ConfigDir: dir}, tt.want[2])
			t.Setenv("CERTWRIGHT_"+strings.ToUpper(tt.key), tt.env)
			check("environment", Sources{ConfigDir: dir}, tt.want[1])
			check("flag", Sources{ConfigDir: dir, Flags: flags}, tt.want[0])
		})
	}
}

func TestConfigDirFromEnvironment(t *testing.T) {
	dir := write(t, map[string]string{FileName: "email: a@example.com"})
	t.Setenv("CERTWRIGHT_CONFIG_DIR", dir)
	if cfg, err := Load(Sources{}); err != nil || cfg.Email != "a@example.com" || cfg.ConfigDir != dir {
		t.Errorf("%+v, %v", cfg, err)
	}
	other := write(t, map[string]string{FileName: "email: b@example.com"})
	t.Setenv("CERTWRIGHT_CONFIG_DIR", dir)
	if cfg, err := Load(Sources{ConfigDir: other}); err != nil || cfg.Email != "b@example.com" {
		t.Errorf("the flag does not win: %+v, %v", cfg, err)
	}
}

// Flags and variables have no line, but an error says which of them it was.
func TestMistakesOutsideFiles(t *testing.T) {
	for _, tt := range []struct {
		env, value string
		flags      map[string]any
		want       string
	}{
		{flags: map[string]any{"server": "http://ca.example/dir"}, want: `command line: server "http://ca.example/dir" is neither`},
		{flags: map[string]any{"key_type": "dsa"}, want: `command line: key type "dsa" is not one of p256, p384, rsa2048, rsa3072, rsa4096`},
		{flags: map[string]any{"email": "me"}, want: `command line: email "me" is not an address`},
		{env: "CERTWRIGHT_SERVER", value: "nonsense", want: `environment variable CERTWRIGHT_SERVER: server "nonsense" is neither`},
		{env: "CERTWRIGHT_AGREE_TOS", value: "maybe", want: `environment variable CERTWRIGHT_AGREE_TOS: agree_tos wants true or false, not "maybe"`},
		{env: "CERTWRIGHT_KEY_TYPE", value: "dsa", flags: map[string]any{"key_type": "ed25519"}, want: `command line: key type "ed25519"`},
	} {
		dir := write(t, nil)
		if tt.env != "" {
			t.Setenv(tt.env, tt.value)
		}
		_, err := Load(Sources{ConfigDir: dir, Flags: tt.flags})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
		var usage interface{ Usage() bool }
		if !errors.As(err, &usage) || !usage.Usage() {
			t.Errorf("%v is not marked as a usage error", err)
		}
	}
}
