package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Server      string     `setting:"server" default:"https://localhost:8443" doc:"address of Plesk: https://host:8443"`
	SecretKey   sdk.Secret `setting:"secret_key" doc:"secret key of the XML API, made by: plesk bin secret_key --create -ip-address ADDRESS"`
	Login       string     `setting:"login" doc:"login of the XML API, if there is no secret key"`
	Password    sdk.Secret `setting:"password" doc:"password of that login"`
	CAFile      string     `setting:"ca_file" doc:"file with the CA certificates to trust for Plesk in place of the system's"`
	Fingerprint string     `setting:"fingerprint" doc:"SHA-256 of Plesk's own certificate, in hex, in place of any CA"`
	Challenges  []string   `setting:"challenges" doc:"challenge types to offer, most preferred first: dns-01, http-01; empty: dns-01, and http-01 too if filemng is set"`

	Filemng string `setting:"filemng" doc:"absolute path of Plesk's filemng, on the same machine, for http-01: mostly /usr/local/psa/admin/bin/filemng"`
	VHosts  string `setting:"vhosts" default:"/var/www/vhosts" doc:"directory that holds the document roots of all sites, for http-01"`

	Certificate string   `setting:"certificate" default:"Certwright {name}" doc:"name of the certificate in Plesk; {name} stands for the one it has here"`
	Certmng     string   `setting:"certmng" doc:"absolute path of Plesk's certmng, on the same machine, mostly /usr/local/psa/admin/bin/certmng: then Plesk itself is given the certificate too, and the plugin has no sandbox"`
	PanelFile   string   `setting:"panel_file" default:"/usr/local/psa/admin/conf/httpsd.pem" doc:"file that certmng writes, of which what is there before us is kept"`
	Endpoints   []string `setting:"endpoints" doc:"where an installed certificate is to be seen: host:port; {name} stands for the name; empty: it is not looked for"`
}

const placeholder = "{name}"

// check gives one problem for each setting that is wrong.
func (s settings) check() error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, "setting "+setting+": "+format, args...)
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	switch {
	case s.SecretKey != "" && (s.Login != "" || s.Password != ""):
		wrong("secret_key", "keep secret_key, or login and password", "there is a login too")
	case s.SecretKey == "" && (s.Login == "" || s.Password == ""):
		wrong("secret_key", "make one by: plesk bin secret_key --create -ip-address ADDRESS", "there are no credentials: it is missing, and login or password too")
	}
	for name, text := range map[string]string{"secret_key": string(s.SecretKey), "login": s.Login, "password": string(s.Password)} {
		if strings.ContainsAny(strings.TrimSpace(text), "\r\n") {
			wrong(name, "refer to the value alone", "it has several lines")
		}
	}
	if u, err := url.Parse(s.Server); err != nil || u.Scheme != "https" && !loopback(u) {
		wrong("server", "write https://host:8443", "%q is no https URL; without TLS Plesk is spoken to on this machine only", s.Server)
	}
	for _, c := range s.Challenges {
		switch {
		case c != sdk.DNS01 && c != sdk.HTTP01:
			wrong("challenges", "write dns-01, http-01 or both", "%q is not answered by this plugin", c)
		case c == sdk.HTTP01 && s.Filemng == "":
			wrong("filemng", "set it to /usr/local/psa/admin/bin/filemng", "http-01 is wanted, which needs it")
		}
	}
	for name, path := range map[string]string{"filemng": s.Filemng, "vhosts": s.VHosts, "certmng": s.Certmng, "panel_file": s.PanelFile} {
		if path != "" && !filepath.IsAbs(path) {
			wrong(name, "write an absolute path", "%s is not an absolute path", path)
		}
	}
	if s.Certmng != "" && s.Fingerprint != "" {
		wrong("fingerprint", "set ca_file instead, or use http://localhost:8880", "with certmng the certificate that it is of is replaced")
	}
	if strings.TrimSpace(s.Certificate) == "" {
		wrong("certificate", "write for instance: Certwright "+placeholder, "a certificate has a name in Plesk")
	}
	if _, err := s.endpoints("example.com"); err != nil {
		wrong("endpoints", "write host:port, for instance {name}:443", "%v", err)
	}
	return errors.Join(errs...)
}

// loopback is what may be spoken to without TLS: Plesk listens on 8880 for that.
func loopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// types are the challenge types that this instance answers.
func (s settings) types() []string {
	switch {
	case len(s.Challenges) > 0:
		return s.Challenges
	case s.Filemng != "":
		return []string{sdk.DNS01, sdk.HTTP01}
	}
	return []string{sdk.DNS01}
}

func (s settings) endpoints(name string) ([]sdk.Endpoint, error) {
	var out []sdk.Endpoint
	for _, text := range s.Endpoints {
		address := strings.ReplaceAll(text, placeholder, name)
		host, port, err := net.SplitHostPort(address)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
			return nil, fmt.Errorf("%q is not host:port", text)
		}
		out = append(out, sdk.Endpoint{Address: address, Kind: sdk.TLS})
	}
	return out, nil
}
