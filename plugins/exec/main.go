// Command certwright-plugin-exec runs the user's commands at the moments of a
// run, as certbot runs its hooks or as acme2certifier calls its own.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(&hooks{})) }

func declaration(h *hooks) sdk.Plugin {
	return sdk.Plugin{
		Name:     "exec",
		Version:  version,
		Summary:  "runs commands before, after and for each certificate that is obtained",
		Settings: &h.settings,
		Hook:     h,
		HookEvents: []string{
			sdk.EventPre, sdk.EventAttempt, sdk.EventSuccess, sdk.EventDryRun, sdk.EventAttempted, sdk.EventPost,
		},
		Env: sdk.UserEnv,
		Permissions: sdk.Permissions{
			Children:   true,
			Unconfined: true,
			Reason:     "runs the commands that the operator names",
		},
	}
}
