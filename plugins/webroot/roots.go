package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/certwright/certwright/sdk"
)

// roots says which directory serves a name.
type roots struct {
	byName map[string]string
	other  string // empty: only the names of byName
}

// rootsOf checks the settings; each wrong one is an error of its own.
func rootsOf(s settings) (roots, error) {
	out := roots{byName: map[string]string{}}
	var errs []error
	if s.Path == "" && len(s.Map) == 0 {
		errs = append(errs, wrong("path", "set path to the web server's document root, or map to one for each name",
			"setting path is missing, and map too"))
	}
	if s.Path != "" {
		dir, err := directory("path", s.Path)
		out.other, errs = dir, append(errs, err)
	}
	for _, names := range slices.Sorted(maps.Keys(s.Map)) {
		dir, err := directory("map", s.Map[names])
		errs = append(errs, err)
		for name := range strings.SplitSeq(names, ",") {
			canonical, err := canonicalName(name)
			if before, ok := out.byName[canonical]; err == nil && ok && before != dir {
				err = wrong("map", "give each name one directory", "setting map names %s twice, with %s and %s", canonical, before, dir)
			}
			out.byName[canonical], errs = dir, append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}

func wrong(setting, hint, format string, args ...any) error {
	p := sdk.Problemf(sdk.InvalidConfig, format, args...)
	p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
	return p
}

// directory checks that a setting's value is there. A relative one would mean
// another place to the process that cleans up after a crash.
func directory(setting, value string) (string, error) {
	if value == "" {
		return "", wrong(setting, "give the web server's document root", "setting %s has an empty directory", setting)
	}
	if !filepath.IsAbs(value) {
		return "", wrong(setting, "give an absolute path", "setting %s: %q is not an absolute path", setting, value)
	}
	dir := filepath.Clean(value)
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return "", wrong(setting, "create the directory, or correct the setting", "setting %s: look for directory %s: %w", setting, dir, err)
	case !info.IsDir():
		return "", wrong(setting, "give the directory, not a file in it", "setting %s: %s is not a directory", setting, dir)
	}
	return dir, nil
}

// canonicalName gives a name of the map the form that identifiers have.
func canonicalName(name string) (string, error) {
	name = strings.TrimSpace(name)
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap().String(), nil
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	switch {
	case name == "":
		return "", wrong("map", "write names separated by single commas", "setting map has an empty name")
	case strings.Contains(name, "*"):
		return "", wrong("map", "prove wildcard names by dns-01 with another plugin",
			"setting map names %s, but a wildcard name cannot be proven by http-01", name)
	}
	if strings.IndexFunc(name, func(r rune) bool { return r > 127 }) < 0 {
		return name, nil
	}
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil {
		return "", wrong("map", "correct the name", "setting map: name %q: %w", name, err)
	}
	return ascii, nil
}

// of gives the directory of an identifier.
func (r roots) of(id sdk.Identifier) (string, error) {
	if id.Wildcard {
		err := sdk.Permanent(sdk.Problemf(sdk.Unsupported, "the wildcard name %s cannot be proven by http-01", id))
		return "", sdk.Hint(err, "choose a DNS authenticator for this name")
	}
	name, err := canonicalName(id.Value)
	if err != nil {
		return "", fmt.Errorf("find the directory of %s: %w", id, err)
	}
	if dir, ok := r.byName[name]; ok {
		return dir, nil
	}
	if r.other != "" {
		return r.other, nil
	}
	err = sdk.Permanent(sdk.Problemf(sdk.NotFound, "no directory is set for %s", id))
	return "", sdk.Hint(err, "add %s to map, or set path for all names that map does not name", id)
}
