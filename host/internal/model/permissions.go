package model

import "github.com/certwright/certwright/sdk"

// Unconfined is the line of [PermissionLines] that stands for everything.
const Unconfined = "do everything that its user may"

// PermissionLines says what a plugin may do, each line to be read after "may".
func PermissionLines(p sdk.Permissions) []string {
	var out []string
	add := func(what string, values []sdk.Value) {
		for _, v := range values {
			if v.Setting != "" {
				out = append(out, what+" what the setting "+v.Setting+" says")
			} else {
				out = append(out, what+" "+v.Literal)
			}
		}
	}
	add("read", p.Read)
	add("write", p.Write)
	add("execute", p.Execute)
	add("connect to TCP port", p.ConnectTCP)
	add("listen on TCP port", p.BindTCP)
	add("use the unix socket", p.UnixSockets)
	flag := func(text string, on bool) {
		if on {
			out = append(out, text)
		}
	}
	flag("use UDP", p.UDP)
	flag("start other programs", p.Children)
	flag("signal other processes", p.Signals)
	for _, name := range p.Environment {
		out = append(out, "see the environment variable "+name)
	}
	flag("see private keys", p.Key == sdk.KeyBytes)
	for _, name := range p.UnconfinedBy {
		out = append(out, Unconfined+", if the setting "+name+" is given")
	}
	flag(Unconfined, p.Unconfined)
	return out
}
