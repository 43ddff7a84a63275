// Command certwright-plugin-standalone proves control of names by answering
// http-01 and tls-alpn-01 itself, from listeners that are open only while a
// challenge is.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newStandalone())) }

func declaration(s *standalone) sdk.Plugin {
	return sdk.Plugin{
		Name:           "standalone",
		Version:        version,
		Summary:        "answers http-01 and tls-alpn-01 from a listener of its own",
		Settings:       &s.settings,
		Authenticator:  s,
		ChallengeTypes: []string{sdk.HTTP01, sdk.TLSALPN01},
		ExclusiveResources: []sdk.Resource{
			{Kind: "tcp", Value: sdk.FromSetting("http_port")},
			{Kind: "tcp", Value: sdk.FromSetting("tls_port")},
		},
		Permissions: sdk.Permissions{
			BindTCP: []sdk.Value{sdk.FromSetting("http_port"), sdk.FromSetting("tls_port")},
		},
	}
}
