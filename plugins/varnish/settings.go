package main

import (
	"errors"
	"net"
	"path/filepath"
	"strconv"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Address    string `setting:"address" default:"localhost:6082" doc:"varnishd's command line, its option -T: host:port"`
	SecretFile string `setting:"secret_file" default:"/etc/varnish/secret" doc:"varnishd's option -S; read only if varnishd asks for it"`
	Workdir    string `setting:"workdir" doc:"varnishd's option -n, a path: -T and -S are looked up there; address and secret_file are then only what a sandbox lets through"`
	Listen     int    `setting:"listen" default:"0" doc:"leave the VCL alone: the port on 127.0.0.1 and ::1 that a backend of it leads to; 0: load a VCL"`
}

// check gives one problem for each setting that is wrong.
func (s settings) check() error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, "setting "+setting+": "+format, args...)
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	if s.Listen < 0 || s.Listen > 65535 {
		wrong("listen", "use a port from 1 to 65535, or leave the setting out", "%d is not a TCP port", s.Listen)
	}
	for _, p := range []struct{ setting, path string }{{"secret_file", s.SecretFile}, {"workdir", s.Workdir}} {
		if p.path != "" && !filepath.IsAbs(p.path) {
			wrong(p.setting, "write the whole path", "%s is not an absolute path", p.path)
		}
	}
	if s.Address == "*" && s.Workdir != "" {
		return errors.Join(errs...) // any port: varnishd has chosen one
	}
	host, port, err := net.SplitHostPort(s.Address)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
		wrong("address", "write what stands after -T in varnishd's command line", "%q is not host:port", s.Address)
	}
	return errors.Join(errs...)
}
