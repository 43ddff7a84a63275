package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/certwright/certwright/sdk/client"
)

// Dev are plugins that their author works on. They take the place of those that
// would be found.
type Dev struct {
	// Binaries by plugin (--dev-plugin). Where one lies, and as root whose it is,
	// does not count: the user has named it. It runs in its sandbox.
	Binaries map[string]string
	// Running (CERTWRIGHT_REATTACH) are attached to, not launched.
	Running map[string]client.Reattach
}

// ParseDev reads the values NAME=PATH of --dev-plugin, and CERTWRIGHT_REATTACH.
func ParseDev(flags []string, reattach string) (Dev, error) {
	d := Dev{Binaries: map[string]string{}}
	for _, flag := range flags {
		name, path, ok := strings.Cut(flag, "=")
		if !ok || !namePattern.MatchString(name) || path == "" {
			return d, fmt.Errorf("--dev-plugin %s: write the name of a plugin and the path of its binary, NAME=PATH", flag)
		}
		if before, twice := d.Binaries[name]; twice {
			return d, fmt.Errorf("--dev-plugin names %s twice: %s and %s", name, before, path)
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return d, fmt.Errorf("--dev-plugin %s: %w", flag, err)
		}
		if _, err := os.Stat(abs); errors.Is(err, fs.ErrNotExist) {
			return d, noBinary(abs)
		}
		d.Binaries[name] = abs
	}
	var err error
	if d.Running, err = client.ParseReattach(reattach); err != nil {
		return d, err
	}
	for name := range d.Running {
		if path, twice := d.Binaries[name]; twice {
			return d, fmt.Errorf("plugin %s is named by --dev-plugin (%s) and by %s: take one of them away", name, path, client.ReattachKey)
		}
	}
	return d, nil
}

// Names of the plugins, sorted.
func (d Dev) Names() []string {
	var out []string
	for name := range d.Binaries {
		out = append(out, name)
	}
	for name := range d.Running {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// found are those that take the place of what the search path has.
func (h *Host) foundInDev() map[string]Found {
	out := map[string]Found{}
	for name, path := range h.opts.Dev.Binaries {
		b, err := h.openDev(path)
		if err == nil {
			_ = b.file.Close()
		}
		out[name] = Found{Name: name, Path: path, Refused: err}
	}
	for name, at := range h.opts.Dev.Running {
		out[name] = Found{Name: name, Path: fmt.Sprintf("process %d at %s", at.PID, at.Address)}
	}
	return out
}

// isDev: the path is one that --dev-plugin names.
func (h *Host) isDev(path string) bool {
	for _, dev := range h.opts.Dev.Binaries {
		if dev == path {
			return true
		}
	}
	return false
}

// openDev opens a binary that --dev-plugin names. What is left of the trust rule is
// that nobody else can write to the file.
func (h *Host) openDev(path string) (*binary, error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noBinary(path)
	}
	if err != nil {
		return nil, fmt.Errorf("--dev-plugin: find %s: %w", path, err)
	}
	f, err := os.OpenFile(target, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("--dev-plugin: open %s: %w", path, err)
	}
	b := &binary{file: f, path: target}
	if err := h.checkDev(b, path); err != nil {
		_ = f.Close()
		return nil, err
	}
	return b, nil
}

func noBinary(path string) error {
	return fmt.Errorf("--dev-plugin: there is no %s; build it", path)
}

func (h *Host) checkDev(b *binary, found string) error {
	fi, err := b.file.Stat()
	if err != nil {
		return fmt.Errorf("--dev-plugin: check %s: %w", found, err)
	}
	rule := h.rule
	if rule.uid == 0 {
		rule.uid, _ = ids(fi) // an author's, as root: he has named it
	}
	reason, fix := rule.wrongOwner(b.path, fi)
	switch {
	case !fi.Mode().IsRegular():
		reason, fix = "is not a regular file", "name the plugin's binary"
	case reason != "":
	case fi.Mode().Perm()&0o002 != 0:
		reason, fix = "can be written by everyone", "run: chmod o-w "+b.path
	case fi.Mode().Perm()&0o111 == 0:
		reason, fix = "is not executable", "run: chmod +x "+b.path
	}
	if reason != "" {
		return newRefusedError(found, b.path, fi, reason, fix)
	}
	b.script = isScript(b.file)
	return nil
}
