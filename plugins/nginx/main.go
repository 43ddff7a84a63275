// Command certwright-plugin-nginx proves control of names by the nginx that runs
// and puts certificates into its configuration.
package main

import "github.com/certwright/certwright/sdk"

// version is set by the linker: -ldflags "-X main.version=...".
var version = "0.1.0"

func main() { sdk.Serve(declaration(newNginx())) }

func declaration(n *nginx) sdk.Plugin {
	files := []sdk.Value{sdk.FromSetting("config"), sdk.FromSetting("prefix"), sdk.Literal("/etc/nginx")}
	return sdk.Plugin{
		Name:           "nginx",
		Version:        version,
		Summary:        "answers http-01 through nginx, and deploys to it",
		Settings:       &n.settings,
		Authenticator:  n,
		Installer:      n,
		ChallengeTypes: []string{sdk.HTTP01},
		ExclusiveResources: []sdk.Resource{
			{Kind: "server", Value: sdk.FromSetting("config")},
		},
		Permissions: sdk.Permissions{
			// /proc shows which workers still serve the old configuration.
			Read:       append(files, sdk.FromSetting("error_log"), sdk.Literal("/proc"), sdk.Literal("/run")),
			Write:      files,
			Execute:    []sdk.Value{sdk.FromSetting("binary"), sdk.Literal(systemctl)},
			ConnectTCP: []sdk.Value{sdk.FromSetting("http_port")},
			Children:   true,
			Signals:    true,
			Key:        sdk.KeyPath,
			// nginx -t opens all that the configuration names: certificates, keys,
			// modules, logs, temporary directories and the addresses themselves.
			Unconfined: true,
			Reason:     "runs nginx -t and nginx -s reload, which open whatever the configuration names",
		},
	}
}
