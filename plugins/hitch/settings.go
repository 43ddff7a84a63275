package main

import (
	"errors"
	"path/filepath"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	PemDir    string   `setting:"pem_dir" doc:"directory that certificates are written to, as NAME.pem; hitch.conf has it as pem-dir, or names the files"`
	PemFile   string   `setting:"pem_file" doc:"the one file that hitch.conf has as pem-file, for one certificate; in place of pem_dir"`
	Config    string   `setting:"config" default:"/etc/hitch/hitch.conf" doc:"hitch's configuration; it is read only"`
	Pidfile   string   `setting:"pidfile" doc:"hitch's option --pidfile; without it hitch.service is reloaded"`
	Binary    string   `setting:"binary" default:"/usr/sbin/hitch" doc:"hitch's program, which tests the configuration"`
	Endpoints []string `setting:"endpoints" doc:"where the certificate is to be seen, host:port; default: the frontends of hitch.conf"`
	AlsoRead  []string `setting:"also_read" doc:"what else hitch.conf names, for a sandbox: the test of the configuration reads it"`
}

// check gives one problem for each setting that is wrong.
func (s settings) check() error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, "setting "+setting+": "+format, args...)
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	paths := []struct{ setting, path string }{
		{"pem_dir", s.PemDir}, {"pem_file", s.PemFile}, {"config", s.Config}, {"pidfile", s.Pidfile}, {"binary", s.Binary},
	}
	for _, path := range s.AlsoRead {
		paths = append(paths, struct{ setting, path string }{"also_read", path})
	}
	for _, p := range paths {
		if p.path != "" && !filepath.IsAbs(p.path) {
			wrong(p.setting, "write the whole path", "%s is not an absolute path", p.path)
		}
	}
	switch {
	case s.PemDir == "" && s.PemFile == "":
		wrong("pem_dir", "set pem_dir to the pem-dir of hitch.conf, or pem_file to its pem-file", "there is no place for certificates")
	case s.PemDir != "" && s.PemFile != "":
		wrong("pem_file", "keep one of the two", "pem_dir is set too")
	}
	for _, e := range s.Endpoints {
		if !isEndpoint(e) {
			wrong("endpoints", "write host:port", "%q is no place to look at", e)
		}
	}
	return errors.Join(errs...)
}
