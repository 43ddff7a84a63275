// Package model holds the values that the stages of a run pass to each other:
// data only, no behaviour beyond printing and comparing.
package model

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// The vocabulary of the plugin contract is used through the host as it is.
type (
	// Identifier is what a certificate is for: a DNS name or an IP address.
	Identifier = sdk.Identifier
	// Challenge is one proof that the CA asks for (RFC 8555 section 8).
	Challenge = sdk.Challenge
	// Endpoint is where a deployed certificate can be seen served.
	Endpoint = sdk.Endpoint
	// Paths are the files of one version of a certificate.
	Paths = sdk.Paths
	// Problem is a failure told to the user.
	Problem = sdk.Problem
)

// KeyType names the key of a certificate.
type KeyType string

// Key types; the zero value means P256.
const (
	P256    KeyType = "p256"
	P384    KeyType = "p384"
	RSA2048 KeyType = "rsa2048"
	RSA3072 KeyType = "rsa3072"
	RSA4096 KeyType = "rsa4096"
)

// KeyTypes lists them all, the default first.
func KeyTypes() []KeyType { return []KeyType{P256, P384, RSA2048, RSA3072, RSA4096} }

// Enhancements that an installer may set.
const (
	Redirect = "redirect"
	HSTS     = "hsts"
)

// Enhancements lists them all.
func Enhancements() []string { return []string{Redirect, HSTS} }

// Rule says which instances may prove a name, in order of preference.
type Rule struct {
	// Match is an exact name, "*.x", a ".zone" suffix or "type:ip"; empty
	// matches everything.
	Match string `json:"match,omitempty"`
	// With are instances of which the first that can is used, the next ones are
	// the fallback.
	With []string `json:"with,omitempty"`
	// WithAll are instances that all have to put the response in place: a zone
	// that is served by two providers. One of With and WithAll is set.
	WithAll []string `json:"with_all,omitempty"`
}

// Instances that the rule names.
func (r Rule) Instances() []string { return slices.Concat(r.With, r.WithAll) }

// Ways gives what may prove a name, in order: each is a set of instances that
// do it together, mostly one.
func (r Rule) Ways() [][]string {
	var out [][]string
	for _, name := range r.With {
		out = append(out, []string{name})
	}
	if len(r.WithAll) > 0 {
		out = append(out, r.WithAll)
	}
	return out
}

// Matches says whether the rule is for this identifier.
func (r Rule) Matches(id Identifier) bool {
	switch {
	case r.Match == "":
		return true
	case strings.HasPrefix(r.Match, "type:"):
		return id.Type == strings.TrimPrefix(r.Match, "type:")
	case strings.HasPrefix(r.Match, "."):
		return strings.HasSuffix("."+id.Value, r.Match)
	default:
		return id.String() == r.Match
	}
}

// Instance is one configured plugin.
type Instance struct {
	Name   string `json:"name"`
	Plugin string `json:"plugin"`
	// Settings are effective values of the settings that are not secret.
	Settings map[string]any `json:"settings,omitempty"`
	// Secrets are references by setting name, never values.
	Secrets map[string]SecretRef `json:"secrets,omitempty"`
	// Literals are what was given as it is in maps of secrets.
	Literals Literals `json:"literals,omitempty"`
	// Timeout of one call; zero: the default of the call.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Sandbox is the level of its sandbox; empty: the default.
	Sandbox string `json:"sandbox,omitempty"`
	// User that its process runs as; empty: the host's.
	User string `json:"user,omitempty"`
}

// Literals are secrets that were given as they are, by setting and name. They
// are written nowhere: as JSON, which is how an instance is kept, they are the
// names alone, and have no values when they are read again. The plugin keeps
// them if it needs them.
type Literals map[string]map[string]string

// MarshalJSON gives the names.
func (l Literals) MarshalJSON() ([]byte, error) {
	names := map[string][]string{}
	for setting, values := range l {
		names[setting] = slices.Sorted(maps.Keys(values))
	}
	return json.Marshal(names)
}

// UnmarshalJSON reads the names.
func (l *Literals) UnmarshalJSON(data []byte) error {
	var names map[string][]string
	if err := json.Unmarshal(data, &names); err != nil {
		return err
	}
	*l = Literals{}
	for setting, list := range names {
		(*l)[setting] = map[string]string{}
		for _, name := range list {
			(*l)[setting][name] = ""
		}
	}
	return nil
}

// Given are the settings that a plugin is told, with the literals whose values
// are known.
func (i Instance) Given() map[string]any {
	out := maps.Clone(i.Settings)
	for setting, values := range i.Literals {
		known := map[string]string{}
		for name, value := range values {
			if value != "" {
				known[name] = value
			}
		}
		if len(known) == 0 {
			continue
		}
		if out == nil {
			out = map[string]any{}
		}
		out[setting] = known
	}
	return out
}

// SecretRef says where a secret is; exactly one field is set.
type SecretRef struct {
	File string `json:"file,omitempty"`
	Env  string `json:"env,omitempty"`
	// Command is a line for /bin/sh that prints it.
	Command string `json:"command,omitempty"`
	// Credential is the name of one that systemd has loaded for the unit.
	Credential string `json:"credential,omitempty"`
}

// Parts gives the kind of the reference, as in a configuration, and its target.
func (r SecretRef) Parts() (kind, target string) {
	switch {
	case r.Env != "":
		return "env", r.Env
	case r.Command != "":
		return "command", r.Command
	case r.Credential != "":
		return "credential", r.Credential
	}
	return "file", r.File
}

// String names the reference, for messages.
func (r SecretRef) String() string {
	kind, target := r.Parts()
	if kind == "env" {
		kind = "environment variable"
	}
	return kind + " " + target
}

// Request is one certificate that is wanted.
type Request struct {
	// Name of the lineage.
	Name        string       `json:"name"`
	Identifiers []Identifier `json:"identifiers"`
	KeyType     KeyType      `json:"key_type"`
	// Server is the CA's directory URL; Account names the account there.
	Server  string `json:"server"`
	Account string `json:"account"`
	// CABundle is a file of roots for the connection to the CA; empty: the
	// system's.
	CABundle     string   `json:"ca_bundle,omitempty"`
	Authenticate []Rule   `json:"authenticate,omitempty"`
	Deploy       []string `json:"deploy,omitempty"`
	Hooks        []string `json:"hooks,omitempty"`
	// Always are hooks of every certificate; they are not the lineage's own.
	Always []string `json:"-"`
	// Preferred are challenge types in the user's order; empty: the plugins'.
	Preferred []string `json:"preferred_challenges,omitempty"`
	// CSR is a certificate request made elsewhere (DER); its key is not ours to
	// keep. Empty: a key and a request are made.
	CSR []byte `json:"csr,omitempty"`
	// KeyPath is where the key of a CSR is, for installers.
	KeyPath string `json:"key_path,omitempty"`
	// AllOrNothing deploys to all targets, or to none if one fails.
	AllOrNothing bool `json:"all_or_nothing,omitempty"`
	// Enhance lists what is set at the installers that can: Redirect, HSTS.
	Enhance []string `json:"enhance,omitempty"`
	Options
}

// Options of a certificate beyond its names and key.
type Options struct {
	// RequiredProfile must be offered by the CA; PreferredProfile is used if it
	// is.
	RequiredProfile  string `json:"required_profile,omitempty"`
	PreferredProfile string `json:"preferred_profile,omitempty"`
	// PreferredChain is the common name of an issuer in the chain that is
	// wanted, if the CA offers several.
	PreferredChain string `json:"preferred_chain,omitempty"`
	// MustStaple asks for the extension of RFC 7633.
	MustStaple bool `json:"must_staple,omitempty"`
	// ReuseKey renews with the key of the version before.
	ReuseKey bool `json:"reuse_key,omitempty"`
	// NotBefore and NotAfter ask for a validity (RFC 8555 section 7.4): RFC
	// 3339, or +DURATION from now. Empty: the CA decides.
	NotBefore string `json:"not_before,omitempty"`
	NotAfter  string `json:"not_after,omitempty"`
	// AllowSubset takes a certificate of the names that could be proven.
	AllowSubset bool `json:"allow_subset_of_names,omitempty"`
	// HookRules say whether hooks may fail.
	HookRules
}

// HookRules say whether hooks may fail; nil: not said.
type HookRules struct {
	AllowPre     *bool `json:"allow_pre_hook_failure,omitempty"`
	AllowSuccess *bool `json:"allow_success_hook_failure,omitempty"`
	AllowPost    *bool `json:"allow_post_hook_failure,omitempty"`
}

// Or fills in what is not said.
func (h HookRules) Or(other HookRules) HookRules {
	return HookRules{cmp.Or(h.AllowPre, other.AllowPre), cmp.Or(h.AllowSuccess, other.AllowSuccess), cmp.Or(h.AllowPost, other.AllowPost)}
}

// Ways gives what may prove an identifier, by the first rule that matches.
func (r Request) Ways(id Identifier) [][]string {
	for _, rule := range r.Authenticate {
		if rule.Matches(id) {
			return rule.Ways()
		}
	}
	return nil
}

// Names gives the identifiers as they stand in the certificate.
func (r Request) Names() []string { return Names(r.Identifiers) }

// Names gives identifiers as text.
func Names(ids []Identifier) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, id.String())
	}
	return out
}

// Public says whether a text that a plugin is given as it is cannot be a secret,
// whatever the setting: one of the names or a domain above one, a part of the CA's
// URL, an address, the number of a port. To mask these would spoil what is told.
func (r Request) Public(text string) bool {
	text = strings.ToLower(strings.TrimSuffix(text, "."))
	if port, err := strconv.ParseUint(text, 10, 16); err == nil && port > 0 {
		return true
	}
	return IsIP(text) || text == "localhost" || strings.Contains(strings.ToLower(r.Server), "//"+text) ||
		slices.ContainsFunc(r.Identifiers, func(id Identifier) bool {
			return text == id.Value || strings.HasSuffix(id.Value, "."+text)
		})
}

// Uses lists every instance that the request uses, sorted, once.
func (r Request) Uses() []string {
	var out []string
	for _, rule := range r.Authenticate {
		out = append(out, rule.Instances()...)
	}
	out = append(out, r.Deploy...)
	out = append(out, r.AllHooks()...)
	slices.Sort(out)
	return slices.Compact(out)
}

// AllHooks are the hooks of the certificate, those of every certificate first.
func (r Request) AllHooks() []string {
	own := slices.DeleteFunc(slices.Clone(r.Hooks), func(name string) bool { return slices.Contains(r.Always, name) })
	return append(slices.Clone(r.Always), own...)
}

// SameNames says whether two lists hold the same identifiers in any order.
func SameNames(a, b []Identifier) bool {
	x, y := Names(a), Names(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(slices.Compact(x), slices.Compact(y))
}

// IsIP says whether a name given by a user is an IP address.
func IsIP(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}
