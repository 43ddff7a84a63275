package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fenced gives the blocks of one language of a page.
func fenced(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[1])
	}
	if len(out) == 0 {
		t.Fatalf("%s has no block of %s", page, language)
	}
	return out
}

// The plugin that the page shows is the one that is built and checked.
func TestPageShowsTheExample(t *testing.T) {
	code, err := os.ReadFile(filepath.Join(root, "examples", "hello-authenticator", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if shown := fenced(t, "write-a-plugin.md", "go")[0]; shown != string(code) {
		t.Errorf("docs/write-a-plugin.md does not show examples/hello-authenticator/main.go as it is")
	}
	if lines := strings.Count(string(code), "\n"); lines >= 40 {
		t.Errorf("the first plugin has %d lines; under 40 is promised", lines)
	}
}

// Every command of the page, in order, from a clone.
func TestCommandsOfThePage(t *testing.T) {
	script := strings.Join(fenced(t, "write-a-plugin.md", "sh"), "\n")
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "GOFLAGS=", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	for _, text := range []string{`"name": "hello"`, "ok    http-01/seen", " ok, 0 failed, "} {
		if !strings.Contains(string(out), text) {
			t.Errorf("the output lacks %q:\n%s", text, out)
		}
	}
}

// What docs/protocol.md says of names and numbers is what the proto says.
func TestProtocolPageIsComplete(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	proto, err := os.ReadFile(filepath.Join(root, "sdk/proto/certwright/plugin/v1/plugin.proto"))
	if err != nil {
		t.Fatal(err)
	}
	wire, err := os.ReadFile(filepath.Join(root, "sdk/internal/wire/wire.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, pattern := range []string{`(?m)^service (\w+)`, `(?m)^  rpc (\w+)`, `(?m)^    ([A-Z_]{4,}) = \d+;`} {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(proto), -1) {
			names = append(names, m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?m)= "(\w{6,})"$`).FindAllStringSubmatch(string(wire), -1) {
		names = append(names, m[1])
	}
	checked, err := os.ReadFile(filepath.Join(root, "sdk/plugintest/testdata/names.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range strings.Fields(string(checked)) {
		names = append(names, check[strings.Index(check, "/")+1:])
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_UNSPECIFIED") || name == "KIND_UNSPECIFIED" {
			continue
		}
		if !strings.Contains(string(page), name) {
			t.Errorf("docs/protocol.md does not mention %s", name)
		}
	}
}
