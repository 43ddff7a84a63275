package main

import (
	"os"
	"path/filepath"
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
