// Command certwright-plugin-heroku answers http-01 by config vars of a Heroku
// app, and puts certificates into its SNI endpoints.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newHeroku())) }

func declaration(h *heroku) sdk.Plugin {
	return sdk.Plugin{
		Name:           "heroku",
		Version:        version,
		Summary:        "answers http-01 by config vars of Heroku apps, and puts certificates into their SNI endpoints",
		Homepage:       "https://devcenter.heroku.com/articles/platform-api-reference",
		Settings:       &h.settings,
		Authenticator:  h,
		Installer:      h,
		ChallengeTypes: []string{sdk.HTTP01},
		// A config var is read, changed and written back: one process at a time.
		ExclusiveResources: []sdk.Resource{{Kind: sdk.InstanceResource}},
		Permissions: sdk.Permissions{
			Read:       []sdk.Value{sdk.FromSetting("ca_file")},
			ConnectTCP: []sdk.Value{sdk.FromSetting("endpoint"), sdk.Literal("53")},
			UDP:        true,
			Key:        sdk.KeyBytes,
		},
	}
}
