package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Cert          string   `setting:"cert" doc:"absolute path for the certificate alone; in all paths {name} stands for the certificate's name"`
	Chain         string   `setting:"chain" doc:"absolute path for the intermediate certificates"`
	Fullchain     string   `setting:"fullchain" doc:"absolute path for the certificate followed by the intermediates"`
	Key           string   `setting:"key" doc:"absolute path for the private key"`
	Combined      string   `setting:"combined" doc:"absolute path for one file with all that combined_order names"`
	CombinedOrder string   `setting:"combined_order" default:"cert,chain,key" doc:"what is in the combined file, in this order: cert, chain, key, separated by commas"`
	Owner         string   `setting:"owner" doc:"owner of the files: user, user:group or :group, by name or number; empty leaves it"`
	Mode          string   `setting:"mode" default:"0644" doc:"mode, in octal, of the files without a private key"`
	KeyMode       string   `setting:"key_mode" default:"0600" doc:"mode, in octal, of key and combined"`
	Test          string   `setting:"test" doc:"shell command that fails if the server would not accept the files"`
	Reload        string   `setting:"reload" doc:"shell command that makes the server read the files"`
	Endpoints     []string `setting:"endpoints" doc:"where the certificate is to be seen after the reload: host:port for TLS, or smtp://, imap:// or pop3://host:port"`
}

const placeholder = "{name}"

// part is a piece of a file.
type part string

const (
	leaf  part = "cert"
	chain part = "chain"
	full  part = "fullchain"
	key   part = "key"
)

// kinds are the settings that are paths, in the order in which they are
// written: a server that happens to read in between finds a key without its
// certificate rather than the other way round.
var kinds = []struct {
	setting string
	path    func(settings) string
	parts   []part // nil: by combined_order
}{
	{"key", func(s settings) string { return s.Key }, []part{key}},
	{"cert", func(s settings) string { return s.Cert }, []part{leaf}},
	{"chain", func(s settings) string { return s.Chain }, []part{chain}},
	{"fullchain", func(s settings) string { return s.Fullchain }, []part{full}},
	{"combined", func(s settings) string { return s.Combined }, nil},
}

// config is what the settings mean.
type config struct {
	targets   []target
	uid, gid  *int
	test      string
	reload    string
	endpoints []sdk.Endpoint // addresses may hold the placeholder
}

// target is one file, or with a placeholder one for each certificate.
type target struct {
	setting string
	path    string
	parts   []part
	mode    fs.FileMode
}

// parse gives one problem for each setting that is wrong.
func (s settings) parse() (config, error) {
	c := config{test: strings.TrimSpace(s.Test), reload: strings.TrimSpace(s.Reload)}
	var errs []error
	check := func(setting string, err error) {
		if err != nil {
			err = sdk.WithCode(fmt.Errorf("setting %s: %w", setting, err), sdk.InvalidConfig)
			errs = append(errs, sdk.Subject(sdk.Permanent(err), setting))
		}
	}
	mode, err := parseMode(s.Mode)
	check("mode", err)
	keyMode, err := parseMode(s.KeyMode)
	check("key_mode", err)
	order, err := parseOrder(s.CombinedOrder)
	check("combined_order", err)
	c.uid, c.gid, err = parseOwner(s.Owner)
	check("owner", err)
	c.endpoints, err = parseEndpoints(s.Endpoints)
	check("endpoints", err)
	taken := map[string]string{}
	for _, k := range kinds {
		path := k.path(s)
		if path == "" {
			continue
		}
		t := target{setting: k.setting, path: filepath.Clean(path), parts: k.parts, mode: mode}
		if k.parts == nil {
			t.parts = order
		}
		if k.parts == nil || slices.Contains(k.parts, key) {
			t.mode = keyMode
		}
		err := checkPath(path)
		if other, ok := taken[t.path]; ok && err == nil {
			err = fmt.Errorf("%s is the path of %s already", path, other)
		}
		check(k.setting, err)
		taken[t.path] = k.setting
		c.targets = append(c.targets, t)
	}
	if len(c.targets) == 0 {
		check("cert", errors.New("there is nothing to write: set one of cert, chain, fullchain, key and combined"))
	}
	return c, errors.Join(errs...)
}

// checkPath checks what can be known before there is a certificate.
func checkPath(path string) error {
	switch rest := strings.ReplaceAll(path, placeholder, ""); {
	case !filepath.IsAbs(path):
		return fmt.Errorf("%s is not an absolute path", path)
	case strings.HasSuffix(path, "/"):
		return fmt.Errorf("%s names a directory: add a file name", path)
	case strings.ContainsAny(rest, "{}"):
		return fmt.Errorf("%s has a placeholder that is not %s", path, placeholder)
	}
	path = filepath.Clean(path)
	if dir := filepath.Dir(path); !strings.Contains(dir, placeholder) {
		if err := checkDirectory(dir); err != nil {
			return err
		}
	}
	if strings.Contains(path, placeholder) {
		return nil
	}
	_, err := existing(path)
	return err
}

func checkDirectory(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return sdk.Hint(fmt.Errorf("the directory %s does not exist", dir), "create %s", dir)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return nil
}

// existing gives the file at a path, following symlinks; nil: there is none.
func existing(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // a file that is not there is no error
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, sdk.Hint(fmt.Errorf("%s is a directory", path), "name a file in it")
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file but %s", path, info.Mode().Type())
	}
	return info, nil
}

func parseMode(text string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || n == 0 || n > 0o777 {
		return 0, fmt.Errorf("%q is not a mode: write it in octal and in quotes, as in \"0640\"", text)
	}
	return fs.FileMode(n), nil
}

func parseOrder(text string) ([]part, error) {
	var out []part
	for field := range strings.SplitSeq(text, ",") {
		p := part(strings.TrimSpace(field))
		if p != leaf && p != chain && p != key {
			return nil, fmt.Errorf("%q is none of cert, chain and key", field)
		}
		if slices.Contains(out, p) {
			return nil, fmt.Errorf("%s is named twice", p)
		}
		out = append(out, p)
	}
	if !slices.Contains(out, leaf) {
		return nil, errors.New("cert is missing")
	}
	return out, nil
}

// parseOwner is like the argument of chown: nil means that it stays.
func parseOwner(text string) (uid, gid *int, err error) {
	if text == "" {
		return nil, nil, nil
	}
	name, group, _ := strings.Cut(text, ":")
	if name == "" && group == "" {
		return nil, nil, fmt.Errorf("%q names nobody: write user, user:group or :group", text)
	}
	if name != "" {
		uid, err = number(name, func() (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", fmt.Errorf("the user %q is not known here", name)
			}
			return u.Uid, nil
		})
	}
	if group != "" && err == nil {
		gid, err = number(group, func() (string, error) {
			g, err := user.LookupGroup(group)
			if err != nil {
				return "", fmt.Errorf("the group %q is not known here", group)
			}
			return g.Gid, nil
		})
	}
	if err != nil {
		// Without cgo only the local files are read, not a directory service.
		return nil, nil, sdk.Hint(err, "create it, or write its number if it comes from a directory service")
	}
	return uid, gid, nil
}

// number takes a number as it is, and looks a name up.
func number(text string, lookup func() (string, error)) (*int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		if text, err = lookup(); err != nil {
			return nil, err
		}
		if n, err = strconv.ParseUint(text, 10, 31); err != nil {
			return nil, fmt.Errorf("%q is not a number: %w", text, err)
		}
	}
	out := int(n)
	return &out, nil
}

func parseEndpoints(texts []string) ([]sdk.Endpoint, error) {
	var out []sdk.Endpoint
	var errs []error
	for _, text := range texts {
		e, err := parseEndpoint(text)
		out, errs = append(out, e), append(errs, err)
	}
	return out, errors.Join(errs...)
}

func parseEndpoint(text string) (sdk.Endpoint, error) {
	e := sdk.Endpoint{Address: text, Kind: sdk.TLS}
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		e = sdk.Endpoint{Address: rest, Kind: sdk.EndpointKind(scheme)}
	}
	if !slices.Contains([]sdk.EndpointKind{sdk.TLS, sdk.SMTP, sdk.IMAP, sdk.POP3}, e.Kind) {
		return e, fmt.Errorf("%q: %s is none of tls, smtp, imap and pop3", text, e.Kind)
	}
	host, port, err := net.SplitHostPort(e.Address)
	if err == nil {
		if n, bad := strconv.ParseUint(port, 10, 16); bad != nil || n == 0 || host == "" {
			err = errors.New("it wants a host and a port number")
		}
	}
	if err == nil && strings.ContainsAny(strings.ReplaceAll(host, placeholder, ""), "{}/ ") {
		err = fmt.Errorf("%q is not a host", host)
	}
	if err != nil {
		return e, fmt.Errorf("%q is not host:port: %w", text, err)
	}
	return e, nil
}
