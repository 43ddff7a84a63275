package pluginhost

import (
	"bufio"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/sdk"
)

// resolver turns what a plugin declares into what it means with the settings of
// an instance.
type resolver struct {
	d        sdk.Description
	settings map[string]any
}

// values gives what a value stands for: each item of a list or map; the default
// of a setting that is not given. Empty ones are left out.
func (r resolver) values(v sdk.Value) (out []string, given bool) {
	if v.Setting == "" {
		return []string{v.Literal}, false
	}
	value, given := r.settings[v.Setting]
	if !given || value == nil {
		for _, s := range r.d.Settings {
			if s.Name == v.Setting {
				value, given = s.Default, false
			}
		}
	}
	return slices.DeleteFunc(texts(value), func(text string) bool { return text == "" }), given
}

// texts gives the text of a setting's value, or those of its items.
func texts(value any) []string {
	var out []string
	switch value := value.(type) {
	case nil:
	case []string:
		out = slices.Clone(value)
	case []any:
		for _, item := range value {
			out = append(out, fmt.Sprint(item))
		}
	case map[string]string:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			out = append(out, value[key])
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			out = append(out, fmt.Sprint(value[key]))
		}
	default:
		out = append(out, fmt.Sprint(value))
	}
	return out
}

// reads are paths as they are. One that does not exist gives nothing.
func (r resolver) reads(values []sdk.Value) []string {
	var out []string
	for _, v := range values {
		paths, _ := r.values(v)
		for _, path := range paths {
			// A program that is named only is found in PATH, where everyone may.
			if abs, err := filepath.Abs(path); err == nil && strings.Contains(path, "/") {
				out = append(out, abs)
			}
		}
	}
	return out
}

// writes are paths as they are, if they are fixed; one that is not there belongs
// to another system. A file that a setting names stands for its directory: it is
// replaced by renaming another one over it. What the user has named and does not
// exist yet stands for its nearest parent that does, but never for the root.
func (r resolver) writes(values []sdk.Value) []string {
	var out []string
	for _, v := range values {
		paths, given := r.values(v)
		for _, path := range paths {
			abs, err := filepath.Abs(path)
			if err != nil {
				continue
			}
			if v.Setting == "" {
				out = append(out, abs)
				continue
			}
			out = append(out, writable(abs, given)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func writable(path string, nearest bool) []string {
	// A name with a placeholder is made from the certificate.
	if at := strings.IndexByte(path, '{'); at >= 0 {
		path, nearest = filepath.Dir(path[:at]+"x"), true
	}
	if path == "/" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return []string{path}
	case err == nil && info.Mode().IsRegular():
		// A link beside which the plugin may write may be the plugin's own: where
		// it leads to is not granted.
		return notRoot(filepath.Dir(path))
	case err == nil:
		return []string{path}
	case !errors.Is(err, fs.ErrNotExist) || !nearest:
		return nil
	}
	for dir := filepath.Dir(path); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return []string{dir}
		}
	}
	return nil
}

// notRoot leaves the root out, which is never granted for writing.
func notRoot(dir string) []string {
	if resolved(dir) == "/" {
		return nil
	}
	return []string{dir}
}

// sockets are paths, or "@" and a name.
func (r resolver) sockets(values []sdk.Value) []string {
	var out []string
	for _, v := range values {
		names, _ := r.values(v)
		for _, name := range names {
			name = strings.TrimPrefix(strings.TrimPrefix(name, "unix:"), "//")
			// Others are addresses of TCP.
			if filepath.IsAbs(name) || strings.HasPrefix(name, "@") {
				out = append(out, name)
			}
		}
	}
	return out
}

func (r resolver) ports(values []sdk.Value) sandbox.Ports {
	var out sandbox.Ports
	for _, v := range values {
		texts, _ := r.values(v)
		for _, text := range texts {
			if text == sdk.AnyPort {
				out.Any = true
			} else if port, ok := portOf(text); ok {
				out.List = append(out.List, port)
			}
		}
	}
	slices.Sort(out.List)
	out.List = slices.Compact(out.List)
	return out
}

// portOf reads a port, host:port or a URL. What names none is left to others:
// a plugin says with a literal which port it takes then.
func portOf(text string) (uint16, bool) {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		if text = u.Port(); text == "" {
			text = u.Scheme
		}
	} else if _, port, err := net.SplitHostPort(text); err == nil {
		text = port
	}
	port, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", text)
	if err != nil || port < 0 || port > 65535 {
		return 0, false
	}
	return uint16(port), true
}

// dynamic says whether the kernel loads a program that loads this one.
func (b *binary) dynamic() bool {
	f, err := elf.NewFile(b.file)
	if err != nil {
		return false // the launch will fail, and say why
	}
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// interpreter gives where a script has its own files, its interpreter, and where
// that has its own as far as that is elsewhere than the system's: DIR/bin/python
// uses DIR/lib. The first line is the script's own word; so nothing is opened by
// it that holds more than programs.
func (b *binary) interpreter() []string {
	out := []string{filepath.Dir(b.path)}
	line, _ := bufio.NewReader(io.NewSectionReader(b.file, 0, 4096)).ReadString('\n')
	fields := strings.Fields(strings.TrimPrefix(line, "#!"))
	if len(fields) == 0 || !filepath.IsAbs(fields[0]) {
		return out
	}
	target := resolved(fields[0])
	if info, err := os.Stat(target); err != nil || !info.Mode().IsRegular() {
		return out
	}
	out = append(out, target)
	for _, path := range []string{filepath.Clean(fields[0]), target} {
		bin := filepath.Dir(path)
		if dir := resolved(filepath.Dir(bin)); filepath.Base(bin) == "bin" && !holdsMore(dir) {
			out = append(out, dir)
		}
	}
	return out
}

// holdsMore says whether a directory is known to hold other things than a
// program with its libraries.
func holdsMore(dir string) bool {
	for _, inside := range []string{"/proc", "/sys", "/dev", "/etc", "/run"} {
		if holds(inside, dir) {
			return true
		}
	}
	return slices.Contains([]string{"/", "/boot", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var", "/var/lib", "/var/tmp"}, dir)
}

func resolved(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}
