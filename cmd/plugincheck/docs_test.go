package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The smallest plugin is as small as the page on writing one says.
func TestSmallestExample(t *testing.T) {
	code, err := os.ReadFile(filepath.Join(root, "examples", "hello-authenticator", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(code), "\n"); lines >= 40 {
		t.Errorf("the smallest plugin has %d lines; under 40 is promised", lines)
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
