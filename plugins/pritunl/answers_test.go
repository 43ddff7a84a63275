package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// Answers to GET and PUT /settings with the fields that settings_get and
// settings_put of https://github.com/pritunl/pritunl, pritunl/handlers/settings.py,
// give, those of the administrator first; an error of settings_put; and what
// session_auth of pritunl/auth/app.py gives, Flask's page for 401. Pritunl publishes
// no example, so the values are invented, of the types of the source.
const (
	newAnswer = `{"id": "57e9e364fd632c233e86f827", "username": "pritunl", "default": false, "yubikey_id": null, "otp_auth": false,
 "auth_api": true, "token": "p7g444S3IZ5wmFvmzWmx14qACXdzQ25b", "super_user": true,
 "acme_domain": null, "theme": "dark", "auditing": null, "monitoring": null, "email_from": null, "email_server": null,
 "email_username": null, "email_password": false, "pin_mode": "optional", "sso": null, "sso_match": null, "sso_org": null,
 "public_address": "192.0.2.1", "public_address6": null, "routed_subnet6": null, "reverse_proxy": false,
 "server_port": 443, "server_cert": null, "server_key": null, "cloud_provider": null}`
	acmeAnswer = `{"username": "pritunl", "auth_api": true, "acme_domain": "vpn.example.com", "theme": "light", "server_port": 443,
 "server_cert": "-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----", "server_key": "the key"}`
	errorAnswer = `{"error": "port_invalid", "error_msg": "Port number is not valid, must be between 1 and 65535."}`
)

func TestAnswersOfTheSource(t *testing.T) {
	status, answer := http.StatusOK, newAnswer
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	a, err := newAPI(settings{Endpoint: server.URL, APIToken: goodToken, APISecret: goodSecret}, nil, limits{})
	must(t, err)
	got, err := a.get(t.Context())
	must(t, err)
	equal(t, pair{}, got.pair)
	must(t, got.mayReplace())

	answer = acmeAnswer
	got, err = a.get(t.Context())
	must(t, err)
	cert, key := "-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----", "the key"
	equal(t, pair{Cert: &cert, Key: &key}, got.pair)
	equal(t, "vpn.example.com", got.ACMEDomain)

	must(t, a.put(t.Context(), got.pair))

	status, answer = http.StatusBadRequest, errorAnswer
	wantError(t, a.put(t.Context(), pair{}), sdk.InvalidConfig, "400 Bad Request: Port number is not valid")

	status, answer = http.StatusUnauthorized, unauthorizedPage
	_, err = a.get(t.Context())
	wantError(t, err, sdk.Credentials, "401 Unauthorized: The server could not verify", "api_token and api_secret")
}
