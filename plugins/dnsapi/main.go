// Command certwright-plugin-dnsapi proves control of names by the dns_*.sh scripts of
// acme.sh, or scripts of the same kind, without acme.sh.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(&dnsapi{})) }

func declaration(d *dnsapi) sdk.Plugin {
	return sdk.Plugin{
		Name:           "dnsapi",
		Version:        version,
		Summary:        "answers dns-01 by the dns_*.sh scripts of acme.sh, without acme.sh",
		Settings:       &d.settings,
		Authenticator:  d,
		ChallengeTypes: []string{sdk.DNS01},
		DNS:            sdk.SelfDNS,
		Env:            sdk.UserEnv,
		// Scripts remove whole record sets: while one order is being validated, no
		// other may clean up.
		Serial:             true,
		ExclusiveResources: []sdk.Resource{{Kind: sdk.InstanceResource}},
		Permissions: sdk.Permissions{
			Children: true, Unconfined: true,
			Reason: "it runs a script of the user's choice, which may need anything",
		},
	}
}
