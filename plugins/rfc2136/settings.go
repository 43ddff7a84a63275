package main

import (
	"encoding/base64"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk"
)

// key is a TSIG key as the library wants it; without a name, nothing is signed.
type key struct {
	name      string // canonical: lower case, with the final dot
	algorithm string // the same
	secret    string // base64
}

// String is the key's name, so that no message shows the secret.
func (k key) String() string { return strings.TrimSuffix(k.name, ".") }

// clientOf checks the settings.
func clientOf(s settings) (client, error) {
	server, err := addressOf(s.Server)
	if err != nil {
		return client{}, err
	}
	k, err := keyOf(s)
	if err != nil {
		return client{}, err
	}
	// RFC 2181 section 8: a TTL is an unsigned number of 31 bits.
	if s.TTL < 0 || s.TTL > math.MaxInt32*time.Second {
		return client{}, wrong("ttl", "write a time to live such as 60s", "setting ttl is %s: no record lives that long", s.TTL)
	}
	if s.Timeout <= 0 {
		return client{}, wrong("timeout", "write a time such as 10s", "setting timeout is %s: no server answers in that time", s.Timeout)
	}
	return client{server: server, key: k, protocol: s.Protocol, timeout: s.Timeout, now: time.Now}, nil
}

func wrong(setting, hint, format string, args ...any) error {
	err := sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, format, args...))
	return sdk.Subject(sdk.Hint(err, "%s", hint), setting)
}

// addressOf reads "host", "host:port", and IPv6 addresses with and without
// brackets and port.
func addressOf(server string) (string, error) {
	const hint = "write a name or an address, and a port if it is not 53: ns1.example.com, 192.0.2.1:5353, [2001:db8::1]:53"
	host, port := server, "53"
	if h, p, err := net.SplitHostPort(server); err == nil {
		host, port = h, p
	} else if inner, ok := strings.CutPrefix(server, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", wrong("server", hint, "setting server is %q: %q is not a port", server, port)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return net.JoinHostPort(host, port), nil
	}
	if _, ok := dns.IsDomainName(host); !ok || host == "" || strings.ContainsAny(host, `:[]/@\ `+"\t") {
		return "", wrong("server", hint, "setting server is %q: %q is neither a name nor an IP address", server, host)
	}
	return net.JoinHostPort(host, port), nil
}

func keyOf(s settings) (key, error) {
	secret := strings.TrimSpace(string(s.TSIGSecret))
	switch {
	case s.TSIGName == "" && secret == "":
		return key{}, nil
	case s.TSIGName == "":
		return key{}, wrong("tsig_name", "set tsig_name to the name of the key in the server's configuration",
			"there is a tsig_secret, but no tsig_name")
	case secret == "":
		return key{}, wrong("tsig_secret", "set tsig_secret to a reference to the key's secret, for instance a file",
			"there is a tsig_name, but no tsig_secret")
	}
	if _, ok := dns.IsDomainName(s.TSIGName); !ok {
		return key{}, wrong("tsig_name", "set tsig_name to the name of the key in the server's configuration",
			"setting tsig_name is %q, which cannot be the name of a key", s.TSIGName)
	}
	// The error is not shown: nothing of a secret is.
	if decoded, err := base64.StdEncoding.DecodeString(secret); err != nil || len(decoded) == 0 {
		return key{}, wrong("tsig_secret", "copy the secret alone, without quotes, from the key in the server's configuration",
			"the secret in tsig_secret is not base64")
	}
	return key{name: dns.CanonicalName(s.TSIGName), algorithm: dns.CanonicalName(s.TSIGAlgorithm), secret: secret}, nil
}
