// Package scaffold writes the folder that the author of a plugin begins with: one
// that builds, passes the conformance suite and issues a certificate as it is.
package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// Languages that there are templates for, the first by default.
var Languages = []string{"go", "python"}

// Roles of a plugin, in the order in which they are named.
var Roles = []string{sdk.RoleAuthenticator, sdk.RoleInstaller, sdk.RoleHook}

// Request says what is wanted.
type Request struct {
	Name     string
	Roles    []string
	Language string
	// Dir is the new folder; empty: certwright-plugin-NAME.
	Dir string
	// Module is the Go module's path; empty: example.com/certwright-plugin-NAME.
	Module string
	// SDK is a clone of the source, whose SDK is used in place of a published one.
	SDK string
	// Version of this program, whose SDK is used.
	Version string
}

// Result is what was written.
type Result struct {
	Dir string
	// Files in it, relative, sorted.
	Files []string
}

// module is the import path of the source.
const module = "github.com/certwright/certwright"

const binaryPrefix = "certwright-plugin-"

var namePattern = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)

// maxName keeps the name of the binary, and of a socket in its directory, short.
const maxName = 40

// CheckName says why a plugin cannot have that name.
func CheckName(name string) error {
	switch {
	case strings.HasPrefix(name, binaryPrefix):
		return sdk.Hint(fmt.Errorf("the name %q holds what every binary of a plugin begins with", name),
			"leave %s out: %s", binaryPrefix, strings.TrimPrefix(name, binaryPrefix))
	case !namePattern.MatchString(name):
		return sdk.Hint(fmt.Errorf("%q cannot be the name of a plugin", name),
			"use lower-case letters, digits and dashes, with a letter first and no dash at the end")
	case len(name) > maxName:
		return fmt.Errorf("the name %s has %d characters; at most %d are allowed", name, len(name), maxName)
	case name == "dns":
		return errors.New(`the name "dns" is reserved: in the configuration it means the host's own DNS checks`)
	case name == "main" || slices.Contains(Roles, name):
		return fmt.Errorf("the name %q is that of another file of the folder; choose what the plugin is about", name)
	}
	return nil
}

// Write makes the folder. One that holds something is refused, and nothing that
// exists is ever written over.
func Write(r Request) (Result, error) {
	r, err := r.complete()
	if err != nil {
		return Result{}, err
	}
	files, err := r.files()
	if err != nil {
		return Result{}, err
	}
	if err := makeEmpty(r.Dir); err != nil {
		return Result{}, err
	}
	result := Result{Dir: r.Dir}
	for _, f := range files {
		if err := create(filepath.Join(r.Dir, f.name), f.data, f.mode); err != nil {
			return Result{}, err
		}
		result.Files = append(result.Files, f.name)
	}
	slices.Sort(result.Files)
	return result, nil
}

// complete checks what is wanted and fills in what was not said.
func (r Request) complete() (Request, error) {
	if err := CheckName(r.Name); err != nil {
		return r, err
	}
	if !slices.Contains(Languages, r.Language) {
		return r, fmt.Errorf("there is no template for the language %q: choose %s", r.Language, strings.Join(Languages, " or "))
	}
	if len(r.Roles) == 0 {
		return r, sdk.Hint(errors.New("no role is given"), "give one or several of %s with --role", strings.Join(Roles, ","))
	}
	for _, role := range r.Roles {
		if !slices.Contains(Roles, role) {
			return r, fmt.Errorf("there is no role %q: choose of %s", role, strings.Join(Roles, ", "))
		}
	}
	if r.Dir == "" {
		r.Dir = binaryPrefix + r.Name
	}
	if r.Language == "go" {
		return r.completeGo()
	}
	if r.SDK != "" || r.Module != "" {
		return r, fmt.Errorf("--sdk and --module are for Go, not for %s", r.Language)
	}
	return r, nil
}

// makeEmpty makes the folder, or takes one that is there and empty.
func makeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.MkdirAll(dir, 0o755) //nolint:gosec // source code is for everybody
	case err == nil && len(entries) > 0:
		return sdk.Hint(fmt.Errorf("%s is not empty: it holds %s", dir, entries[0].Name()), "name another folder with --dir; nothing was changed")
	}
	if err != nil {
		return fmt.Errorf("make the folder of the plugin: %w", err)
	}
	return nil
}

// create writes a file that does not exist.
func create(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err == nil {
		_, err = f.Write(data)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
