package main

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// The examples are those of the API's JSON schema, from which its reference is
// generated: https://devcenter.heroku.com/articles/platform-api-reference and
// GET https://api.heroku.com/schema.
const (
	exampleID     = "01234567-89ab-cdef-0123-456789abcdef"
	exampleApp    = `{"id": "` + exampleID + `", "name": "example"}`
	exampleDomain = `{"acm_status": "pending", "acm_status_reason": "Failing CCA check", "app": ` + exampleApp + `, "cname": "example.herokudns.com",
		"created_at": "2012-01-01T12:00:00Z", "hostname": "subdomain.example.com", "id": "` + exampleID + `", "kind": "custom",
		"updated_at": "2012-01-01T12:00:00Z", "status": "pending", "sni_endpoint": ` + exampleApp + `}`
	exampleSNI = `{"certificate_chain": "-----BEGIN CERTIFICATE----- ...", "created_at": "2012-01-01T12:00:00Z", "id": "` + exampleID + `", "name": "example",
		"updated_at": "2012-01-01T12:00:00Z", "display_name": "example", "domains": [], "app": ` + exampleApp + `,
		"ssl_cert": {"ca_signed?": false, "cert_domains": [], "expires_at": "2012-01-01T12:00:00Z", "issuer": "x", "self_signed?": true, "id": "` + exampleID + `"}}`
	exampleFeature = `{"created_at": "2012-01-01T12:00:00Z", "description": "Causes app to example.", "doc_url": "http://devcenter.heroku.com/articles/example",
		"enabled": true, "id": "` + exampleID + `", "name": "name", "state": "public", "updated_at": "2012-01-01T12:00:00Z", "display_name": "My Feature"}`
	exampleDyno = `{"attach_url": "rendezvous://rendezvous.runtime.heroku.com:5000/{rendezvous-id}", "command": "bash", "created_at": "2012-01-01T12:00:00Z",
		"id": "` + exampleID + `", "name": "run.1", "release": {"id": "` + exampleID + `", "version": 11}, "app": ` + exampleApp + `, "size": "standard-1X",
		"state": "up", "type": "run", "updated_at": "2012-01-01T12:00:00Z"}`
	exampleRelease = `{"addon_plan_names": [], "app": ` + exampleApp + `, "created_at": "2012-01-01T12:00:00Z", "description": "Added new feature",
		"id": "` + exampleID + `", "updated_at": "2012-01-01T12:00:00Z", "slug": {"id": "` + exampleID + `"}, "status": "succeeded", "version": 11, "current": true}`
	exampleFormation = `{"app": ` + exampleApp + `, "command": "bundle exec rails server -p $PORT", "created_at": "2012-01-01T12:00:00Z", "id": "` + exampleID + `",
		"quantity": 1, "size": "standard-1X", "type": "web", "updated_at": "2012-01-01T12:00:00Z"}`
	exampleVars = `{"FOO": "bar", "BAZ": "qux"}`
)

// Each request is what the reference wants, and each of its examples is
// understood.
func TestTranscripts(t *testing.T) {
	body := certificateBody{CertificateChain: "-----BEGIN CERTIFICATE----- ...", PrivateKey: "-----BEGIN RSA PRIVATE KEY----- ..."}
	for name, tt := range map[string]struct {
		call   func(*testing.T, *api) error
		status int
		answer string
		// request is its line; sent the body, whose fields the schema names.
		request, sent, ranges string
	}{
		"Domain List": {call: func(t *testing.T, a *api) error {
			got, err := a.domains(t.Context(), "example")
			equal(t, []domain{{ID: exampleID, Hostname: "subdomain.example.com", CName: "example.herokudns.com", Kind: "custom", SNIEndpoint: &reference{ID: exampleID, Name: "example"}}}, got)
			return err
		}, status: 200, answer: "[" + exampleDomain + "]", request: "GET /apps/example/domains"},
		"Domain Create": {call: func(t *testing.T, a *api) error {
			got, err := a.addDomain(t.Context(), "example", "subdomain.example.com")
			equal(t, "example.herokudns.com", got.CName)
			return err
		}, status: 201, answer: exampleDomain, request: "POST /apps/example/domains", sent: `{"hostname":"subdomain.example.com","sni_endpoint":null}`},
		"Domain Update": {call: func(t *testing.T, a *api) error { return a.attach(t.Context(), "example", exampleID, "tokyo-1") },
			status: 200, answer: exampleDomain, request: "PATCH /apps/example/domains/" + exampleID, sent: `{"sni_endpoint":"tokyo-1"}`},
		"Domain Update, none": {call: func(t *testing.T, a *api) error { return a.attach(t.Context(), "example", exampleID, "") },
			status: 200, answer: exampleDomain, request: "PATCH /apps/example/domains/" + exampleID, sent: `{"sni_endpoint":null}`},
		"Config Vars Info for App": {call: func(t *testing.T, a *api) error {
			got, err := a.configVars(t.Context(), "example")
			equal(t, map[string]string{"FOO": "bar", "BAZ": "qux"}, got)
			return err
		}, status: 200, answer: exampleVars, request: "GET /apps/example/config-vars"},
		"Config Vars Update": {call: func(t *testing.T, a *api) error {
			bar := "bar"
			return a.setConfigVars(t.Context(), "example", map[string]*string{"FOO": &bar, "BAZ": nil})
		}, status: 200, answer: exampleVars, request: "PATCH /apps/example/config-vars", sent: `{"BAZ":null,"FOO":"bar"}`},
		"App Feature Info": {call: func(t *testing.T, a *api) error {
			on, err := a.preboot(t.Context(), "example")
			equal(t, true, on)
			return err
		}, status: 200, answer: exampleFeature, request: "GET /apps/example/features/preboot"},
		"App Feature Update": {call: func(t *testing.T, a *api) error { return a.setPreboot(t.Context(), "example", true) },
			status: 200, answer: exampleFeature, request: "PATCH /apps/example/features/preboot", sent: `{"enabled":true}`},
		"Dyno List": {call: func(t *testing.T, a *api) error {
			got, err := a.dynos(t.Context(), "example")
			if len(got) != 1 || got[0].Name != "run.1" || got[0].Type != "run" || got[0].State != "up" || got[0].Release.Version != 11 {
				t.Errorf("%+v", got)
			}
			return err
		}, status: 200, answer: "[" + exampleDyno + "]", request: "GET /apps/example/dynos"},
		"Formation Info": {call: func(t *testing.T, a *api) error {
			got, err := a.webDynos(t.Context(), "example")
			equal(t, 1, got)
			return err
		}, status: 200, answer: exampleFormation, request: "GET /apps/example/formation/web"},
		"Release List": {call: func(t *testing.T, a *api) error {
			got, err := a.release(t.Context(), "example")
			equal(t, 11, got)
			return err
		}, status: 206, answer: "[" + exampleRelease + "]", request: "GET /apps/example/releases", ranges: "version ..; order=desc,max=1"},
		"SNI Endpoint List": {call: func(t *testing.T, a *api) error {
			got, err := a.sniEndpoints(t.Context(), "example")
			equal(t, []sniEndpoint{{ID: exampleID, Name: "example", CertificateChain: "-----BEGIN CERTIFICATE----- ..."}}, got)
			return err
		}, status: 200, answer: "[" + exampleSNI + "]", request: "GET /apps/example/sni-endpoints"},
		"SNI Endpoint Info": {call: func(t *testing.T, a *api) error {
			got, err := a.sniEndpoint(t.Context(), "example", exampleID)
			equal(t, "example", got.Name)
			return err
		}, status: 200, answer: exampleSNI, request: "GET /apps/example/sni-endpoints/" + exampleID},
		"SNI Endpoint Create": {call: func(t *testing.T, a *api) error {
			got, err := a.createSNIEndpoint(t.Context(), "example", body)
			equal(t, exampleID, got.ID)
			return err
		}, status: 201, answer: exampleSNI, request: "POST /apps/example/sni-endpoints",
			sent: `{"certificate_chain":"-----BEGIN CERTIFICATE----- ...","private_key":"-----BEGIN RSA PRIVATE KEY----- ..."}`},
		"SNI Endpoint Update": {call: func(t *testing.T, a *api) error {
			return a.updateSNIEndpoint(t.Context(), "example", exampleID, body)
		}, status: 200, answer: exampleSNI, request: "PATCH /apps/example/sni-endpoints/" + exampleID,
			sent: `{"certificate_chain":"-----BEGIN CERTIFICATE----- ...","private_key":"-----BEGIN RSA PRIVATE KEY----- ..."}`},
		"SNI Endpoint Delete": {call: func(t *testing.T, a *api) error { return a.deleteSNIEndpoint(t.Context(), "example", exampleID) },
			status: 200, answer: exampleSNI, request: "DELETE /apps/example/sni-endpoints/" + exampleID},
	} {
		t.Run(name, func(t *testing.T) {
			var got *http.Request
			var sent []byte
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r
				sent, _ = io.ReadAll(r.Body)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			}))
			defer server.Close()
			a, err := newAPI(settings{Token: "01234567-89ab-cdef-0123-456789abcdef", Endpoint: server.URL}, 0, 0)
			must(t, err)
			must(t, tt.call(t, a))
			equal(t, tt.request, got.Method+" "+got.URL.RequestURI())
			equal(t, tt.sent, string(sent))
			equal(t, tt.ranges, got.Header.Get("Range"))
			equal(t, "application/vnd.heroku+json; version=3", got.Header.Get("Accept"))
			equal(t, "Bearer "+exampleID, got.Header.Get("Authorization"))
			want := ""
			if tt.sent != "" {
				want = "application/json"
			}
			equal(t, want, got.Header.Get("Content-Type"))
		})
	}
}

// "Errors" and "Error Responses" of the same reference: what the API says is shown.
func TestDocumentedErrors(t *testing.T) {
	for status, tt := range map[int]struct {
		answer string
		code   sdk.Code
		text   string
	}{
		401: {`{"id":"unauthorized","message":"Invalid credentials provided."}`, sdk.Credentials, "Invalid credentials provided. (unauthorized)"},
		403: {`{"id":"forbidden","message":"You do not have access to the app example."}`, sdk.PermissionDenied, "(forbidden)"},
		404: {`{"resource":"app","id":"not_found","message":"Couldn't find that app."}`, sdk.NotFound, "Couldn't find that app. (not_found)"},
		422: {`{"id":"invalid_params","message":"Invalid params."}`, sdk.InvalidConfig, "(invalid_params)"},
		503: {`<html>maintenance</html>`, sdk.Unavailable, "503 Service Unavailable: <html>"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, tt.answer)
		}))
		a, err := newAPI(settings{Endpoint: server.URL}, 0, 1)
		must(t, err)
		_, err = a.configVars(t.Context(), "example")
		p := problem(t, err)
		if p.Code != tt.code {
			t.Errorf("%d: %+v", status, p)
		}
		if !strings.Contains(p.Error(), tt.text) {
			t.Errorf("%d: %q lacks %q", status, p.Error(), tt.text)
		}
		server.Close()
	}
}

// A fake that answered with other fields than the real one would prove nothing:
// its objects have those of the examples that are read.
func TestFakeAnswersLikeTheExamples(t *testing.T) {
	a := &app{name: "example", id: exampleID, version: 11}
	d := &appDomain{id: exampleID, hostname: "subdomain.example.com", kind: "custom"}
	for example, answer := range map[string]any{
		exampleDomain: d.json(a), exampleSNI: (&sni{id: exampleID, name: "example"}).json(a), exampleRelease: a.listReleases()[0], exampleFormation: a.formation(),
	} {
		want, got := map[string]json.RawMessage{}, map[string]json.RawMessage{}
		must(t, json.Unmarshal([]byte(example), &want))
		text, err := json.Marshal(answer)
		must(t, err)
		must(t, json.Unmarshal(text, &got))
		for _, field := range slices.Sorted(maps.Keys(got)) {
			if _, ok := want[field]; !ok {
				t.Errorf("the example has no field %s:\n%s", field, example)
			}
		}
	}
}
