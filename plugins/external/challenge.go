package main

import (
	"encoding/json"
	"net"
	"path"

	"github.com/certwright/certwright/sdk"
)

func performObject(c sdk.Challenge) object {
	o := object{
		{"cmd", "perform_challenge"}, {"type", c.Type}, {"domain", c.Identifier.Value},
		{"token", c.Token}, {"validation", validation(c)},
	}
	if c.DNS != nil {
		o = append(o, field{"txt_domain", c.DNS.Name})
	} else {
		o = append(o, field{"uri", uri(c)}, field{"command", command(c)})
	}
	return append(o, field{"key_auth", c.KeyAuthorization})
}

// cleanupObject has status, time and error of the challenge as it was when it was
// chosen: nobody has told more since.
func cleanupObject(c sdk.Challenge) object {
	var raw struct {
		Status    *string         `json:"status"`
		Validated *string         `json:"validated"`
		Error     json.RawMessage `json:"error"`
	}
	status := any("pending")
	var validated, failure any
	if json.Unmarshal(c.RawJSON, &raw) == nil {
		if raw.Status != nil && *raw.Status != "" {
			status = *raw.Status
		}
		if raw.Validated != nil {
			validated = *raw.Validated
		}
		if len(raw.Error) > 0 && string(raw.Error) != "null" {
			failure = string(raw.Error)
		}
	}
	return object{
		{"cmd", "cleanup"}, {"type", c.Type}, {"status", status}, {"domain", c.Identifier.Value}, {"token", c.Token},
		{"validation", validation(c)}, {"key_auth", c.KeyAuthorization}, {"validated", validated}, {"error", failure},
	}
}

func validation(c sdk.Challenge) string {
	if c.DNS != nil {
		return c.DNS.Value
	}
	return c.KeyAuthorization
}

func uri(c sdk.Challenge) string {
	host := c.Identifier.Value
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		host = "[" + host + "]"
	}
	return "http://" + host + resource(c)
}

func resource(c sdk.Challenge) string {
	if c.HTTP != nil {
		return c.HTTP.Path
	}
	return "/.well-known/acme-challenge/" + c.Token
}

// command serves the proof where no web server is. Token and key authorization
// are base64url, a dot at most: nothing in them needs quoting.
func command(c sdk.Challenge) string {
	file := resource(c)[1:]
	return "mkdir -p /var/run/certwright/public_html/" + path.Dir(file) +
		"\ncd /var/run/certwright/public_html" +
		"\nprintf \"%s\" " + c.KeyAuthorization + " > " + file +
		"\n# run only once per server:" +
		"\n$(command -v python3 || command -v python) -m http.server 80 "
}
