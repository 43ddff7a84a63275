// Command certwright-plugin-proxmox puts certificates into the nodes of Proxmox
// VE, by its API.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newProxmox())) }

func declaration(p *proxmox) sdk.Plugin {
	return sdk.Plugin{
		Name:      "proxmox",
		Version:   version,
		Summary:   "puts certificates into the nodes of Proxmox VE",
		Homepage:  "https://pve.proxmox.com/wiki/Proxmox_VE_API",
		Settings:  &p.settings,
		Installer: p,
		// What a node has is looked at and then replaced: one process at a time.
		ExclusiveResources: []sdk.Resource{{Kind: sdk.InstanceResource}},
		Permissions: sdk.Permissions{
			Read:       []sdk.Value{sdk.FromSetting("ca_file")},
			ConnectTCP: []sdk.Value{sdk.FromSetting("endpoint"), sdk.Literal("53")},
			UDP:        true,
			Key:        sdk.KeyBytes,
		},
	}
}
