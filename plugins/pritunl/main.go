// Command certwright-plugin-pritunl puts certificates into the web interface of
// Pritunl, by its settings API.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newPritunl())) }

func declaration(p *pritunl) sdk.Plugin {
	return sdk.Plugin{
		Name:      "pritunl",
		Version:   version,
		Summary:   "puts certificates into the web interface of Pritunl",
		Homepage:  "https://docs.pritunl.com/kb/vpn/development/api",
		Settings:  &p.settings,
		Installer: p,
		// What is there is looked at and then replaced: one process at a time.
		ExclusiveResources: []sdk.Resource{{Kind: sdk.InstanceResource}},
		Permissions: sdk.Permissions{
			Read:       []sdk.Value{sdk.FromSetting("ca_file")},
			ConnectTCP: []sdk.Value{sdk.FromSetting("endpoint"), sdk.FromSetting("served_at"), sdk.Literal("53")},
			UDP:        true,
			Key:        sdk.KeyBytes,
		},
	}
}
