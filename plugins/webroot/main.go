// Command certwright-plugin-webroot proves control of names by files below the
// document root of a web server that runs already.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(&webroot{})) }

func declaration(w *webroot) sdk.Plugin {
	// Of a map the values are meant: the directories.
	roots := []sdk.Value{sdk.FromSetting("path"), sdk.FromSetting("map")}
	return sdk.Plugin{
		Name:           "webroot",
		Version:        version,
		Summary:        "answers http-01 by files below the document root of a running web server",
		Settings:       &w.settings,
		Authenticator:  w,
		ChallengeTypes: []string{sdk.HTTP01},
		Permissions:    sdk.Permissions{Read: roots, Write: roots},
	}
}
