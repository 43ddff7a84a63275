package scaffold

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// modulePattern is what can stand in a module line without quotes.
var modulePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._~/-]*$`)

// released matches the versions that a tag has, and with it the SDK.
var released = regexp.MustCompile(`^v?\d+\.\d+\.\d+$`)

// completeGo finds out where the SDK is taken from.
func (r Request) completeGo() (Request, error) {
	if r.Module == "" {
		r.Module = "example.com/" + binaryPrefix + r.Name
	}
	if !modulePattern.MatchString(r.Module) || strings.HasSuffix(r.Module, "/") {
		return r, fmt.Errorf("%q cannot be the path of a Go module", r.Module)
	}
	if r.SDK == "" {
		if !released.MatchString(r.Version) {
			return r, sdk.Hint(fmt.Errorf("the SDK of certwright %s is not published, so go cannot download it", r.Version),
				"name a clone of its source: --sdk DIR")
		}
		return r, nil
	}
	clone, err := filepath.Abs(r.SDK)
	if err != nil {
		return r, fmt.Errorf("--sdk %s: %w", r.SDK, err)
	}
	text, err := os.ReadFile(filepath.Join(clone, "go.mod"))
	if err == nil && !strings.HasPrefix(string(text), "module "+module+"\n") {
		err = fmt.Errorf("its go.mod is of another module than %s", module)
	}
	if err == nil && strings.ContainsAny(clone, " \t\"'`\\") {
		err = errors.New("go.mod cannot name a path with such characters")
	}
	if err != nil {
		return r, sdk.Hint(fmt.Errorf("--sdk %s: %w", r.SDK, err), "name a clone of certwright's source")
	}
	r.SDK = clone
	return r, nil
}

func (r Request) goFiles() ([]file, error) {
	v := r.values()
	// go.mod wants a version in the canonical form, with a replacement too.
	v.SDKVersion = "v" + strings.TrimPrefix(r.Version, "v")
	if r.SDK != "" && !released.MatchString(r.Version) {
		v.SDKVersion = "v0.0.0"
	}
	v.GoVersion = strings.TrimPrefix(runtime.Version(), "go")
	if minor := regexp.MustCompile(`^\d+\.\d+`).FindString(v.GoVersion); minor != "" {
		v.GoVersion = minor
	}
	files, err := renderAll(v, "go", []part{
		{template: "main.go.tmpl", name: "main.go", wanted: true},
		{template: "plugin.go.tmpl", name: r.Name + ".go", wanted: true},
		{template: "authenticator.go.tmpl", name: "authenticator.go", wanted: v.Authenticator},
		{template: "installer.go.tmpl", name: "installer.go", wanted: v.Installer},
		{template: "hook.go.tmpl", name: "hook.go", wanted: v.Hook},
		{template: "plugin_test.go.tmpl", name: r.Name + "_test.go", wanted: true},
		{template: "go.mod.tmpl", name: "go.mod", wanted: true},
		{template: "Makefile.tmpl", name: "Makefile", wanted: true},
		{template: "gitignore.tmpl", name: ".gitignore", wanted: true},
		{template: "README.md.tmpl", name: "README.md", wanted: true},
	})
	if err != nil || r.SDK == "" {
		return files, err
	}
	// The sums of what the SDK needs are known there.
	sums, err := os.ReadFile(filepath.Join(r.SDK, "go.sum"))
	if err != nil {
		return nil, fmt.Errorf("--sdk %s: %w", r.SDK, err)
	}
	return append(files, file{name: "go.sum", data: sums, mode: 0o644}), nil
}
