// Command certwright-plugin-icecast puts certificates into Icecast.
package main

import (
	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/service"
)

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newIcecast())) }

func declaration(i *icecast) sdk.Plugin {
	return sdk.Plugin{
		Name:      "icecast",
		Version:   version,
		Summary:   "puts certificates into Icecast and restarts it",
		Settings:  &i.settings,
		Installer: i,
		ExclusiveResources: []sdk.Resource{
			{Kind: "server", Value: sdk.FromSetting("config")},
		},
		Permissions: sdk.Permissions{
			Read: []sdk.Value{
				sdk.FromSetting("pidfile"), sdk.Literal(service.Booted), sdk.Literal("/proc"),
				sdk.Literal("/etc/passwd"), sdk.Literal("/etc/group"),
			},
			Write:       []sdk.Value{sdk.FromSetting("config"), sdk.FromSetting("bundle")},
			Execute:     []sdk.Value{sdk.Literal(service.Systemctl)},
			ConnectTCP:  []sdk.Value{sdk.FromSetting("ssl_port"), sdk.FromSetting("endpoints"), sdk.Literal("53")},
			UDP:         true, // endpoints may be names
			UnixSockets: []sdk.Value{sdk.Literal("/run/systemd/private"), sdk.Literal("/run/dbus/system_bus_socket")},
			Children:    true,
			Signals:     true,
			Key:         sdk.KeyBytes,
			// What the command needs is the operator's to know.
			UnconfinedBy: []string{"restart_command"},
			Reason:       "runs the operator's restart_command",
		},
	}
}
