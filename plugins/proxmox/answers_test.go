package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// Answers with every property that
// https://pve.proxmox.com/pve-docs/api-viewer (api-viewer/apidata.js of the
// repository proxmox/pve-docs) names, of the types that it gives them:
// /nodes/{node}/certificates/info (pve-certificate-info; all of it is optional),
// …/custom (the same of one certificate; null of DELETE), /access/permissions and
// /nodes. The viewer has no example values,
// so those are invented; the order of the files is that of
// PVE/API2/Certificates.pm.
const (
	infoAnswer = `{"data":[
 {"filename":"pve-root-ca.pem","fingerprint":"01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF",
  "issuer":"/CN=Proxmox Virtual Environment","subject":"/CN=Proxmox Virtual Environment","notafter":2000000000,"notbefore":1700000000,
  "pem":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n","public-key-bits":4096,"public-key-type":"rsaEncryption","san":[]},
 {"filename":"pve-ssl.pem"},
 {"filename":"pveproxy-ssl.pem","fingerprint":"AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89",
  "issuer":"/CN=R3","subject":"/CN=pve1.example.com","notafter":2000000000,"notbefore":1700000000,
  "pem":"-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----\n","public-key-bits":256,"public-key-type":"id-ecPublicKey","san":["pve1.example.com"]}
]}`
	uploadAnswer = `{"data":{"filename":"pveproxy-ssl.pem","fingerprint":"AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89",
 "issuer":"/CN=R3","subject":"/CN=pve1.example.com","notafter":2000000000,"notbefore":1700000000,
 "pem":"-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----\n","public-key-bits":256,"public-key-type":"id-ecPublicKey","san":["pve1.example.com"]}}`
	permissionsAnswer = `{"data":{"/nodes/pve1":{"Sys.Audit":1,"Sys.Modify":1},"/nodes/pve2":{"Sys.Audit":0}}}`
	nodesAnswer       = `{"data":[
 {"id":"node/pve1","node":"pve1","type":"node","status":"online","cpu":0.01,"maxcpu":4,"mem":1,"maxmem":2,"disk":1,"maxdisk":2,"level":"","uptime":60,"ssl_fingerprint":"AB:CD"},
 {"id":"node/pve2","node":"pve2","type":"node","status":"offline"}
]}`
)

func TestAnswersOfTheDocumentation(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]string{
			"/api2/json/nodes/pve1/certificates/info": infoAnswer,
			"/api2/json/access/permissions":           permissionsAnswer,
			"/api2/json/nodes":                        nodesAnswer,
			"POST custom":                             uploadAnswer,
			"DELETE custom":                           `{"data":null}`,
		}[strings.Replace(r.URL.Path, "/api2/json/nodes/pve1/certificates/custom", r.Method+" custom", 1)]
		if answer == "" {
			w.WriteHeader(http.StatusNotImplemented)
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	a, err := newAPI(settings{Endpoint: server.URL}, nil, limits{})
	must(t, err)
	got, err := a.custom(t.Context(), "pve1")
	must(t, err)
	equal(t, "-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----\n", string(pemOf(got)))
	equal(t, strings.Repeat("abcdef0123456789", 4), printOf(got))
	must(t, a.mayModify(t.Context(), "pve1"))
	wantError(t, a.mayModify(t.Context(), "pve2"), sdk.PermissionDenied, "/nodes/pve2")
	must(t, a.upload(t.Context(), "pve1", wanted{Fullchain: "chain", Key: "key"}, true))
	must(t, a.remove(t.Context(), "pve1"))
	members, err := a.members(t.Context())
	must(t, err)
	equal(t, []string{"pve1", "pve2"}, members)
}
