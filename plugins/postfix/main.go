// Command certwright-plugin-postfix puts certificates into Postfix, for STARTTLS
// and for TLS from the start.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newPostfix())) }

func declaration(p *postfix) sdk.Plugin {
	config := sdk.FromSetting("config_dir")
	return sdk.Plugin{
		Name:      "postfix",
		Version:   version,
		Summary:   "puts certificates into Postfix's main.cf, and proves them by STARTTLS",
		Settings:  &p.settings,
		Installer: p,
		ExclusiveResources: []sdk.Resource{
			{Kind: "server", Value: sdk.FromSetting("config_dir")},
		},
		Permissions: sdk.Permissions{
			// In the queue directory is the number of the process to signal.
			Read: []sdk.Value{
				config, sdk.FromSetting("queue_directory"), sdk.Literal("/etc/postfix"),
				sdk.Literal("/etc/mailname"), sdk.Literal("/etc/passwd"), sdk.Literal("/etc/group"),
			},
			Write: []sdk.Value{config},
			Execute: []sdk.Value{
				sdk.FromSetting("command_directory"), sdk.Literal(systemctl), sdk.Literal("/bin/sh"),
			},
			// The log, and what starts a Postfix that does not run.
			UnixSockets: []sdk.Value{sdk.Literal("/dev/log"), sdk.Literal("/run/systemd/private"), sdk.Literal("/run/dbus/system_bus_socket")},
			UDP:         true, // postmap looks at the interfaces, and up the names in inet_interfaces
			Children:    true,
			Signals:     true,
			Key:         sdk.KeyPath,
		},
	}
}
