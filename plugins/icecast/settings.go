package main

import (
	"errors"
	"net"
	"path/filepath"
	"strconv"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Config    string   `setting:"config" default:"/etc/icecast2/icecast.xml" doc:"Icecast's configuration; what is needed for TLS is written into it"`
	Bundle    string   `setting:"bundle" default:"/etc/icecast2/icecast.pem" doc:"file with certificate, chain and key that is written, and named in the configuration"`
	Owner     string   `setting:"owner" doc:"owner of the bundle, as Icecast's user must be able to read it: user or user:group; default: as it is, else changeowner of the configuration, else the user icecast2"`
	SSLPort   int      `setting:"ssl_port" default:"8443" doc:"port of the socket for TLS that is added if there is none; 0: the first socket that there is becomes it"`
	Restart   string   `setting:"restart_command" doc:"command that stops and starts Icecast; default: icecast2.service is restarted"`
	Pidfile   string   `setting:"pidfile" doc:"where a supervisor starts Icecast again whenever it ends: pidfile of the configuration, whose process gets SIGTERM"`
	Endpoints []string `setting:"endpoints" doc:"where the certificate is to be seen, host:port; default: the sockets for TLS of the configuration"`
}

// check gives one problem for each setting that is wrong.
func (s settings) check() error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, "setting "+setting+": "+format, args...)
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	for _, p := range []struct{ setting, path string }{{"config", s.Config}, {"bundle", s.Bundle}, {"pidfile", s.Pidfile}} {
		if p.path != "" && !filepath.IsAbs(p.path) {
			wrong(p.setting, "write the whole path", "%s is not an absolute path", p.path)
		}
	}
	for _, c := range s.Bundle {
		if c < ' ' || c > '~' {
			wrong("bundle", "choose another path", "%q has a character that not every encoding of the configuration has", s.Bundle)
			break
		}
	}
	if s.SSLPort < 0 || s.SSLPort > 65535 {
		wrong("ssl_port", "use a port from 1 to 65535, or 0", "%d is not a TCP port", s.SSLPort)
	}
	if s.Restart != "" && s.Pidfile != "" {
		wrong("pidfile", "keep one of the two", "restart_command is set too")
	}
	for _, e := range s.Endpoints {
		host, port, err := net.SplitHostPort(e)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
			wrong("endpoints", "write host:port", "%q is no place to look at", e)
		}
	}
	return errors.Join(errs...)
}
