// Command certwright-plugin-manual proves control of names by the hands of a
// person, or by commands that a person has written.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(&manual{})) }

func declaration(m *manual) sdk.Plugin {
	return sdk.Plugin{
		Name:          "manual",
		Version:       version,
		Summary:       "asks a person to put the proofs in place, or runs hook commands with certbot's environment",
		Settings:      &m.settings,
		Authenticator: m,
		Hook:          m,
		// Of the last one only a hook can have the certificate.
		ChallengeTypes: []string{sdk.HTTP01, sdk.DNS01, sdk.TLSALPN01},
		HookEvents:     []string{sdk.EventPre},
		DNS:            sdk.SelfDNS,
		Env:            sdk.UserEnv,
		// A person does one thing after the other.
		Serial: true,
		Permissions: sdk.Permissions{
			Children:   true,
			Unconfined: true,
			Reason:     "runs the hook commands that the user names",
		},
	}
}
