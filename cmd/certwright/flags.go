package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/certwright/certwright/host"
	"github.com/certwright/certwright/host/config"
)

// cli holds what the flags say.
type cli struct {
	terminal *host.Terminal

	configDir      string
	pluginDirs     []string
	devPlugins     []string
	scalars        map[string]string
	agreeTOS       bool
	staging        bool
	nonInteractive bool

	args       config.Args
	keyType    string
	eabKid     string
	eabHMACKey string
	noEmail    bool
	expand     bool
	force      bool
	newKey     bool
	debug      bool
	dryRun     bool
	redirect   bool
	hsts       bool
	csr        string
	keyPath    string
}

// globalFlags are those of every verb.
func (c *cli) globalFlags(f *pflag.FlagSet) {
	f.StringVar(&c.configDir, "config-dir", "", "directory of certwright.yaml (default /etc/certwright, or the XDG directory of a user)")
	f.StringArrayVar(&c.pluginDirs, "plugin-dir", nil, "look for plugins here first (repeatable)")
	f.StringArrayVar(&c.devPlugins, "dev-plugin", nil, "use this binary of a plugin that you work on: NAME=PATH (repeatable)")
	c.scalars = map[string]string{}
	f.Var(scalar{c.scalars, "state_dir"}, "state-dir", "directory of accounts, keys and certificates (default /var/lib/certwright, or the XDG directory of a user)")
	f.BoolVar(&c.terminal.JSON, "json", false, "results as one JSON object per line")
	f.BoolVarP(&c.terminal.Verbose, "verbose", "v", false, "tell more of the story")
	f.BoolVarP(&c.terminal.Quiet, "quiet", "q", false, "tell warnings and errors only")
	f.BoolVarP(&c.nonInteractive, "non-interactive", "n", false, "never ask; fail where an answer is needed")
}

// caFlags are those of verbs that speak to a CA.
func (c *cli) caFlags(f *pflag.FlagSet) {
	c.serverFlags(f)
	c.trustFlags(f)
	f.StringVar(&c.args.Account, "account", "", "name of the account to use")
	f.StringVar(&c.eabKid, "eab-kid", "", "key identifier of an external account binding")
	f.StringVar(&c.eabHMACKey, "eab-hmac-key", "", "its HMAC key: @FILE or =env:NAME")
}

func (c *cli) serverFlags(f *pflag.FlagSet) {
	f.Var(scalar{c.scalars, "server"}, "server", "CA: letsencrypt, letsencrypt-staging or a directory URL (default letsencrypt)")
	f.BoolVar(&c.staging, "staging", false, "the same as --server letsencrypt-staging")
	f.BoolVar(&c.staging, "test-cert", false, "the same as --staging")
}

// trustFlags are those that may be needed although the CA and its account are
// settled.
func (c *cli) trustFlags(f *pflag.FlagSet) {
	f.Var(scalar{c.scalars, "ca_bundle"}, "ca-bundle", "PEM file of roots to trust for the connection to the CA")
	f.VarP(scalar{c.scalars, "email"}, "email", "m", "contact of a new account")
	f.BoolVar(&c.agreeTOS, "agree-tos", false, "agree to the CA's terms of service")
}

// certificateFlags are those that say what certificate is wanted.
func (c *cli) certificateFlags(f *pflag.FlagSet) {
	ordered := func(kind config.ArgKind) pflag.Value { return &orderedArg{args: &c.args.Ordered, kind: kind} }
	f.VarP(ordered(config.ArgDomain), "domain", "d", "name of the certificate (repeatable; a comma separates several)")
	f.Var(ordered(config.ArgDomain), "domains", "the same as --domain")
	f.VarP(ordered(config.ArgAuthenticator), "authenticator", "a",
		"instance that proves the names; a comma separates fallbacks; of several -a each applies to the -d that follow")
	f.VarP((*list)(&c.args.Installers), "installer", "i", "instance that the certificate is deployed to (repeatable)")
	f.StringVar(&c.args.CertName, "cert-name", "", "name of the certificate (default: the first -d)")
	f.StringVar(&c.keyType, "key-type", "", "p256, p384, rsa2048, rsa3072 or rsa4096 (default p256)")
	f.StringSliceVar(&c.args.Preferred, "preferred-challenges", nil, "challenge types, most preferred first: http, dns, tls-alpn")
	f.BoolVar(&c.expand, "expand", false, "let an existing certificate get more names")
	f.BoolVar(&c.force, "force-renewal", false, "renew even if it is not due")
	f.BoolVar(&c.debug, "debug-challenges", false, "show what is in place and wait before the CA is told")
	f.BoolVar(&c.dryRun, "dry-run", false, "prove every name at a test CA and show what would be deployed; keep and deploy nothing")
	c.optionFlags(f)
	c.settingFlags(f)
	c.aliasFlags(f)
	c.hookFlags(f)
}

// optionFlags are those of a certificate beyond its names.
func (c *cli) optionFlags(f *pflag.FlagSet) {
	o := &c.args.Options
	f.StringVar(&o.RequiredProfile, "required-profile", "", "profile that the CA must offer")
	f.StringVar(&o.PreferredProfile, "preferred-profile", "", "profile to use if the CA offers it")
	f.StringVar(&o.PreferredChain, "preferred-chain", "", "common name of an issuer in the chain that is wanted")
	f.BoolVar(&o.MustStaple, "must-staple", false, "ask for the OCSP must-staple extension")
	f.BoolVar(&o.ReuseKey, "reuse-key", false, "renew with the same private key")
	f.BoolVar(&c.newKey, "new-key", false, "make a new private key this time, in spite of --reuse-key")
	f.StringVar(&o.NotBefore, "not-before", "", "begin of the validity: RFC 3339 or +DURATION (default: the CA decides)")
	f.StringVar(&o.NotAfter, "not-after", "", "end of the validity: RFC 3339 or +DURATION (default: the CA decides)")
	f.BoolVar(&o.AllowSubset, "allow-subset-of-names", false, "take a certificate of the names that can be proven")
}

// deployFlags are those that say how a certificate is deployed.
func (c *cli) deployFlags(f *pflag.FlagSet) {
	c.togetherFlag(f)
	c.enhanceFlags(f)
}

func (c *cli) togetherFlag(f *pflag.FlagSet) {
	f.BoolVar(&c.args.AllOrNothing, "all-or-nothing", false, "deploy to all installers, or to none if one of them fails")
}

func (c *cli) enhanceFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.redirect, "redirect", false, "have the server lead plain HTTP to HTTPS")
	f.BoolVar(&c.hsts, "hsts", false, "have the server tell browsers to use nothing but HTTPS (RFC 6797)")
}

func (c *cli) settingFlags(f *pflag.FlagSet) {
	f.Var((*list)(&c.args.Sets), "set", "setting of an instance: INSTANCE.KEY=VALUE (repeatable); INSTANCE.plugin=NAME makes an instance")
}

// base loads the configuration for a verb.
func (c *cli) base() (host.Base, error) {
	c.terminal.Interactive = !c.nonInteractive
	stat, err := os.Stdin.Stat()
	c.terminal.TTY = err == nil && stat.Mode()&os.ModeCharDevice != 0
	if c.staging {
		if _, both := c.scalars["server"]; both {
			return host.Base{}, host.UsageError(errors.New("--staging and --server contradict each other"))
		}
		c.scalars["server"] = "letsencrypt-staging"
	}
	flags := map[string]any{}
	for key, value := range c.scalars {
		flags[key] = value
	}
	if c.agreeTOS {
		flags["agree_tos"] = true
	}
	c.args.KeyType = config.KeyType(strings.ToLower(c.keyType))
	if c.redirect {
		c.args.Enhance = append(c.args.Enhance, host.Redirect)
	}
	if c.hsts {
		c.args.Enhance = append(c.args.Enhance, host.HSTS)
	}
	if err := c.eab(); err != nil {
		return host.Base{}, host.UsageError(err)
	}
	cfg, err := config.Load(config.Sources{ConfigDir: c.configDir, Flags: flags, PluginDirs: c.pluginDirs, SysconfDir: sysconfDir})
	if err != nil {
		return host.Base{}, err
	}
	for _, text := range cfg.Warnings {
		c.terminal.Warn("", "%s", text)
	}
	if err := cfg.Apply(c.args); err != nil {
		return host.Base{}, err
	}
	dev, err := host.ParseDev(c.devPlugins, os.Getenv("CERTWRIGHT_REATTACH"))
	if err != nil {
		return host.Base{}, err
	}
	executable, err := os.Executable()
	if err != nil {
		return host.Base{}, fmt.Errorf("find the program's own path: %w", err)
	}
	return host.Base{Config: cfg, Terminal: c.terminal, Version: version, Executable: executable, LibexecDir: libexecDir, Dev: dev}, nil
}

func (c *cli) eab() error {
	if c.eabKid == "" && c.eabHMACKey == "" {
		return nil
	}
	if c.eabKid == "" || c.eabHMACKey == "" {
		return errors.New("--eab-kid and --eab-hmac-key belong together")
	}
	ref, err := config.SecretFlag(c.eabHMACKey)
	if err != nil {
		return fmt.Errorf("--eab-hmac-key %w", err)
	}
	c.args.EAB = &config.EAB{Kid: c.eabKid, HMACKey: ref}
	return nil
}

// scalar is a flag that overrides a global scalar, if it is given.
type scalar struct {
	into map[string]string
	key  string
}

func (s scalar) String() string { return s.into[s.key] }

func (s scalar) Type() string { return "string" }

func (s scalar) Set(value string) error {
	s.into[s.key] = value
	return nil
}

// orderedArg is a flag whose place among the others matters.
type orderedArg struct {
	args *[]config.Arg
	kind config.ArgKind
}

func (o *orderedArg) String() string { return "" }

func (o *orderedArg) Type() string { return "string" }

func (o *orderedArg) Set(value string) error {
	if strings.Trim(value, ", ") == "" {
		return errors.New("it is empty")
	}
	*o.args = append(*o.args, config.Arg{Kind: o.kind, Value: value})
	return nil
}
