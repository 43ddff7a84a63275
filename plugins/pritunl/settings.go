package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Endpoint    string     `setting:"endpoint,required" doc:"address of Pritunl's web interface, for instance https://vpn.example.com"`
	APIToken    string     `setting:"api_token,required" doc:"token of an administrator for whom API access is enabled"`
	APISecret   sdk.Secret `setting:"api_secret,required" doc:"the administrator's API secret"`
	CAFile      string     `setting:"ca_file" doc:"roots for the endpoint's certificate before it is ours; default: the system's"`
	Fingerprint string     `setting:"fingerprint" doc:"SHA-256 of the endpoint's certificate before it is ours, in place of roots"`
	ServedAt    []string   `setting:"served_at" doc:"host:port of each host's web interface, where the certificate is to be seen; default: the endpoint"`
}

// check gives one problem for each setting that is wrong, and fills in what
// follows from others.
func (s *settings) check() error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, "setting %s: %w", setting, fmt.Errorf(format, args...))
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	at, err := url.Parse(s.Endpoint)
	if err != nil || at.Scheme != "https" || at.Hostname() == "" {
		wrong("endpoint", "write it as https://vpn.example.com", "%q is no https URL", s.Endpoint)
	} else if len(s.ServedAt) == 0 {
		port := at.Port()
		if port == "" {
			port = "443"
		}
		s.ServedAt = []string{net.JoinHostPort(at.Hostname(), port)}
	}
	for _, credential := range []struct{ setting, value string }{{"api_token", s.APIToken}, {"api_secret", string(s.APISecret)}} {
		if credential.value == "" || strings.ContainsAny(credential.value, " \r\n\t&") {
			wrong(credential.setting, "copy it from Administrators in Pritunl's web interface", "it is empty, or has white space or an ampersand in it")
		}
	}
	for _, address := range s.ServedAt {
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			wrong("served_at", "write it as vpn1.example.com:443", "%q is not host:port", address)
		}
	}
	return errors.Join(errs...)
}
