// Command certwright-plugin-nginx proves control of names by the nginx that runs
// and puts certificates into its configuration.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newNginx())) }

func declaration(n *nginx) sdk.Plugin {
	return sdk.Plugin{
		Name:           "nginx",
		Version:        version,
		Summary:        "answers http-01 through nginx, and deploys to it",
		Settings:       &n.settings,
		Authenticator:  n,
		Installer:      n,
		ChallengeTypes: []string{sdk.HTTP01},
		ExclusiveResources: []sdk.Resource{
			{Kind: "server", Value: sdk.FromSetting("config")},
		},
		Permissions: sdk.Permissions{
			// nginx -t opens all that the configuration names: certificates, keys,
			// modules, logs, the file of its number, temporary directories and the
			// addresses themselves; it looks up the names of upstream servers.
			Read: []sdk.Value{sdk.Literal("/")},
			Write: []sdk.Value{
				sdk.FromSetting("config"), sdk.FromSetting("prefix"), sdk.FromSetting("error_log"), sdk.FromSetting("writes"),
				sdk.Literal("/etc/nginx"), sdk.Literal("/var/log"), sdk.Literal("/run"), sdk.Literal("/var/lib/nginx"), sdk.Literal("/var/cache/nginx"),
			},
			Execute: []sdk.Value{sdk.FromSetting("binary")},
			BindTCP: []sdk.Value{sdk.Literal(sdk.AnyPort)},
			// systemctl starts an nginx that is stopped.
			UnixSockets: []sdk.Value{sdk.Literal("/run/systemd/private"), sdk.Literal("/run/dbus/system_bus_socket")},
			ConnectTCP:  []sdk.Value{sdk.FromSetting("http_port"), sdk.Literal("53")},
			UDP:         true,
			Children:    true,
			Signals:     true,
			Key:         sdk.KeyPath,
		},
	}
}
