// Command certwright-plugin-haproxy proves control of names through a running
// haproxy, and puts certificates into it.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newHAProxy())) }

func declaration(h *haproxy) sdk.Plugin {
	files := []sdk.Value{sdk.FromSetting("config"), sdk.FromSetting("crt_dir"), sdk.FromSetting("crt_list")}
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
			Read:        files,
			Write:       files[1:],
			Execute:     []sdk.Value{sdk.FromSetting("binary"), sdk.Literal(shell), sdk.Literal(systemctl)},
			UnixSockets: []sdk.Value{sdk.FromSetting("socket")},
			BindTCP:     []sdk.Value{sdk.FromSetting("listen")},
			Children:    true,
			Signals:     true,
			Key:         sdk.KeyBytes,
			// The test reads whatever the configuration names, and what the reload
			// command needs is the operator's to know.
			Unconfined: true,
			Reason:     "runs haproxy -c, which reads all that the configuration names, and the reload command",
		},
	}
}
