package client

import (
	"strings"
	"testing"
)

func TestParseReattach(t *testing.T) {
	const fields = `"protocol":"grpc","protocol_version":1,"pid":7`
	for text, want := range map[string]string{
		"": "",
		`{"x":{` + fields + `,"network":"unix","addr":"/tmp/s"}}`:                           "",
		`{"x":{` + fields + `,"network":"tcp","addr":"127.0.0.1:80"}}`:                      "",
		`{"x":{` + fields + `,"network":"tcp","addr":"[::1]:80"}}`:                          "",
		`{"x":{` + fields + `,"network":"tcp","addr":"192.0.2.1:80"}}`:                      "neither a unix socket nor",
		`{"x":{` + fields + `,"network":"tcp","addr":"localhost:80"}}`:                      "neither a unix socket nor",
		`{"x":{` + fields + `,"network":"unix","addr":"s"}}`:                                "neither a unix socket nor",
		`{"x":{"protocol":"netrpc","protocol_version":1,"network":"unix","addr":"/tmp/s"}}`: "speaks netrpc",
		`{"x":{"protocol":"grpc","protocol_version":2,"network":"unix","addr":"/tmp/s"}}`:   "of version 2",
		`[]`: "no JSON object",
	} {
		out, err := ParseReattach(text)
		switch {
		case want == "" && (err != nil || text != "" && out["x"].PID != 7):
			t.Errorf("%s: %v %v", text, out, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, not %q", text, err, want)
		}
	}
}
