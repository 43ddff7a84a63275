// Command certwright-plugin-rfc2136 proves control of names by TXT records that
// it adds and deletes by DNS UPDATE (RFC 2136), signed by TSIG (RFC 8945).
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(&rfc2136{})) }

func declaration(r *rfc2136) sdk.Plugin {
	return sdk.Plugin{
		Name:          "rfc2136",
		Version:       version,
		Summary:       "answers dns-01 and dns-account-01 by DNS UPDATE to a name server, signed by TSIG",
		Settings:      &r.settings,
		Authenticator: sdk.DNSOf(r),
		Permissions: sdk.Permissions{
			// 53 is the port of a server that is given without one, and of the
			// resolver that a server's name is looked up with.
			ConnectTCP: []sdk.Value{sdk.FromSetting("server"), sdk.Literal("53")},
			UDP:        true,
		},
	}
}
