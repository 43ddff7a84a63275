// Command certwright-plugin-gandi proves control of names by Gandi LiveDNS or by
// files on a Simple Hosting instance, and uploads certificates for the virtual
// hosts of one.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newGandi())) }

func declaration(g *gandi) sdk.Plugin {
	return sdk.Plugin{
		Name:           "gandi",
		Version:        version,
		Summary:        "answers dns-01 by Gandi LiveDNS and http-01 on Simple Hosting, and uploads certificates to it",
		Homepage:       "https://api.gandi.net/docs/livedns/",
		Settings:       &g.settings,
		Authenticator:  g,
		Installer:      g,
		Hook:           g,
		HookEvents:     []string{sdk.EventPost},
		ChallengeTypes: []string{sdk.DNS01, sdk.DNSAccount01, sdk.HTTP01},
		// A record set and the file .htaccess are read, changed and written back:
		// one process at a time.
		ExclusiveResources: []sdk.Resource{{Kind: sdk.InstanceResource}},
		Permissions: sdk.Permissions{
			Read: []sdk.Value{sdk.FromSetting("ca_file"), sdk.FromSetting("known_hosts")},
			ConnectTCP: []sdk.Value{
				sdk.FromSetting("endpoint"), sdk.FromSetting("rpc_endpoint"), sdk.FromSetting("sftp_server"),
				// The sftp server that the API names, and the resolver.
				sdk.Literal("22"), sdk.Literal("53"),
			},
			UDP: true,
			Key: sdk.KeyBytes,
		},
	}
}
