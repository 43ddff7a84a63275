// Command certwright-plugin-haproxy proves control of names through a running
// haproxy, and puts certificates into it.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newHAProxy())) }

func declaration(h *haproxy) sdk.Plugin {
	return sdk.Plugin{
		Name:           "haproxy",
		Version:        version,
		Summary:        "answers http-01 through a running haproxy, and puts certificates into it",
		Settings:       &h.settings,
		Authenticator:  h,
		Installer:      h,
		ChallengeTypes: []string{sdk.HTTP01},
		ExclusiveResources: []sdk.Resource{
			{Kind: "server", Value: sdk.FromSetting("config")},
			{Kind: "tcp", Value: sdk.FromSetting("listen")},
		},
		Permissions: sdk.Permissions{
			// haproxy -c reads whatever the configuration names.
			Read:    []sdk.Value{sdk.Literal("/")},
			Write:   []sdk.Value{sdk.FromSetting("crt_dir"), sdk.FromSetting("crt_list")},
			Execute: []sdk.Value{sdk.FromSetting("binary")},
			// systemctl starts a haproxy that is stopped.
			UnixSockets: []sdk.Value{sdk.FromSetting("socket"), sdk.Literal(systemdSocket), sdk.Literal(busSocket)},
			// It asks whatever address haproxy listens on as the CA will, and
			// haproxy -c looks up the names of its servers.
			ConnectTCP: []sdk.Value{sdk.Literal(sdk.AnyPort)},
			UDP:        true,
			BindTCP:    []sdk.Value{sdk.FromSetting("listen")},
			Children:   true,
			Key:        sdk.KeyBytes,
			// What the reload command needs is the operator's to know.
			UnconfinedBy: []string{"reload"},
			Reason:       "runs the reload command that the operator names",
		},
	}
}
