// Command certwright-plugin-hitch puts certificates into hitch, the TLS proxy of
// Varnish.
package main

import (
	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/service"
)

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newHitch())) }

func declaration(h *hitch) sdk.Plugin {
	files := []sdk.Value{sdk.FromSetting("pem_dir"), sdk.FromSetting("pem_file")}
	return sdk.Plugin{
		Name:      "hitch",
		Version:   version,
		Summary:   "puts certificates into hitch and reloads it",
		Settings:  &h.settings,
		Installer: h,
		ExclusiveResources: []sdk.Resource{
			{Kind: "server", Value: sdk.FromSetting("config")},
		},
		Permissions: sdk.Permissions{
			Read: append([]sdk.Value{
				sdk.FromSetting("config"), sdk.FromSetting("pidfile"), sdk.FromSetting("also_read"),
				sdk.Literal(service.Booted), sdk.Literal("/proc"), sdk.Literal("/etc/passwd"), sdk.Literal("/etc/group"),
			}, files...),
			Write:       files,
			Execute:     []sdk.Value{sdk.FromSetting("binary"), sdk.Literal(service.Systemctl)},
			UnixSockets: []sdk.Value{sdk.Literal("/run/systemd/private"), sdk.Literal("/run/dbus/system_bus_socket")},
			Children:    true,
			Signals:     true,
			Key:         sdk.KeyBytes,
		},
	}
}
