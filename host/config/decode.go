package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/host/internal/model"
)

var instanceName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// decoder reads one file and collects every mistake in it.
type decoder struct {
	file string
	errs []error
	// commands are instances for commands of hooks.
	commands []Instance
}

// decode appends what the file says to cfg.
func decode(file string, data []byte, cfg *Config) error {
	d := &decoder{file: file}
	root, err := d.document(data)
	if err != nil || root == nil {
		return err
	}
	fields := map[string]func(*yaml.Node){
		"accounts": func(n *yaml.Node) {
			d.each(n, "accounts", func(n *yaml.Node) { cfg.Accounts = append(cfg.Accounts, d.account(n)) })
		},
		"dns": func(n *yaml.Node) { d.dns(n, &cfg.DNS) },
		"instances": func(n *yaml.Node) {
			d.each(n, "instances", func(n *yaml.Node) { cfg.Instances = append(cfg.Instances, d.instance(n)) })
		},
		"certificates": func(n *yaml.Node) {
			d.each(n, "certificates", func(n *yaml.Node) { cfg.Certificates = append(cfg.Certificates, d.certificate(n)) })
		},
	}
	for key, kind := range scalars {
		fields[key] = func(n *yaml.Node) {
			cfg.setPlace(key, d.pos(n))
			d.scalar(n, key, kind)
		}
	}
	fields["hooks"] = func(n *yaml.Node) { cfg.Hooks = append(cfg.Hooks, d.hooks(n)...) }
	d.object(root, "the configuration", d.hookRules(&cfg.HookRules, fields))
	for _, i := range d.commands {
		cfg.addHook(i)
	}
	return errors.Join(d.errs...)
}

// document gives the one document of a file; nil: it is empty.
func (d *decoder) document(data []byte) (*yaml.Node, error) {
	in := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := in.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil //nolint:nilnil // nothing is no mistake
	} else if err != nil {
		return nil, syntaxError(d.file, data, err)
	}
	if err := in.Decode(&more); err == nil {
		return nil, errorAt(d.pos(&more), "the file holds a second document, which would not be read")
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxError(d.file, data, err)
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil, nil //nolint:nilnil // as above
	}
	return doc.Content[0], nil
}

func (d *decoder) pos(n *yaml.Node) Pos { return Pos{File: d.file, Line: n.Line, Col: n.Column} }

func (d *decoder) fail(n *yaml.Node, format string, args ...any) {
	d.errs = append(d.errs, errorAt(d.pos(n), format, args...))
}

// object reads a mapping whose keys are known; unknown and repeated ones are
// mistakes.
func (d *decoder) object(n *yaml.Node, what string, fields map[string]func(*yaml.Node)) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		d.fail(n, "%s wants keys and values, not %s", what, kindOf(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, known := fields[key.Value]
		switch {
		case !known:
			d.fail(key, "%s has no key %q%s", what, key.Value, suggest(key.Value, fields))
		case seen[key.Value]:
			d.fail(key, "the key %q stands twice", key.Value)
		default:
			seen[key.Value] = true
			read(value)
		}
	}
}

func (d *decoder) each(n *yaml.Node, what string, read func(*yaml.Node)) {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		if n.Tag != "!!null" {
			d.fail(n, "%s wants a list, not %s", what, kindOf(n))
		}
		return
	}
	for _, item := range n.Content {
		read(item)
	}
}

func (d *decoder) text(n *yaml.Node, what string) string {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		d.fail(n, "%s wants a string, not %s", what, kindOf(n))
		return ""
	}
	return n.Value
}

func (d *decoder) texts(n *yaml.Node, what string) []string {
	var out []string
	d.each(n, what, func(n *yaml.Node) { out = append(out, d.text(n, what)) })
	return out
}

func (d *decoder) boolean(n *yaml.Node, what string) bool {
	var b bool
	if n = resolve(n); n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&b) != nil {
		d.fail(n, "%s wants true or false, not %s", what, kindOf(n))
	}
	return b
}

func (d *decoder) integer(n *yaml.Node, what string) int {
	var i int
	if n = resolve(n); n.Kind != yaml.ScalarNode || n.Tag != "!!int" || n.Decode(&i) != nil {
		d.fail(n, "%s wants a whole number, not %s", what, kindOf(n))
	}
	return i
}

func (d *decoder) duration(n *yaml.Node, what string) time.Duration {
	n = resolve(n)
	t, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || t < 0 {
		d.fail(n, "%s wants a duration such as 90s or 2m, not %s", what, kindOf(n))
	}
	return t
}

func (d *decoder) account(n *yaml.Node) Account {
	a := Account{Pos: d.pos(n)}
	d.object(n, "an account", map[string]func(*yaml.Node){
		"name":  func(n *yaml.Node) { a.Name = d.text(n, "name") },
		"email": func(n *yaml.Node) { a.Email = d.text(n, "email") },
		"server": func(n *yaml.Node) {
			a.Server = d.server(n)
		},
		"eab": func(n *yaml.Node) {
			eab, given := &EAB{}, false
			d.object(n, "eab", map[string]func(*yaml.Node){
				"kid":      func(n *yaml.Node) { eab.Kid = d.text(n, "kid") },
				"hmac_key": func(n *yaml.Node) { eab.HMACKey, given = d.secret(n, "hmac_key"), true },
			})
			if eab.Kid == "" || !given {
				d.fail(n, "eab wants kid and hmac_key")
			}
			a.EAB = eab
		},
	})
	if !validName(a.Name) {
		d.fail(n, "an account wants a name of lower-case letters, digits, dots, dashes and underscores, not %q", a.Name)
	}
	return a
}

func (d *decoder) server(n *yaml.Node) string {
	text := d.text(n, "server")
	if text == "" {
		return ""
	}
	u, err := ServerURL(text)
	if err != nil {
		d.fail(n, "%v", err)
	}
	return u
}

func (d *decoder) secret(n *yaml.Node, what string) model.SecretRef {
	var value any
	if err := resolve(n).Decode(&value); err != nil {
		d.fail(n, "%s: %v", what, err)
		return model.SecretRef{}
	}
	ref, err := secretRef(value)
	if err != nil {
		d.fail(n, "%s %v", what, err)
	}
	return ref
}

// dns takes key by key: several files may each say a part.
func (d *decoder) dns(n *yaml.Node, out *DNS) {
	d.object(n, "dns", map[string]func(*yaml.Node){
		"resolvers": func(n *yaml.Node) { out.Resolvers = d.texts(n, "resolvers") },
		"port":      func(n *yaml.Node) { out.Port = d.integer(n, "port") },
		"timeout":   func(n *yaml.Node) { out.Timeout = d.duration(n, "timeout") },
		"interval":  func(n *yaml.Node) { out.Interval = d.duration(n, "interval") },
		"skip":      func(n *yaml.Node) { out.Skip = d.boolean(n, "skip") },
	})
}

func (d *decoder) instance(n *yaml.Node) Instance {
	i := Instance{Pos: d.pos(n), Settings: map[string]Value{}}
	d.object(n, "an instance", map[string]func(*yaml.Node){
		"name":    func(n *yaml.Node) { i.Name = d.text(n, "name") },
		"plugin":  func(n *yaml.Node) { i.Plugin = d.text(n, "plugin") },
		"timeout": func(n *yaml.Node) { i.Timeout = d.duration(n, "timeout") },
		"sandbox": func(n *yaml.Node) {
			if i.Sandbox = d.scalarText(n); checkSandbox(i.Sandbox) != nil {
				d.fail(n, "%v", checkSandbox(i.Sandbox))
			}
		},
		"user": func(n *yaml.Node) { i.User = d.text(n, "user") },
		"settings": func(n *yaml.Node) {
			d.settings(n, i.Settings)
		},
	})
	if i.Plugin == "" {
		i.Plugin = i.Name
	}
	if err := checkInstanceName(i.Name); err != nil {
		d.fail(n, "%v", err)
	}
	return i
}

// scalarText takes "off", which older YAML has for false, as it is written.
func (d *decoder) scalarText(n *yaml.Node) string { return resolve(n).Value }

func checkSandbox(level string) error {
	switch level {
	case "required", "best-effort", "off":
		return nil
	}
	return fmt.Errorf("sandbox wants required, best-effort or off, not %q", level)
}

func checkInstanceName(name string) error {
	if !instanceName.MatchString(name) {
		return fmt.Errorf("an instance wants a name of lower-case letters, digits and dashes that starts with a letter, not %q", name)
	}
	if name == "dns" {
		return errors.New(`the instance name "dns" is reserved for the settings of the host's own DNS checks`)
	}
	return nil
}

func (d *decoder) settings(n *yaml.Node, into map[string]Value) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		d.fail(n, "settings wants keys and values, not %s", kindOf(n))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if _, twice := into[key.Value]; twice {
			d.fail(key, "the key %q stands twice", key.Value)
			continue
		}
		v := Value{Pos: d.pos(value)}
		if err := resolve(value).Decode(&v.Any); err != nil {
			d.fail(value, "setting %s: %v", key.Value, err)
		}
		if resolve(value).Tag == "!!timestamp" {
			v.Any = resolve(value).Value
		}
		into[key.Value] = v
	}
}

func (d *decoder) certificate(n *yaml.Node) Certificate {
	c := Certificate{Pos: d.pos(n)}
	d.object(n, "a certificate", d.hookRules(&c.HookRules, map[string]func(*yaml.Node){
		"name":    func(n *yaml.Node) { c.Name = d.text(n, "name") },
		"names":   func(n *yaml.Node) { c.Names = d.texts(n, "names") },
		"account": func(n *yaml.Node) { c.Account = d.text(n, "account") },
		"server":  func(n *yaml.Node) { c.Server = d.server(n) },
		"key_type": func(n *yaml.Node) {
			c.KeyType = model.KeyType(d.text(n, "key_type"))
			if err := checkKeyType(c.KeyType); err != nil {
				d.fail(n, "%v", err)
			}
		},
		"preferred_challenges": func(n *yaml.Node) {
			c.Preferred = d.challenges(n)
		},
		"authenticate": func(n *yaml.Node) {
			d.each(n, "authenticate", func(n *yaml.Node) { c.Authenticate = append(c.Authenticate, d.rule(n)) })
		},
		"deploy":         func(n *yaml.Node) { c.Deploy = d.texts(n, "deploy") },
		"all_or_nothing": func(n *yaml.Node) { c.AllOrNothing = d.boolean(n, "all_or_nothing") },
		"enhance":        func(n *yaml.Node) { c.Enhance = d.enhancements(n) },
		"hooks":          func(n *yaml.Node) { c.Hooks = d.hooks(n) },

		"required_profile":      func(n *yaml.Node) { c.RequiredProfile = d.text(n, "required_profile") },
		"preferred_profile":     func(n *yaml.Node) { c.PreferredProfile = d.text(n, "preferred_profile") },
		"preferred_chain":       func(n *yaml.Node) { c.PreferredChain = d.text(n, "preferred_chain") },
		"must_staple":           func(n *yaml.Node) { c.MustStaple = d.boolean(n, "must_staple") },
		"reuse_key":             func(n *yaml.Node) { c.ReuseKey = d.boolean(n, "reuse_key") },
		"not_before":            func(n *yaml.Node) { c.NotBefore = d.text(n, "not_before") },
		"not_after":             func(n *yaml.Node) { c.NotAfter = d.text(n, "not_after") },
		"allow_subset_of_names": func(n *yaml.Node) { c.AllowSubset = d.boolean(n, "allow_subset_of_names") },
	}))
	if len(c.Names) == 0 {
		d.fail(n, "a certificate wants names")
	}
	if len(c.Authenticate) == 0 {
		d.fail(n, "a certificate wants authenticate: which instances prove its names")
	}
	return c
}

func (d *decoder) challenges(n *yaml.Node) []string {
	var out []string
	d.each(n, "preferred_challenges", func(n *yaml.Node) {
		types := ChallengeTypes([]string{d.text(n, "preferred_challenges")})
		if err := checkChallenges(types); err != nil && n.Tag == "!!str" {
			d.fail(n, "%v", err)
		}
		out = append(out, types...)
	})
	return out
}

func (d *decoder) enhancements(n *yaml.Node) []string {
	var out []string
	d.each(n, "enhance", func(n *yaml.Node) {
		name := d.text(n, "enhance")
		if name != "" && !slices.Contains(model.Enhancements(), name) {
			d.fail(n, "%q is no enhancement: there are %s", name, strings.Join(model.Enhancements(), " and "))
		}
		out = append(out, name)
	})
	return out
}

func (d *decoder) rule(n *yaml.Node) model.Rule {
	var r model.Rule
	d.object(n, "a rule of authenticate", map[string]func(*yaml.Node){
		"match": func(n *yaml.Node) {
			var err error
			if r.Match, err = ParseMatch(d.text(n, "match")); err != nil {
				d.fail(n, "%v", err)
			}
		},
		"with": func(n *yaml.Node) { r.With = d.texts(n, "with") },
	})
	if len(r.With) == 0 {
		d.fail(n, "a rule of authenticate wants with: a list of instances")
	}
	return r
}

func checkKeyType(kt model.KeyType) error {
	if slices.Contains(model.KeyTypes(), kt) {
		return nil
	}
	var names []string
	for _, k := range model.KeyTypes() {
		names = append(names, string(k))
	}
	return fmt.Errorf("key type %q is not one of %s", kt, strings.Join(names, ", "))
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}

// suggest names the known key that an unknown one probably stands for.
func suggest(key string, fields map[string]func(*yaml.Node)) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	folded := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	for _, name := range names {
		a, b := folded(key), folded(name)
		if a == b || a+"s" == b || a == b+"s" {
			return fmt.Sprintf("; did you mean %q?", name)
		}
	}
	return "; it has " + strings.Join(names, ", ")
}
