// Command certwright-plugin-varnish proves control of names through a running
// Varnish Cache.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newVarnish())) }

func declaration(v *varnish) sdk.Plugin {
	return sdk.Plugin{
		Name:           "varnish",
		Version:        version,
		Summary:        "answers http-01 through a running Varnish Cache",
		Settings:       &v.settings,
		Authenticator:  v,
		ChallengeTypes: []string{sdk.HTTP01},
		ExclusiveResources: []sdk.Resource{
			{Kind: "server", Value: sdk.FromSetting("address")},
			{Kind: "server", Value: sdk.FromSetting("workdir")},
			{Kind: "tcp", Value: sdk.FromSetting("listen")},
		},
		Permissions: sdk.Permissions{
			Read:       []sdk.Value{sdk.FromSetting("secret_file"), sdk.FromSetting("workdir")},
			ConnectTCP: []sdk.Value{sdk.FromSetting("address")},
			BindTCP:    []sdk.Value{sdk.FromSetting("listen")},
		},
	}
}
