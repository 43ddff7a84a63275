// Package config turns files, environment and flags into one validated struct.
//
// Global scalars are resolved by viper: flag, then CERTWRIGHT_*, then file, then
// default. Everything else is decoded from the same bytes as YAML nodes, so that
// case is kept and a mistake is reported with file, line and column.
package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

// KeyType names the key of a certificate.
type KeyType = model.KeyType

// Options of a certificate beyond its names and key.
type Options = model.Options

// Config is everything that was configured. It is not changed after Load,
// except that the command line adds instances and settings.
type Config struct {
	// Email is the contact of new accounts; empty: none.
	Email string
	// Server is the directory URL of the CA.
	Server string
	// ServerGiven says that it is not just the default.
	ServerGiven bool
	// CABundle is a PEM file of roots for the connection to the CA; empty: the
	// system's.
	CABundle string
	// AgreeTOS agrees to the CA's terms of service for new accounts.
	AgreeTOS bool
	KeyType  model.KeyType

	ConfigDir string
	StateDir  string
	// PluginDirs are searched before the usual places.
	PluginDirs []string

	// HookRules are those of certificates that have none of their own.
	HookRules model.HookRules
	// Hooks of every certificate.
	Hooks []string
	// HookSettings are settings for this run of all instances of a plugin.
	HookSettings map[string]map[string]any

	Accounts     []Account
	DNS          DNS
	Instances    []Instance
	Certificates []Certificate
	// Files that were read, in order.
	Files []string
	// Warnings are about what was found and not read.
	Warnings []string

	// places are where the global scalars come from.
	places map[string]Pos
}

// Account is an ACME account at some CA.
type Account struct {
	Name   string
	Server string
	Email  string
	// EAB binds the account to one that exists outside ACME (RFC 8555 section
	// 7.3.4); nil: none.
	EAB *EAB
	Pos Pos
}

// EAB is an external account binding.
type EAB struct {
	Kid     string
	HMACKey model.SecretRef
}

// DNS says how the host looks at DNS when it waits for records.
type DNS struct {
	// Resolvers are host:port; empty: the system's.
	Resolvers []string
	// Port of authoritative servers; 0: 53.
	Port int
	// Timeout of the whole wait; 0: 2 minutes.
	Timeout time.Duration
	// Interval between questions; 0: 2 seconds.
	Interval time.Duration
	// Skip does not wait at all.
	Skip bool
}

// Instance is one configured plugin, its settings not yet held against the
// plugin's own description: see Bind.
type Instance struct {
	Name     string
	Plugin   string
	Settings map[string]Value
	// Timeout of one call; zero: the default of the call.
	Timeout time.Duration
	// Sandbox is required, best-effort or off; empty: best-effort.
	Sandbox string
	// User that its process runs as; empty: the host's.
	User string
	// Partial: only --set speaks of it, see Over.
	Partial bool
	Pos     Pos
}

// Value is one setting as it was written.
type Value struct {
	// Any is the YAML value; nil if Text is set.
	Any any
	// Text is from the command line, to be read by the setting's type.
	Text *string
	Pos  Pos
}

// Certificate is one that the files ask for.
type Certificate struct {
	Name         string
	Names        []string
	Account      string
	Server       string
	KeyType      model.KeyType
	Preferred    []string
	Authenticate []model.Rule
	Deploy       []string
	AllOrNothing bool
	Enhance      []string
	Hooks        []string
	model.Options
	Pos Pos
}

// Pos is where something was written; the zero value is the command line. What
// comes from the environment has no Line.
type Pos struct {
	File string
	Line int
	Col  int
}

func (p Pos) String() string {
	switch {
	case p.File == "":
		return "command line"
	case p.Line == 0:
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Error is a mistake in the configuration, with its place.
type Error struct {
	Pos Pos
	Msg string
}

func (e *Error) Error() string { return e.Pos.String() + ": " + e.Msg }

// Usage marks the error as one of usage: exit code 2.
func (e *Error) Usage() bool { return true }

func errorAt(p Pos, format string, args ...any) error {
	return &Error{Pos: p, Msg: fmt.Sprintf(format, args...)}
}

// Instance finds an instance by name.
func (c *Config) Instance(name string) (Instance, bool) {
	for _, i := range c.Instances {
		if i.Name == name {
			return i, true
		}
	}
	return Instance{}, false
}

// Place says where a certificate is asked for: the command line if no file
// does.
func (c *Config) Place(certificate string) Pos {
	for _, cert := range c.Certificates {
		if cert.Name == certificate {
			return cert.Pos
		}
	}
	return Pos{}
}

// Account finds an account by name.
func (c *Config) Account(name string) (Account, bool) {
	for _, a := range c.Accounts {
		if a.Name == name {
			return a, true
		}
	}
	return Account{}, false
}

// Directory URLs of CAs that have a short name.
var servers = map[string]string{
	"letsencrypt":         "https://acme-v02.api.letsencrypt.org/directory",
	"letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}

// TestServer is where a dry run goes instead of a CA: its test CA if it is known
// to have one, else the CA itself.
func TestServer(server string) string {
	if server == servers["letsencrypt"] {
		return servers["letsencrypt-staging"]
	}
	return server
}

// IsTest says that a CA is known to issue what no client trusts.
func IsTest(server string) bool { return server == servers["letsencrypt-staging"] }

// ServerURL gives the directory URL of a CA by short name or URL.
func ServerURL(server string) (string, error) {
	if u, ok := servers[server]; ok {
		return u, nil
	}
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("server %q is neither letsencrypt, letsencrypt-staging nor an https directory URL (RFC 8555 section 6.1 demands https)", server)
	}
	return server, nil
}

// AccountName is the name of the account that is used at a CA when none is
// named: made of the directory URL, so that each CA has its own.
func AccountName(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return "default"
	}
	name := strings.ToLower(u.Host + "-" + strings.Trim(u.Path, "/"))
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, name)
	return strings.Trim(name, "-.")
}

func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}
