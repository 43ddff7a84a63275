// Command certwright-plugin-apache answers http-01 challenges through a running
// Apache httpd, and deploys certificates into its virtual hosts.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(&apache{})) }

func declaration(a *apache) sdk.Plugin {
	return sdk.Plugin{
		Name:               "apache",
		Version:            version,
		Summary:            "Apache httpd: answers http-01, deploys into virtual hosts",
		Settings:           &a.settings,
		Authenticator:      a,
		Installer:          a,
		ChallengeTypes:     []string{sdk.HTTP01},
		ExclusiveResources: []sdk.Resource{{Kind: "server", Value: sdk.FromSetting("config")}},
		Permissions: sdk.Permissions{
			// httpd reads whatever its configuration names, when it tests it too.
			Read: []sdk.Value{sdk.Literal("/")},
			Write: []sdk.Value{
				sdk.FromSetting("config"), sdk.FromSetting("server_root"), sdk.FromSetting("writes"),
				sdk.Literal("/etc/apache2"), sdk.Literal("/etc/httpd"),
				// Debian's apache2ctl makes directories there, even for a test.
				sdk.Literal("/run/apache2"), sdk.Literal("/run/lock/apache2"),
			},
			Execute: []sdk.Value{sdk.FromSetting("ctl")},
			// It looks up the names that its configuration has.
			ConnectTCP: []sdk.Value{sdk.FromSetting("http_port"), sdk.Literal("53")},
			UDP:        true,
			BindTCP:    []sdk.Value{sdk.FromSetting("http_port"), sdk.FromSetting("https_port")},
			// systemctl starts a server that is stopped.
			UnixSockets: []sdk.Value{sdk.Literal("/run/systemd/private"), sdk.Literal("/run/dbus/system_bus_socket")},
			Children:    true,
			Signals:     true,
			Key:         sdk.KeyPath,
		},
	}
}
