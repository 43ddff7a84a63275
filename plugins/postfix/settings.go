package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	ConfigDir        string   `setting:"config_dir" default:"/etc/postfix" doc:"directory of main.cf and master.cf"`
	CommandDirectory string   `setting:"command_directory" default:"/usr/sbin" doc:"directory of the programs postfix and postconf"`
	QueueDirectory   string   `setting:"queue_directory" default:"/var/spool/postfix" doc:"queue_directory of main.cf, where Postfix keeps its process number"`
	ServerOnly       bool     `setting:"server_only" doc:"change nothing about mail that Postfix sends"`
	TLSOnly          bool     `setting:"tls_only" doc:"set certificate and security level only, not protocols, ciphers and smtpd_tls_auth_only"`
	IgnoreOverrides  bool     `setting:"ignore_master_overrides" doc:"deploy although services in master.cf override what is set with something less secure"`
	Endpoints        []string `setting:"endpoints" doc:"where the certificate is to be seen after the reload, in place of what master.cf says: smtp://host:port for STARTTLS, host:port for TLS at once"`
}

// check gives one problem for each setting that is wrong.
func (s settings) check() error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, "setting %s: %w", setting, fmt.Errorf(format, args...))
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	for _, d := range []struct{ setting, path string }{
		{"config_dir", s.ConfigDir}, {"command_directory", s.CommandDirectory},
		{"queue_directory", s.QueueDirectory},
	} {
		if !filepath.IsAbs(d.path) {
			wrong(d.setting, "give the whole path, beginning with a slash", "%q is not an absolute path", d.path)
		}
	}
	if _, err := parseEndpoints(s.Endpoints); err != nil {
		wrong("endpoints", "write smtp://mail.example.com:25 or mail.example.com:465", "%w", err)
	}
	return errors.Join(errs...)
}

func (s settings) mainCF() string   { return filepath.Join(s.ConfigDir, "main.cf") }
func (s settings) pidFile() string  { return filepath.Join(s.QueueDirectory, "pid", "master.pid") }
func (s settings) masterCF() string { return filepath.Join(s.ConfigDir, "master.cf") }

func parseEndpoints(list []string) ([]sdk.Endpoint, error) {
	var out []sdk.Endpoint
	for _, text := range list {
		e := sdk.Endpoint{Address: text, Kind: sdk.TLS}
		if address, ok := strings.CutPrefix(text, "smtp://"); ok {
			e = sdk.Endpoint{Address: address, Kind: sdk.SMTP}
		}
		if _, _, err := splitService(e.Address); err != nil || !strings.Contains(e.Address, ":") {
			return nil, fmt.Errorf("%q is not host:port", text)
		}
		out = append(out, e)
	}
	return out, nil
}
