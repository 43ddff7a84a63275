// Command certwright-plugin-plesk proves control of names by the DNS zones or
// the document roots that Plesk keeps, and installs certificates for its sites.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newPlesk())) }

func declaration(p *plesk) sdk.Plugin {
	return sdk.Plugin{
		Name:           "plesk",
		Version:        version,
		Summary:        "answers dns-01 by Plesk's zones and http-01 by its document roots, and installs certificates for its sites",
		Homepage:       "https://docs.plesk.com/en-US/obsidian/api-rpc/",
		Settings:       &p.settings,
		Authenticator:  p,
		Installer:      p,
		ChallengeTypes: []string{sdk.DNS01, sdk.DNSAccount01, sdk.HTTP01},
		// .htaccess is looked at and then written: one process at a time.
		ExclusiveResources: []sdk.Resource{{Kind: sdk.InstanceResource}},
		Permissions: sdk.Permissions{
			Read: []sdk.Value{
				sdk.FromSetting("ca_file"), sdk.FromSetting("vhosts"),
				// filemng becomes the site's user, and reads where Plesk is.
				sdk.Literal("/etc/passwd"), sdk.Literal("/etc/group"), sdk.Literal("/etc/psa"), sdk.Literal("/usr/local/psa"),
			},
			Write:      []sdk.Value{sdk.FromSetting("vhosts")},
			Execute:    []sdk.Value{sdk.FromSetting("filemng")},
			Children:   true,
			ConnectTCP: []sdk.Value{sdk.FromSetting("server"), sdk.Literal("53")},
			UDP:        true,
			Key:        sdk.KeyBytes,
			// It replaces Plesk's own files and restarts its web server.
			UnconfinedBy: []string{"certmng"},
			Reason:       "certmng changes Plesk itself",
		},
	}
}
