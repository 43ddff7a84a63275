// Command certwright-plugin-dehydrated runs hook scripts that were made for
// dehydrated, with the arguments, environment and order that they know.
package main

import (
	"syscall"

	"github.com/certwright/certwright/sdk"
)

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() {
	// As under dehydrated, whose hooks write keys.
	syscall.Umask(0o077)
	sdk.Serve(declaration(&dehydrated{}))
}

func declaration(d *dehydrated) sdk.Plugin {
	return sdk.Plugin{
		Name:           "dehydrated",
		Version:        version,
		Summary:        "runs a dehydrated hook script: challenges, certificates, and all that it is told besides",
		Settings:       &d.settings,
		Authenticator:  d,
		Installer:      d,
		Hook:           d,
		ChallengeTypes: []string{sdk.DNS01, sdk.HTTP01, sdk.TLSALPN01},
		HookEvents: []string{
			sdk.EventStart, sdk.EventUnchanged, sdk.EventCSR, sdk.EventCAFailure, sdk.EventChallengeInvalid,
			sdk.EventIssued, sdk.EventSuccess, sdk.EventFinish,
		},
		DNS: sdk.SelfDNS,
		Env: sdk.UserEnv,
		// Hooks may count on being alone.
		Serial: true,
		Permissions: sdk.Permissions{
			Children:   true,
			Unconfined: true,
			Reason:     "runs the hook script that the user names",
		},
	}
}
