package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestALinkToNothingIsNoMissingFile(t *testing.T) {
	for _, name := range []string{FileName, "conf.d/more.yaml"} {
		dir := write(t, map[string]string{"conf.d/.keep": ""})
		file := filepath.Join(dir, name)
		if err := os.Symlink("/nowhere/x.yaml", file); err != nil {
			t.Fatal(err)
		}
		_, err := Load(Sources{ConfigDir: dir})
		want := file + ":1:1: cannot be read: it is a symbolic link to /nowhere/x.yaml, which does not exist"
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestTheOtherSuffixIsWarnedOf(t *testing.T) {
	dir := write(t, map[string]string{"certwright.yml": "email: a@b.example\n", "conf.d/more.yml": "", "conf.d/README": "", "conf.d/good.yaml": ""})
	cfg, err := Load(Sources{ConfigDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		filepath.Join(dir, "certwright.yml") + " is not read: rename it to certwright.yaml",
		filepath.Join(dir, "conf.d/more.yml") + " is not read: rename it to more.yaml",
	}
	if strings.Join(cfg.Warnings, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, want %q", cfg.Warnings, want)
	}
}

func TestCheckCABundle(t *testing.T) {
	dir := write(t, map[string]string{FileName: "email: a@b.example\nca_bundle: /nowhere/roots.pem\n", "empty.pem": "no PEM\n"})
	file, empty := filepath.Join(dir, FileName), filepath.Join(dir, "empty.pem")
	for name, tt := range map[string]struct {
		flags map[string]any
		env   string
		want  string
	}{
		"file":        {want: file + ":2:12: ca_bundle /nowhere/roots.pem cannot be read: no such file or directory"},
		"flag":        {flags: map[string]any{"ca_bundle": empty}, want: "command line: ca_bundle " + empty + " holds no PEM certificate"},
		"environment": {env: empty, want: "environment variable CERTWRIGHT_CA_BUNDLE: ca_bundle " + empty + " holds no PEM certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			alone(t)
			t.Setenv("CERTWRIGHT_CA_BUNDLE", tt.env)
			cfg, err := Load(Sources{ConfigDir: dir, Flags: tt.flags})
			if err != nil {
				t.Fatal(err)
			}
			if err := cfg.CheckCABundle(); err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestCheckSets(t *testing.T) {
	used := []string{"web", "files", "web"}
	for _, tt := range []struct {
		args Args
		used []string
		want string
	}{
		{args: Args{Sets: []string{"web.path=/a", "dns.skip=true", "files.a=b"}}, used: used},
		{args: Args{Sets: []string{"wep.token=hunter2"}}, used: used, want: "command line: --set wep.token: the instance wep is not used here (in use: files, web)"},
		{args: Args{Sets: []string{"web.plugin=x"}}, want: "command line: --set web.plugin: the instance web is not used here (none is in use)"},
		{args: Args{Ordered: []Arg{{ArgWebroot, "/a"}}}, used: used, want: "command line: -w is for the instance webroot, which is not used here (in use: files, web): name it with -a webroot"},
		{args: Args{Ordered: []Arg{{ArgWebroot, "/a"}}}, used: []string{"webroot"}},
	} {
		err := tt.args.CheckSets(tt.used)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("%v: %v, want %q", tt.args, err, tt.want)
		}
	}
}
