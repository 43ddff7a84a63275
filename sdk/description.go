package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Description is what a plugin says of itself: the answer to Describe, and as
// JSON what its `describe` argument prints. Authors fill a [Plugin]; the host
// reads this.
type Description struct {
	// Protocol lists the majors of certwright.plugin.vN that are served.
	Protocol []int  `json:"protocol"`
	Name     string `json:"name"`
	Version  string `json:"version"`
	Summary  string `json:"summary"`
	Homepage string `json:"homepage,omitempty"`
	// Roles: "authenticator", "installer", "hook".
	Roles []string `json:"roles"`
	// Features are optional abilities: "prefer", "names", "config_test",
	// "rollback", "enhance", "health". Unknown ones are ignored.
	Features           []string        `json:"features,omitempty"`
	Settings           []Setting       `json:"settings,omitempty"`
	Permissions        Permissions     `json:"permissions"`
	DNS                DNSMode         `json:"dns,omitempty"`
	Env                EnvMode         `json:"env,omitempty"`
	ChallengeTypes     []ChallengeType `json:"challenge_types,omitempty"`
	ExclusiveResources []Resource      `json:"exclusive_resources,omitempty"`
	HookEvents         []string        `json:"hook_events,omitempty"`
	Serial             bool            `json:"serial,omitempty"`
}

// Roles of a plugin.
const (
	RoleAuthenticator = "authenticator"
	RoleInstaller     = "installer"
	RoleHook          = "hook"
)

// Features that the host knows.
const (
	FeaturePrefer     = "prefer"
	FeatureNames      = "names"
	FeatureConfigTest = "config_test"
	FeatureRollback   = "rollback"
	FeatureEnhance    = "enhance"
	FeatureHealth     = "health"
)

// DNSMode says who does the DNS work around the record of a challenge.
type DNSMode string

const (
	// HostDNS says that the host finds the zone, follows CNAMEs and waits until every
	// authoritative server shows the record. The zero value means this for
	// plugins that answer dns-01 or dns-account-01; [DNS] sets it.
	HostDNS DNSMode = "host"
	// SelfDNS says that the plugin gets name and value only, and the CA is asked as soon
	// as Perform returns.
	SelfDNS DNSMode = "self"
)

// EnvMode says which environment a plugin gets.
type EnvMode string

const (
	// MinimalEnv is only what Permissions.Environment names; the zero value.
	MinimalEnv EnvMode = "minimal"
	// UserEnv is the invoking environment less the host's own variables, for
	// plugins that run the user's scripts.
	UserEnv EnvMode = "user"
)

// ChallengeType is one that an authenticator answers.
type ChallengeType struct {
	Type string `json:"type"`
	// IdentifierTypes: "dns", "ip".
	IdentifierTypes []string `json:"identifier_types"`
}

// InstanceResource is the kind of a resource that is the instance itself: no two
// processes of the host use it at once. It has no value.
const InstanceResource = "instance"

// Resource is something that two plugins cannot have at once: kind "tcp" with a
// port, "stdout", "server" with the path of its configuration, or "instance".
type Resource struct {
	Kind  string `json:"kind"`
	Value Value  `json:"value,omitzero"`
}

// Value is a literal, or what a setting of the instance says at launch. As JSON
// it is a string, or {"setting": NAME}.
type Value struct {
	Literal string
	Setting string
}

// Literal makes a fixed value, FromSetting one that a setting decides.
func Literal(s string) Value { return Value{Literal: s} }

// FromSetting makes a value that the named setting decides at launch.
func FromSetting(name string) Value { return Value{Setting: name} }

// MarshalJSON writes the short form.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.Setting != "" {
		return json.Marshal(map[string]string{"setting": v.Setting})
	}
	return json.Marshal(v.Literal)
}

// UnmarshalJSON reads either form.
func (v *Value) UnmarshalJSON(b []byte) error {
	var object struct {
		Setting string `json:"setting"`
	}
	if json.Unmarshal(b, &v.Literal) == nil {
		return nil
	}
	if err := json.Unmarshal(b, &object); err != nil {
		return fmt.Errorf("a value is a string or {\"setting\": NAME}: %w", err)
	}
	if object.Setting == "" {
		return errors.New("a value is a string or {\"setting\": NAME}")
	}
	v.Setting = object.Setting
	return nil
}

// KeyAccess says what an installer gets of a certificate's private key.
type KeyAccess string

const (
	// KeyPath gives the path of the key file only; the zero value means this.
	KeyPath KeyAccess = "path"
	// KeyBytes gives the key itself: for remote installers and for those that
	// must write it into another file.
	KeyBytes KeyAccess = "bytes"
)

// AnyPort as a TCP permission means every port.
const AnyPort = "*"

// Permissions is all that a plugin may touch; the host enforces it as far as the
// kernel can. The zero value is nothing but its own state directory, a directory
// for temporary files (TMPDIR), and what name resolution and TLS read: no network,
// no other files, no other processes.
//
// What a path names is that file, or that directory and what is below it. A value
// from a setting stands for each item of a list or map, for the setting's default
// if it is not given, and for nothing if it is empty.
type Permissions struct {
	// Read: a path that does not exist when the plugin starts gives nothing.
	Read []Value `json:"read,omitempty"`
	// Write allows reading, too, and creating, renaming and removing. A file
	// that a setting names means its directory, because files are replaced by
	// renaming others over them; if it does not exist yet, it means the nearest
	// parent that does. A literal means itself, and nothing if it does not exist.
	// A plugin without Write cannot change modes and owners of files, not even of
	// its own; with it, those of files that it has open (File.Chmod, fchmod(2)), and
	// with Children, too, of any by path.
	Write []Value `json:"write,omitempty"`
	// Execute allows reading, too. It is needed beside Children for what is
	// outside /usr, /bin, /sbin and /lib*.
	Execute []Value `json:"execute,omitempty"`
	// ConnectTCP and BindTCP are ports: a number, host:port, a URL (the port of
	// its scheme if it names none) or AnyPort. Addresses are not restricted. A
	// value without a port gives nothing: name the port that is used then with a
	// literal. Port 0 to bind is one that the kernel chooses.
	ConnectTCP []Value `json:"connect_tcp,omitempty"`
	BindTCP    []Value `json:"bind_tcp,omitempty"`
	// UDP allows datagrams. Who connects to hosts by name needs it and port 53.
	UDP bool `json:"udp,omitempty"`
	// UnixSockets are paths to connect to, or "@" and an abstract name.
	UnixSockets []Value `json:"unix_sockets,omitempty"`
	// Children allows child processes, and what the system has in /usr, /bin,
	// /sbin and /lib* to be executed.
	Children bool `json:"children,omitempty"`
	// Signals allows signals to processes outside the plugin's sandbox.
	Signals bool `json:"signals,omitempty"`
	// Environment names variables to be passed on.
	Environment []string  `json:"environment,omitempty"`
	Key         KeyAccess `json:"key,omitempty"`
	// Unconfined asks for no sandbox at all; Reason says why.
	Unconfined bool `json:"unconfined,omitempty"`
	// UnconfinedBy names settings, such as a user's command, with which there is
	// no sandbox. Without them there is one. Reason says why.
	UnconfinedBy []string `json:"unconfined_by,omitempty"`
	Reason       string   `json:"reason,omitempty"`
}
