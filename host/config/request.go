package config

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

// Arg is one flag whose place among the others matters.
type Arg struct {
	Kind  ArgKind
	Value string
}

// ArgKind tells the ordered flags apart.
type ArgKind int

// The ordered flags: -a, -d and -w.
const (
	ArgAuthenticator ArgKind = iota
	ArgDomain
	ArgWebroot
)

// Args is what a command line asks for, beyond the global scalars.
type Args struct {
	Ordered    []Arg
	Installers []string
	// AllOrNothing deploys to all installers or to none.
	AllOrNothing bool
	// Enhance lists what the installers are to set beside the certificate.
	Enhance []string
	// Hooks are instances, Commands run as certbot runs them.
	Hooks    []string
	Commands []HookCommand
	// RunDeployHooks runs deploy hooks in a dry run; NoHookValidation takes
	// commands that cannot be found.
	RunDeployHooks   bool
	NoHookValidation bool
	CertName         string
	// KeyType of the certificate; empty: the global one.
	KeyType   model.KeyType
	Preferred []string
	Account   string
	// Sets are "INSTANCE.KEY=VALUE", "INSTANCE.plugin=NAME" or "dns.KEY=VALUE".
	Sets []string
	EAB  *EAB
	// CSR is a certificate request made elsewhere, DER or PEM.
	CSR []byte
	model.Options
}

// Domains gives the -d values, in order.
func (a Args) Domains() []string {
	var out []string
	for _, arg := range a.Ordered {
		if arg.Kind == ArgDomain {
			for name := range strings.SplitSeq(arg.Value, ",") {
				if name = strings.TrimSpace(name); name != "" {
					out = append(out, name)
				}
			}
		}
	}
	return out
}

// Apply adds what the command line says about instances: --set and -w.
func (c *Config) Apply(a Args) error {
	var errs []error
	for _, set := range a.Sets {
		key, value, ok := strings.Cut(set, "=")
		instance, name, dotted := strings.Cut(key, ".")
		if !ok || !dotted || name == "" {
			errs = append(errs, errorAt(Pos{}, "--set %s: wants INSTANCE.KEY=VALUE", key))
			continue
		}
		var err error
		switch {
		case instance == "dns":
			err = c.setDNS(name, value)
		case name == "plugin":
			err = c.edit(instance, func(i *Instance) { i.Plugin = value })
		case name == "timeout":
			var d time.Duration
			if d, err = parseDuration(value); err == nil {
				err = c.edit(instance, func(i *Instance) { i.Timeout = d })
			}
		case name == "sandbox":
			if err = checkSandbox(value); err == nil {
				err = c.edit(instance, func(i *Instance) { i.Sandbox = value })
			}
		case name == "user":
			err = c.edit(instance, func(i *Instance) { i.User = value })
		default:
			err = c.edit(instance, func(i *Instance) { i.Settings[name] = Value{Text: &value} })
		}
		if err != nil {
			errs = append(errs, errorAt(Pos{}, "--set %s: %v", key, err))
		}
	}
	c.applyHooks(a)
	errs = append(errs, c.applyWebroots(a.Ordered))
	return errors.Join(errs...)
}

// edit changes an instance, which is made if it does not exist.
func (c *Config) edit(name string, change func(*Instance)) error {
	if err := checkInstanceName(name); err != nil {
		return err
	}
	at := slices.IndexFunc(c.Instances, func(i Instance) bool { return i.Name == name })
	if at < 0 {
		c.Instances = append(c.Instances, Instance{Name: name, Plugin: name, Settings: map[string]Value{}, Partial: true})
		at = len(c.Instances) - 1
	}
	change(&c.Instances[at])
	return nil
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("wants a duration such as 90s or 2m, not %q", text)
	}
	return d, nil
}

func (c *Config) setDNS(key, value string) (err error) {
	switch key {
	case "resolvers":
		var list any
		if list, err = fromFlow[[]string](value, "a list such as [192.0.2.53:53]"); err == nil {
			c.DNS.Resolvers, _ = list.([]string)
		}
	case "port":
		c.DNS.Port, err = strconv.Atoi(value)
	case "timeout":
		c.DNS.Timeout, err = parseDuration(value)
	case "interval":
		c.DNS.Interval, err = parseDuration(value)
	case "skip":
		c.DNS.Skip, err = strconv.ParseBool(value)
	default:
		err = errors.New("dns has resolvers, port, timeout, interval and skip")
	}
	return err
}

// applyWebroots gives the webroot instance its directories: each -w applies to
// the -d that follow it, and the last one to all other names.
func (c *Config) applyWebroots(ordered []Arg) error {
	current := ""
	named := map[string]string{}
	roots := 0
	for _, arg := range ordered {
		switch arg.Kind {
		case ArgWebroot:
			path, err := absolute(arg.Value)
			if err != nil {
				return errorAt(Pos{}, "-w %s: %v", arg.Value, err)
			}
			current = path
			roots++
		case ArgDomain:
			for name := range strings.SplitSeq(arg.Value, ",") {
				if id, err := ParseIdentifier(strings.TrimSpace(name)); err == nil && current != "" {
					named[id.Value] = current
				}
			}
		}
	}
	if roots == 0 {
		return nil
	}
	if roots > 1 && domainBeforeWebroot(ordered) {
		return errorAt(Pos{}, "with several -w every -d must follow the -w that it belongs to")
	}
	return c.edit("webroot", func(i *Instance) {
		path := current
		i.Partial = false // -w says where every name is
		i.Settings["path"] = Value{Any: path}
		if roots > 1 {
			i.Settings["map"] = Value{Any: mapOfAny(named)}
		}
	})
}

func mapOfAny(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func domainBeforeWebroot(ordered []Arg) bool {
	for _, a := range ordered {
		switch a.Kind {
		case ArgWebroot:
			return false
		case ArgDomain:
			return true
		}
	}
	return false
}

// Request makes the certificate that a command line asks for. Its name is only
// a proposal: what exists already decides, in plan.
func (c *Config) Request(a Args) (model.Request, error) {
	cert := Certificate{
		Name: a.CertName, Names: a.Domains(), Account: a.Account, KeyType: a.KeyType,
		Preferred: ChallengeTypes(a.Preferred), Deploy: a.Installers, Hooks: a.HookNames(),
		AllOrNothing: a.AllOrNothing, Enhance: a.Enhance, Options: a.Options,
	}
	var err error
	if cert.Authenticate, err = rules(a.Ordered); err != nil {
		return model.Request{}, err
	}
	var csr []byte
	if len(a.CSR) > 0 {
		if csr, cert.Names, err = parseCSR(a); err != nil {
			return model.Request{}, errorAt(Pos{}, "--csr: %v", err)
		}
	}
	if cert.Name != "" && !validName(cert.Name) {
		return model.Request{}, errorAt(Pos{}, "--cert-name %q wants lower-case letters, digits, dots, dashes and underscores", cert.Name)
	}
	r, err := c.request(cert)
	if err != nil {
		return r, errorAt(Pos{}, "%v", err)
	}
	r.CSR = csr
	return r, nil
}

// Requests makes the certificates that the files ask for.
func (c *Config) Requests() ([]model.Request, error) {
	var out []model.Request
	var errs []error
	for _, cert := range c.Certificates {
		r, err := c.request(cert)
		if err != nil {
			errs = append(errs, errorAt(cert.Pos, "certificate %s: %v", cert.Name, err))
			continue
		}
		out = append(out, r)
	}
	return out, errors.Join(errs...)
}

func (c *Config) request(cert Certificate) (model.Request, error) {
	ids, err := ParseIdentifiers(cert.Names)
	if err != nil {
		return model.Request{}, err
	}
	r := model.Request{
		Name: cert.Name, Identifiers: ids, KeyType: cert.KeyType, Account: cert.Account, Server: cert.Server,
		Authenticate: cert.Authenticate, Deploy: cert.Deploy, Hooks: cert.Hooks, Always: c.Hooks, Preferred: cert.Preferred,
		AllOrNothing: cert.AllOrNothing, Enhance: cert.Enhance, CABundle: c.CABundle, Options: cert.Options,
	}
	if err := checkOptions(r.Options); err != nil {
		return r, err
	}
	if err := checkChallenges(r.Preferred); err != nil {
		return r, err
	}
	if r.Name == "" && len(ids) > 0 {
		r.Name = LineageName(ids[0])
	}
	if r.KeyType == "" {
		r.KeyType = c.KeyType
	}
	if err := checkKeyType(r.KeyType); err != nil {
		return r, err
	}
	account, known := c.Account(cert.Account)
	if r.Server == "" {
		r.Server = account.Server
	}
	if r.Server == "" {
		r.Server = c.Server
	}
	switch {
	case r.Account == "":
		r.Account = AccountName(r.Server)
	case known && account.Server != "" && account.Server != r.Server:
		return r, fmt.Errorf("account %s belongs to %s, not to %s", account.Name, account.Server, r.Server)
	}
	return r, nil
}

func checkOptions(o model.Options) error {
	if o.RequiredProfile != "" && o.PreferredProfile != "" {
		return errors.New("a required and a preferred profile contradict each other")
	}
	if _, err := model.ParseInstant(o.NotBefore, time.Time{}); err != nil {
		return fmt.Errorf("not before: %w", err)
	}
	if _, err := model.ParseInstant(o.NotAfter, time.Time{}); err != nil {
		return fmt.Errorf("not after: %w", err)
	}
	return nil
}

// rules reads the grammar of -a and -d: one -a applies to all names wherever it
// stands; several apply each to the -d that follow.
func rules(ordered []Arg) ([]model.Rule, error) {
	var with [][]string
	for _, arg := range ordered {
		if arg.Kind == ArgAuthenticator {
			list := splitList(arg.Value)
			for _, name := range list {
				if err := checkInstanceName(name); err != nil {
					return nil, errorAt(Pos{}, "-a %s: %v", arg.Value, err)
				}
			}
			with = append(with, list)
		}
	}
	if len(with) == 0 {
		return nil, nil
	}
	if len(with) == 1 {
		return []model.Rule{{With: with[0]}}, nil
	}
	var out []model.Rule
	at := -1
	for _, arg := range ordered {
		switch arg.Kind {
		case ArgAuthenticator:
			at++
		case ArgDomain:
			if at < 0 {
				return nil, errorAt(Pos{}, "-d %s stands before the first of several -a: each -a applies to the -d that follow it", arg.Value)
			}
			ids, err := ParseIdentifiers(splitList(arg.Value))
			if err != nil {
				return nil, errorAt(Pos{}, "-d %s: %v", arg.Value, err)
			}
			for _, id := range ids {
				out = append(out, model.Rule{Match: id.String(), With: with[at]})
			}
		}
	}
	return out, nil
}

func splitList(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// InstancesOf gives the configured instances that a request uses; those that
// nobody configured are the plugin of the same name without settings.
func (c *Config) InstancesOf(r model.Request) []Instance {
	var out []Instance
	for _, name := range r.Uses() {
		i, ok := c.Instance(name)
		if !ok {
			i = Instance{Name: name, Plugin: name, Settings: map[string]Value{}}
		}
		out = append(out, i)
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Name < out[b].Name })
	return out
}
