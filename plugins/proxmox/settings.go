package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/certwright/certwright/sdk"
)

type settings struct {
	Endpoint    string     `setting:"endpoint,required" doc:"address of the API at any node of the cluster, for instance https://pve1.example.com:8006"`
	TokenID     string     `setting:"token_id,required" doc:"the API token's name, USER@REALM!TOKENID"`
	TokenSecret sdk.Secret `setting:"token_secret,required" doc:"the API token's secret"`
	Nodes       []string   `setting:"nodes" doc:"nodes that get the certificate; default: the first label of the endpoint's host"`
	CAFile      string     `setting:"ca_file" doc:"roots for the endpoint's certificate before it is ours, such as a copy of /etc/pve/pve-root-ca.pem; default: the system's"`
	Fingerprint string     `setting:"fingerprint" doc:"SHA-256 of the endpoint's certificate before it is ours, in place of roots"`
	Force       bool       `setting:"force" doc:"replace a custom certificate that certwright has not put there, and that no rollback can bring back"`
	Endpoints   []string   `setting:"endpoints" doc:"host:port of every node's own web interface, where the certificate is to be seen; default: the endpoint"`
}

var (
	tokenPattern = regexp.MustCompile(`^[^\s:/!=]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+$`)
	nodePattern  = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$`)
)

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
	switch {
	case err != nil || at.Scheme != "https" || at.Hostname() == "":
		wrong("endpoint", "write it as https://pve1.example.com:8006", "%q is no https URL", s.Endpoint)
	case at.Port() == "":
		wrong("endpoint", "write it as https://"+at.Host+":8006", "%q has no port", s.Endpoint)
	default:
		if len(s.Nodes) == 0 {
			s.Nodes = []string{firstLabel(at.Hostname())}
		}
		if len(s.Endpoints) == 0 {
			s.Endpoints = []string{at.Host}
		}
	}
	if !tokenPattern.MatchString(s.TokenID) {
		wrong("token_id", "write it as root@pam!certwright", "%q is not USER@REALM!TOKENID", s.TokenID)
	}
	if strings.ContainsAny(string(s.TokenSecret), " \r\n\t") {
		wrong("token_secret", "give the secret alone, as it was shown when the token was made", "it has white space in it")
	}
	for _, node := range s.Nodes {
		if !nodePattern.MatchString(node) {
			wrong("nodes", "write the nodes' names as the web interface shows them", "%q is no name of a node", node)
		}
	}
	for _, address := range s.Endpoints {
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			wrong("endpoints", "write it as pve1.example.com:8006", "%q is not host:port", address)
		}
	}
	return errors.Join(errs...)
}

func firstLabel(host string) string {
	if net.ParseIP(host) != nil {
		return host // it is no node's name, and the check of nodes says so
	}
	label, _, _ := strings.Cut(host, ".")
	return label
}
