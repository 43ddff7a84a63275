// Command certwright-plugin-files puts certificates and keys into files, with
// owner and mode, and runs the operator's test and reload commands.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newFiles())) }

func declaration(f *files) sdk.Plugin {
	var paths []sdk.Value
	for _, k := range kinds {
		paths = append(paths, sdk.FromSetting(k.setting))
	}
	return sdk.Plugin{
		Name:      "files",
		Version:   version,
		Summary:   "puts certificates and keys into files, and runs a reload command",
		Settings:  &f.settings,
		Installer: f,
		Permissions: sdk.Permissions{
			// Owners are looked up.
			Read:  []sdk.Value{sdk.Literal("/etc/passwd"), sdk.Literal("/etc/group")},
			Write: paths,
			Key:   sdk.KeyBytes,
			// What the commands need is the operator's to know.
			UnconfinedBy: []string{"test", "reload"},
			Reason:       "runs the test and reload commands that the operator names",
		},
	}
}
