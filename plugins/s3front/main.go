// Command certwright-plugin-s3front answers http-01 through an S3 bucket, and
// puts certificates into CloudFront distributions by way of ACM or IAM.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newFront())) }

func declaration(f *front) sdk.Plugin {
	return sdk.Plugin{
		Name:           "s3front",
		Version:        version,
		Summary:        "answers http-01 through an S3 bucket, and puts certificates into CloudFront",
		Settings:       &f.settings,
		Authenticator:  f,
		Installer:      f,
		Hook:           f,
		HookEvents:     []string{sdk.EventPre, sdk.EventPost},
		ChallengeTypes: []string{sdk.HTTP01},
		Permissions: sdk.Permissions{
			// AWS is reached by names, at 443; the rest is what the settings say.
			ConnectTCP: []sdk.Value{
				sdk.Literal("443"), sdk.Literal("53"),
				sdk.FromSetting("endpoint"), sdk.FromSetting("verify_port"), sdk.FromSetting("instance_metadata"),
			},
			UDP: true,
			Key: sdk.KeyBytes,
		},
	}
}
