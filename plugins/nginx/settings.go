package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Binary    string   `setting:"binary" default:"nginx" doc:"the program, by name or absolute path"`
	Config    string   `setting:"config" default:"/etc/nginx/nginx.conf" doc:"absolute path of the main configuration file; passed on as -c"`
	Prefix    string   `setting:"prefix" doc:"nginx's prefix directory, if it is not the built-in one; passed on as -p"`
	ErrorLog  string   `setting:"error_log" doc:"nginx's first error log, if it is not the built-in one; passed on as -e"`
	Writes    []string `setting:"writes" doc:"more directories of nginx's logs and temporary files: the sandbox allows /var/log, /run, /var/lib/nginx, /var/cache/nginx and those of the other settings"`
	HTTPPort  int      `setting:"http_port" default:"80" doc:"port on which nginx serves plain HTTP; the CA always asks port 80"`
	HTTPSPort int      `setting:"https_port" default:"443" doc:"port on which nginx serves or is to serve HTTPS"`
}

// check gives one problem for each setting that is wrong.
func (s settings) check() error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, "setting %s: %w", setting, fmt.Errorf(format, args...))
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	for _, p := range []struct {
		setting string
		path    string
		must    bool
	}{{"config", s.Config, true}, {"prefix", s.Prefix, false}} {
		if (p.must || p.path != "") && !filepath.IsAbs(p.path) {
			wrong(p.setting, "give the whole path, beginning with a slash", "%q is not an absolute path", p.path)
		}
	}
	if s.ErrorLog != "" && s.ErrorLog != "stderr" && !filepath.IsAbs(s.ErrorLog) {
		wrong("error_log", "give the whole path, or stderr", "%q is not an absolute path", s.ErrorLog)
	}
	if s.Binary == "" || s.Binary != filepath.Base(s.Binary) && !filepath.IsAbs(s.Binary) {
		wrong("binary", "give the program's name or its whole path", "%q is neither a name nor an absolute path", s.Binary)
	}
	for _, p := range []struct {
		setting string
		number  int
	}{{"http_port", s.HTTPPort}, {"https_port", s.HTTPSPort}} {
		if p.number < 1 || p.number > 65535 {
			wrong(p.setting, "use a port from 1 to 65535", "%d is not a TCP port", p.number)
		}
	}
	if s.HTTPPort == s.HTTPSPort {
		wrong("https_port", "give http_port and https_port different ports", "port %d is http_port already", s.HTTPSPort)
	}
	return errors.Join(errs...)
}

func (s settings) ports() ports { return ports{http: s.HTTPPort, https: s.HTTPSPort} }
