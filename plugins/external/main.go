// Command certwright-plugin-external lets another program prove names and take
// certificates: by JSON objects on standard output, or by a handler script.
package main

import (
	"time"

	"github.com/certwright/certwright/sdk"
)

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newExternal(time.Now()))) }

func declaration(e *external) sdk.Plugin {
	return sdk.Plugin{
		Name:               "external",
		Version:            version,
		Summary:            "speaks JSON with the calling program, or runs a handler, as certbot-external-auth did",
		Settings:           &e.settings,
		Authenticator:      e,
		Installer:          e,
		Hook:               e,
		ChallengeTypes:     []string{sdk.DNS01, sdk.HTTP01},
		ExclusiveResources: []sdk.Resource{{Kind: "stdout"}},
		HookEvents:         []string{sdk.EventPre, sdk.EventSuccess, sdk.EventFinish},
		DNS:                sdk.SelfDNS,
		Env:                sdk.UserEnv,
		Serial:             true,
		Permissions: sdk.Permissions{
			Children:   true,
			Unconfined: true,
			Reason:     "runs the handler that the user names",
		},
	}
}
