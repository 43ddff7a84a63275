package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Token       sdk.Secret    `setting:"token" doc:"personal access token for LiveDNS"`
	APIKey      sdk.Secret    `setting:"api_key" doc:"API key of 24 characters: for Simple Hosting, and for LiveDNS where there is no token (deprecated by Gandi)"`
	SharingID   string        `setting:"sharing_id" doc:"organization that LiveDNS is asked for, if the token or key is of several"`
	Endpoint    string        `setting:"endpoint" default:"https://api.gandi.net/v5/livedns" doc:"address of the LiveDNS API"`
	RPCEndpoint string        `setting:"rpc_endpoint" default:"https://rpc.gandi.net/xmlrpc/" doc:"address of the XML-RPC API, which Simple Hosting needs"`
	CAFile      string        `setting:"ca_file" doc:"file with the CA certificates to trust for both APIs in place of the system's"`
	TTL         time.Duration `setting:"ttl" default:"300s" doc:"time to live of TXT records; Gandi allows no less than 300s"`
	Challenges  []string      `setting:"challenges" doc:"challenge types to offer, most preferred first: dns-01, http-01; empty: those that there are credentials for"`

	Instance     string     `setting:"instance" doc:"name of the Simple Hosting instance, of which the API gives the sftp server, its user and its type"`
	InstanceType string     `setting:"instance_type" doc:"type of the instance, for instance phpmysql or nodejspgsql; empty: the API is asked"`
	SFTPServer   string     `setting:"sftp_server" doc:"sftp server of the instance: host or host:port; empty: the API is asked"`
	SFTPUser     string     `setting:"sftp_user" doc:"user of the sftp server; empty: the API is asked"`
	SFTPKey      sdk.Secret `setting:"sftp_key" doc:"private SSH key for the sftp server, without passphrase"`
	SFTPPassword sdk.Secret `setting:"sftp_password" doc:"password for the sftp server, if there is no key"`
	HostKey      string     `setting:"host_key" doc:"host key of the sftp server: its SHA256:… fingerprint, or the key as known_hosts has it"`
	KnownHosts   string     `setting:"known_hosts" doc:"known_hosts file that has the sftp server's key"`
	VHost        string     `setting:"vhost" doc:"virtual host of a PHP instance whose files answer http-01; empty: the one that is called as the name"`

	Endpoints   []string `setting:"endpoints" doc:"where an uploaded certificate is to be seen: host:port; {name} stands for the name; empty: it is not looked for"`
	DeleteOther bool     `setting:"delete_other" doc:"after an upload, delete hosted certificates for the same names too that certwright has not uploaded"`
}

// leastTTL is what LiveDNS allows, mostTTL too.
const (
	leastTTL = 300 * time.Second
	mostTTL  = 2592000 * time.Second
)

const placeholder = "{name}"

// keyPattern is what Gandi's key looks like (24 characters of old, longer now).
var keyPattern = regexp.MustCompile(`^[A-Za-z0-9]{24,}$`)

// check gives one problem for each setting that is wrong.
func (s settings) check() error {
	var errs []error
	wrong := func(setting, hint, format string, args ...any) {
		p := sdk.Problemf(sdk.InvalidConfig, "setting "+setting+": "+format, args...)
		p.Subject, p.Retry, p.Hint = setting, sdk.RetryNever, hint
		errs = append(errs, p)
	}
	if s.Token == "" && s.APIKey == "" && !s.sftpLogin() {
		wrong("token", "set token for LiveDNS, api_key for Simple Hosting, or sftp_key for files on an instance", "there are no credentials")
	}
	if s.APIKey != "" && !keyPattern.MatchString(string(s.APIKey)) {
		wrong("api_key", "copy the key alone; a personal access token belongs into the setting token", "that is no API key: it has 24 letters and digits")
	}
	if strings.ContainsAny(string(s.Token), " \t\r\n") {
		wrong("token", "copy the token alone, without spaces", "that is no token")
	}
	if s.TTL < leastTTL || s.TTL > mostTTL {
		wrong("ttl", "write a time from 300s to 720h", "%s is a time to live that LiveDNS refuses", s.TTL)
	}
	for _, c := range s.Challenges {
		if c != sdk.DNS01 && c != sdk.HTTP01 {
			wrong("challenges", "write dns-01, http-01 or both", "%q is not answered by this plugin", c)
		}
	}
	s.checkSFTP(wrong)
	if _, err := s.endpoints("example.com"); err != nil {
		wrong("endpoints", "write host:port, for instance {name}:443", "%v", err)
	}
	return errors.Join(errs...)
}

func (s settings) checkSFTP(wrong func(setting, hint, format string, args ...any)) {
	if slices.Contains(s.types(), sdk.HTTP01) {
		if !s.sftpLogin() {
			wrong("sftp_key", "set sftp_key or sftp_password", "http-01 is wanted, but there is no login for the sftp server")
		}
		if s.HostKey == "" && s.KnownHosts == "" {
			wrong("host_key", "set host_key to what `ssh-keyscan HOST | ssh-keygen -lf -` shows, once you have compared it, or known_hosts to a file",
				"without it the sftp server could be anybody")
		}
		asked := s.SFTPServer == "" || s.SFTPUser == "" || s.InstanceType == ""
		if asked && (s.Instance == "" || s.APIKey == "") {
			wrong("instance", "set instance and api_key, or all of sftp_server, sftp_user and instance_type",
				"nothing says where the files go")
		}
	}
	if s.KnownHosts != "" && !filepath.IsAbs(s.KnownHosts) {
		wrong("known_hosts", "write an absolute path", "%s is not an absolute path", s.KnownHosts)
	}
	if s.InstanceType != "" && baseOf(s.InstanceType, "x") == "" {
		wrong("instance_type", "write php, python, nodejs or ruby", "%q is none that is known", s.InstanceType)
	}
	if strings.ContainsAny(s.VHost, "/\x00") || strings.HasPrefix(s.VHost, ".") {
		wrong("vhost", "write the name of the virtual host", "%q is not the name of a virtual host", s.VHost)
	}
	if s.HostKey != "" {
		if _, _, err := pinned(s.HostKey); err != nil {
			wrong("host_key", "write SHA256: and the fingerprint, or type and key as in known_hosts", "%v", err)
		}
	}
}

func (s settings) sftpLogin() bool { return s.SFTPKey != "" || s.SFTPPassword != "" }

// types are the challenge types that this instance answers.
func (s settings) types() []string {
	if len(s.Challenges) > 0 {
		return s.Challenges
	}
	var out []string
	if s.Token != "" || s.APIKey != "" && !s.sftpLogin() {
		out = append(out, sdk.DNS01)
	}
	if s.sftpLogin() {
		out = append(out, sdk.HTTP01)
	}
	return out
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
