package sdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/certwright/certwright/sdk/internal/wire"
)

// Plugin is what an author declares and gives to [Serve].
type Plugin struct {
	// Name is that of the binary without "certwright-plugin-".
	Name string
	// Version of the plugin, for instance "1.2.0".
	Version string
	// Summary is one line for `certwright plugins list`.
	Summary  string
	Homepage string

	// Settings is a pointer to a struct whose tags declare the settings; the
	// SDK fills it before any other call:
	//
	//	Path string `setting:"path,required" doc:"directory to write to"`
	//
	// Options after the name: required, secret. Further tags: default, doc,
	// choices. A field of type Secret is a secret. Nil: there are no settings.
	Settings any

	// At least one role. A role may also implement Configurer, HealthChecker
	// and the optional interfaces of its kind.
	Authenticator Authenticator
	Installer     Installer
	Hook          Hook

	// ChallengeTypes that the Authenticator answers, most preferred first.
	// [DNS] needs none.
	ChallengeTypes []string
	// ExclusiveResources cannot be used by two plugins at once.
	ExclusiveResources []Resource
	// HookEvents that Hook.Run wants.
	HookEvents []string
	// Permissions is all that the plugin touches; the rest is refused when it
	// runs in its sandbox.
	Permissions Permissions
	// DNS: see DNSMode. Env: see EnvMode.
	DNS DNSMode
	Env EnvMode
	// Serial asks that orders run one after the other.
	Serial bool
}

// Instance tells a plugin which one it is.
type Instance struct {
	// Name of the instance in the user's configuration.
	Name string
	// StateDir is the instance's own directory, 0700. It outlives the process.
	StateDir string
	// ValidateOnly: check the settings only; touch nothing.
	ValidateOnly bool
	HostVersion  string
	// NonInteractive: nobody can be asked; Reporter.Ask gives ErrNotInteractive.
	NonInteractive bool
	// Quiet: the user wants to hear of failures only.
	Quiet bool
}

// Configurer is a role that checks its settings, which are filled in by then,
// or prepares itself. It is called once, before any other work. It MUST be
// quick and MUST NOT change anything outside the plugin.
type Configurer interface {
	Configure(context.Context, Instance) error
}

// HealthChecker is a role that can say whether it could work now.
type HealthChecker interface {
	// Health returns an error if not. deep also tries the credentials.
	Health(ctx context.Context, deep bool) error
}

// SettingsDescriber is a role that knows of more settings once it is configured,
// such as the variables of a script that a setting names. The host may configure
// a process with ValidateOnly for nothing but to show them.
type SettingsDescriber interface {
	// DescribeSettings gives what is to be shown after the settings of the
	// struct. An entry of a map is called SETTING.NAME.
	DescribeSettings(context.Context) []Setting
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// Description checks the declaration and gives what Describe answers. The error
// is for the author: the plugin as it is cannot be served.
func (p Plugin) Description() (Description, error) {
	settings, err := schemaOf(p.Settings)
	if err != nil {
		return Description{}, err
	}
	d := Description{
		Protocol: []int{wire.Major}, Name: p.Name, Version: p.Version, Summary: p.Summary, Homepage: p.Homepage,
		Settings: settings, Permissions: p.Permissions, DNS: p.DNS, Env: p.Env,
		ExclusiveResources: p.ExclusiveResources, HookEvents: p.HookEvents, Serial: p.Serial,
	}
	types := p.ChallengeTypes
	if p.Authenticator != nil {
		d.Roles = append(d.Roles, RoleAuthenticator)
		if _, ok := p.Authenticator.(dnsAuthenticator); ok {
			if len(types) == 0 {
				types = []string{DNS01, DNSAccount01} // the same work; the host names the record
			}
			if d.DNS == "" {
				d.DNS = HostDNS
			}
		}
	}
	if d.DNS == "" && (slices.Contains(types, DNS01) || slices.Contains(types, DNSAccount01)) {
		d.DNS = HostDNS
	}
	if d.Env == "" {
		d.Env = MinimalEnv
	}
	if d.Permissions.Key == "" {
		d.Permissions.Key = KeyPath
	}
	for _, t := range types {
		ct := ChallengeType{Type: t, IdentifierTypes: []string{"dns"}}
		if t == HTTP01 || t == TLSALPN01 { // RFC 8738 section 4
			ct.IdentifierTypes = append(ct.IdentifierTypes, "ip")
		}
		d.ChallengeTypes = append(d.ChallengeTypes, ct)
	}
	if p.Installer != nil {
		d.Roles = append(d.Roles, RoleInstaller)
	}
	if p.Hook != nil {
		d.Roles = append(d.Roles, RoleHook)
	}
	d.Features = p.features()
	return d, errors.Join(p.check(d)...)
}

func (p Plugin) check(d Description) []error {
	var errs []error
	if !namePattern.MatchString(p.Name) {
		errs = append(errs, fmt.Errorf("plugin name %q: wants lower-case letters, digits and dashes", p.Name))
	}
	if p.Version == "" {
		errs = append(errs, errors.New("the plugin has no version"))
	}
	if len(d.Roles) == 0 {
		errs = append(errs, errors.New("the plugin has no role: set Authenticator, Installer or Hook"))
	}
	if p.Authenticator != nil && len(d.ChallengeTypes) == 0 {
		errs = append(errs, errors.New("the authenticator names no ChallengeTypes"))
	}
	if p.Hook != nil && len(p.HookEvents) == 0 {
		errs = append(errs, errors.New("the hook names no HookEvents"))
	}
	return append(errs, p.checkPermissions(d)...)
}

func (p Plugin) checkPermissions(d Description) []error {
	var errs []error
	settings := map[string]Setting{}
	for _, s := range d.Settings {
		settings[s.Name] = s
	}
	perms := p.Permissions
	paths := slices.Concat(perms.Read, perms.Write, perms.Execute)
	ports := slices.Concat(perms.ConnectTCP, perms.BindTCP)
	values := slices.Concat(paths, ports, perms.UnixSockets)
	for _, r := range p.ExclusiveResources {
		values = append(values, r.Value)
	}
	for _, v := range values {
		s, exists := settings[v.Setting]
		switch {
		case v.Setting == "":
		case !exists:
			errs = append(errs, fmt.Errorf("a permission or resource refers to the setting %q, which does not exist", v.Setting))
		case s.Secret:
			errs = append(errs, fmt.Errorf("a permission or resource refers to the setting %q, which is a secret", v.Setting))
		}
	}
	for _, v := range paths {
		if v.Setting == "" && !filepath.IsAbs(v.Literal) {
			errs = append(errs, fmt.Errorf("a permission for files wants an absolute path, not %q", v.Literal))
		}
	}
	for _, v := range ports {
		if v.Setting == "" && !isPort(v.Literal) {
			errs = append(errs, fmt.Errorf("a TCP permission wants a port, host:port, a URL or %q, not %q", AnyPort, v.Literal))
		}
	}
	for _, name := range perms.UnconfinedBy {
		if _, exists := settings[name]; !exists {
			errs = append(errs, fmt.Errorf("Permissions.UnconfinedBy names the setting %q, which does not exist", name))
		}
	}
	if (perms.Unconfined || len(perms.UnconfinedBy) > 0) && perms.Reason == "" {
		errs = append(errs, errors.New("a plugin that is unconfined, or can be, must say why in Permissions.Reason"))
	}
	return errs
}

// isPort reads a port as the host does.
func isPort(text string) bool {
	if text == AnyPort {
		return true
	}
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		text = cmp.Or(u.Port(), u.Scheme)
	} else if _, port, err := net.SplitHostPort(text); err == nil {
		text = port
	}
	_, err := net.LookupPort("tcp", text) //nolint:noctx // reads a local file at most
	return err == nil
}

func (p Plugin) features() []string {
	var out []string
	add := func(name string, ok bool) {
		if ok {
			out = append(out, name)
		}
	}
	_, ok := roleAs[Preferrer](p.Authenticator)
	add(FeaturePrefer, ok)
	_, ok = roleAs[Namer](p.Installer)
	add(FeatureNames, ok)
	_, ok = roleAs[ConfigTester](p.Installer)
	add(FeatureConfigTest, ok)
	_, ok = roleAs[Rollbacker](p.Installer)
	add(FeatureRollback, ok)
	_, ok = roleAs[Enhancer](p.Installer)
	add(FeatureEnhance, ok)
	add(FeatureHealth, len(optional[HealthChecker](p)) > 0)
	return out
}

// roleAs finds an optional interface on a role, through OneByOne too.
func roleAs[T any](role any) (T, bool) {
	if o, ok := role.(interface{ unwrap() any }); ok {
		role = o.unwrap()
	}
	t, ok := role.(T)
	return t, ok
}

// optional gives each distinct role that implements T, once.
func optional[T any](p Plugin) []T {
	var out []T
	for _, role := range []any{p.Authenticator, p.Installer, p.Hook} {
		t, ok := roleAs[T](role)
		if ok && !slices.ContainsFunc(out, func(o T) bool { return same(o, t) }) {
			out = append(out, t)
		}
	}
	return out
}

// same compares two roles, of which uncomparable ones are never equal.
func same(a, b any) (equal bool) {
	defer func() { _ = recover() }()
	return a == b
}
