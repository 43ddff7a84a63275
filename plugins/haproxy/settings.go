package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Binary  string `setting:"binary" default:"/usr/sbin/haproxy" doc:"haproxy's program, which tests the configuration"`
	Config  string `setting:"config" default:"/etc/haproxy/haproxy.cfg" doc:"configuration file, or a directory of .cfg files; it is read only"`
	Socket  string `setting:"socket" doc:"stats socket of level admin, or a master's socket: a path, or host:port"`
	CrtList string `setting:"crt_list" doc:"crt-list file that a bind line names; new certificates get a line in it"`
	CrtDir  string `setting:"crt_dir" doc:"directory that certificates are written to, as NAME.pem"`
	Map     string `setting:"map" doc:"http-01 by a map: its name, as the configuration has it"`
	Listen  int    `setting:"listen" default:"0" doc:"http-01 by a listener: the port on 127.0.0.1 and ::1 that haproxy passes the challenges to; 0: none"`
	Reload  string `setting:"reload" doc:"command that reloads haproxy, where the runtime API is not used or cannot do it"`
}

// onSocket is what a word of a command may be: the runtime API gives a meaning
// to spaces, semicolons, quotes and backslashes.
var onSocket = regexp.MustCompile(`^[A-Za-z0-9_./@%+=:,~-]+$`)

// check gives one problem for each setting that is wrong.
func (s settings) check() error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, "setting "+setting+": "+format, args...)
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	for _, p := range []struct{ setting, path string }{
		{"binary", s.Binary}, {"config", s.Config}, {"crt_dir", s.CrtDir}, {"crt_list", s.CrtList},
	} {
		if p.path != "" && !filepath.IsAbs(p.path) {
			wrong(p.setting, "write the whole path", "%s is not an absolute path", p.path)
		}
	}
	for _, p := range []struct{ setting, path string }{{"crt_dir", s.CrtDir}, {"crt_list", s.CrtList}, {"map", s.Map}} {
		if p.path != "" && !onSocket.MatchString(p.path) {
			wrong(p.setting, "rename it", "%q has a character that haproxy's runtime API gives a meaning to", p.path)
		}
	}
	if s.Socket != "" && !filepath.IsAbs(s.Socket) {
		host, port, err := net.SplitHostPort(s.Socket)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
			wrong("socket", "write it as in the line \"stats socket\" of haproxy.cfg", "%q is neither a path nor host:port", s.Socket)
		}
	}
	if s.Listen < 0 || s.Listen > 65535 {
		wrong("listen", "use a port from 1 to 65535, or leave the setting out", "%d is not a TCP port", s.Listen)
	}
	if s.Map != "" && s.Listen != 0 {
		wrong("listen", "keep one of the two", "http-01 is answered by the map already (setting map)")
	}
	if s.Map != "" && s.Socket == "" {
		wrong("socket", "name the socket of a line \"stats socket\" in haproxy.cfg", "it is missing: the map is filled through it")
	}
	if s.CrtList != "" && s.CrtDir == "" {
		wrong("crt_dir", "name the directory that the certificates are to be written to", "it is missing: crt_list names files only")
	}
	if s.CrtDir != "" && s.Socket == "" && s.Reload == "" {
		wrong("socket", "set socket, or reload, or both", "it is missing, and there is no reload command: haproxy would not take a new certificate")
	}
	if s.Map == "" && s.Listen == 0 && s.CrtDir == "" {
		wrong("crt_dir", "set map or listen for http-01, crt_dir to have certificates deployed", "there is nothing to do: map, listen and crt_dir are all missing")
	}
	return errors.Join(errs...)
}

// notInstaller is what the installer says when the settings are those of an
// authenticator.
func notInstaller() error {
	err := sdk.Problemf(sdk.InvalidConfig, "the setting crt_dir is missing, so there is no place for certificates")
	return sdk.Hint(sdk.Subject(sdk.Permanent(err), "crt_dir"), "set crt_dir to the directory that haproxy.cfg names after \"crt\"")
}

// notAuthenticator is the opposite.
func notAuthenticator() error {
	err := sdk.Problemf(sdk.InvalidConfig, "neither of the settings map and listen is set, so no challenge can be answered")
	return sdk.Hint(sdk.Subject(sdk.Permanent(err), "map"), "set map or listen, and put the lines of the plugin's page into haproxy.cfg")
}

// startCommand is what starts haproxy where nothing else does.
func (s settings) startCommand() string { return fmt.Sprintf("%s -D -f %s", s.Binary, s.Config) }
