package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// Answers of LiveDNS, from the examples of https://api.gandi.net/docs/livedns/.
const (
	// "List all domains handled by LiveDNS".
	domainsAnswer = `[
  {
    "fqdn": "example.org",
    "domain_href": "https://api.test/v5/livedns/domains/example.org",
    "domain_records_href": "https://api.test/v5/livedns/domains/example.org/records"
  },
  {
    "fqdn": "example.net",
    "domain_href": "https://api.test/v5/livedns/domains/example.net",
    "domain_records_href": "https://api.test/v5/livedns/domains/example.net/records"
  }
]`
	// "Show domain's properties".
	domainAnswer = `{
  "fqdn": "example.com",
  "domain_href": "https://api.test/v5/livedns/domains/example.com",
  "domain_records_href": "https://api.test/v5/livedns/domains/example.com/records",
  "domain_keys_href": "https://api.test/v5/livedns/domains/example.com/keys",
  "automatic_snapshots": true
}`
	// "Get a single single record with its name and type".
	recordAnswer = `{
  "rrset_name": "www",
  "rrset_type": "CNAME",
  "rrset_values": [
    "www.example.net"
  ],
  "rrset_ttl": 10800,
  "rrset_href": "https://api.test/v5/livedns/domains/example.com/records/www/CNAME"
}`
	// The TXT record of the example of /domains/{fqdn}/records/{rrset_name}, whose
	// value is without quotes.
	textAnswer = `{
    "rrset_name": "www",
    "rrset_type": "TXT",
    "rrset_values": [
      "some-text-value"
    ],
    "rrset_ttl": 320,
    "rrset_href": "https://api.test/v5/livedns/domains/example.com/records/www/TXT"
  }`
	// "Overwrites a single record": 201, and a message, of which the reference
	// gives no example; this is what the tests of Gandi's own client have
	// (gandi.cli, tests/commands/test_dns.py).
	createdAnswer = `{"message": "DNS Record Created"}`
	// The reference says which properties a failure has; these values are of a
	// public client's tests (a .NET library for LiveDNS).
	missingAnswer = `{"object": "dns-record", "cause": "Not Found", "code": 404, "message": "Can't find the DNS record missing/A in the zone"}`
)

// canned answers one request after the other.
type canned struct {
	status int
	kind   string
	body   string
}

func serve(t *testing.T, answers ...canned) (address string, seen *[]string) {
	t.Helper()
	seen = &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		line := r.Method + " " + r.URL.Path
		if _, method, is := strings.Cut(string(raw), "<methodName>"); is {
			line, _, _ = strings.Cut(method, "</methodName>")
		}
		n := len(*seen)
		*seen = append(*seen, line)
		if n >= len(answers) {
			t.Errorf("%s is one request too many", line)
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		w.Header().Set("Content-Type", answers[n].kind)
		w.WriteHeader(answers[n].status)
		_, _ = io.WriteString(w, answers[n].body)
	}))
	t.Cleanup(server.Close)
	return server.URL, seen
}

func rest(status int, body string) canned { return canned{status, "application/json", body} }

// The client reads what the reference says that LiveDNS answers.
func TestAnswersOfLiveDNS(t *testing.T) {
	text := txt("example.com", "www.example.com", "some-text-value")
	const domain, record = "/domains/example.com", "/domains/example.com/records/www/TXT"
	for name, c := range map[string]struct {
		answers []canned
		do      func(*livedns) error
		seen    []string
		code    sdk.Code
		say     string
	}{
		"try": {[]canned{rest(200, domainsAnswer)}, func(l *livedns) error { return l.try(t.Context()) }, []string{"GET /domains"}, "", ""},
		"there already": {
			[]canned{rest(200, domainAnswer), rest(200, textAnswer)},
			func(l *livedns) error { _, err := l.SetTXT(t.Context(), text); return err },
			[]string{"GET " + domain, "GET " + record}, "", "",
		},
		"added": {
			[]canned{rest(200, domainAnswer), rest(404, missingAnswer), rest(201, createdAnswer), rest(200, textAnswer)},
			func(l *livedns) error { _, err := l.SetTXT(t.Context(), text); return err },
			[]string{"GET " + domain, "GET " + record, "PUT " + record, "GET " + record}, "", "",
		},
		"deleted": {
			[]canned{rest(200, domainAnswer), rest(200, textAnswer), {204, "", ""}, rest(404, missingAnswer)},
			func(l *livedns) error { return l.DeleteTXT(t.Context(), text) },
			[]string{"GET " + domain, "GET " + record, "DELETE " + record, "GET " + record}, "", "",
		},
		"another failure": {
			[]canned{rest(200, domainAnswer), rest(404, missingAnswer), rest(404, missingAnswer)},
			func(l *livedns) error { _, err := l.SetTXT(t.Context(), text); return err },
			[]string{"GET " + domain, "GET " + record, "PUT " + record}, sdk.NotFound, "Not Found: Can't find the DNS record missing/A in the zone",
		},
	} {
		t.Run(name, func(t *testing.T) {
			address, seen := serve(t, c.answers...)
			err := c.do(configured(t, settings{Token: goodToken, Endpoint: address}, t.TempDir()).livedns)
			if c.code != "" {
				wantProblem(t, err, c.code, c.say)
			} else if err != nil {
				t.Error(err)
			}
			if !slices.Equal(*seen, c.seen) {
				t.Errorf("the requests are %q, want %q", *seen, c.seen)
			}
		})
	}
	address, _ := serve(t, rest(200, recordAnswer))
	set, err := configured(t, settings{Token: goodToken, Endpoint: address}, t.TempDir()).livedns.get(t.Context(), "x")
	must(t, err)
	if want := (rrset{TTL: 10800, Values: []string{"www.example.net"}}); !reflect.DeepEqual(set, want) {
		t.Errorf("%+v, want %+v", set, want)
	}
}

// Answers of the XML-RPC API. Its reference (https://doc.rpc.gandi.net/) has no
// page on cert.hosted, and those on paas.list and paas.info have no XML; the
// values are those that the tests of Gandi's own client keep (gandi.cli,
// gandi/cli/tests/fixtures/_cert.py and _paas.py), None among them, in the
// encoding of XML-RPC.
const (
	opening     = `<?xml version='1.0'?><methodResponse><params><param><value>`
	closing     = `</value></param></params></methodResponse>`
	paasMembers = `
<member><name>catalog_name</name><value><string>phpmysql_s</string></value></member>
<member><name>console</name><value><string>1656411@console.dc0.gpaas.net</string></value></member>
<member><name>data_disk_additional_size</name><value><int>0</int></value></member>
<member><name>date_end</name><value><dateTime.iso8601>20160408T00:00:00</dateTime.iso8601></value></member>
<member><name>date_end_commitment</name><value><nil/></value></member>
<member><name>date_start</name><value><dateTime.iso8601>20130903T22:14:13</dateTime.iso8601></value></member>
<member><name>id</name><value><int>126276</int></value></member>
<member><name>name</name><value><string>sap</string></value></member>
<member><name>need_upgrade</name><value><boolean>0</boolean></value></member>
<member><name>size</name><value><string>s</string></value></member>
<member><name>snapshot_profile</name><value><nil/></value></member>
<member><name>state</name><value><string>halted</string></value></member>
<member><name>type</name><value><string>phpmysql</string></value></member>`
	paasListAnswer = opening + `<array><data><value><struct>` + paasMembers + `
<member><name>datacenter_id</name><value><int>1</int></value></member>
<member><name>servers</name><value><array><data><value><struct><member><name>id</name><value><int>126273</int></value></member></struct></value></data></array></value></member>
</struct></value></data></array>` + closing
	paasInfoAnswer = opening + `<struct>` + paasMembers + `
<member><name>autorenew</name><value><nil/></value></member>
<member><name>datadisk_total_size</name><value><double>10.0</double></value></member>
<member><name>ftp_server</name><value><string>sftp.dc0.gpaas.net</string></value></member>
<member><name>git_server</name><value><string>git.dc0.gpaas.net</string></value></member>
<member><name>owner</name><value><struct><member><name>handle</name><value><string>PXP561-GANDI</string></value></member><member><name>id</name><value><int>2920674</int></value></member></struct></value></member>
<member><name>user</name><value><int>1656411</int></value></member>
<member><name>vhosts</name><value><array><data>
<value><struct><member><name>date_creation</name><value><dateTime.iso8601>20130903T22:11:54</dateTime.iso8601></value></member><member><name>id</name><value><int>160126</int></value></member><member><name>name</name><value><string>aa3e0e26f8.url-de-test.ws</string></value></member><member><name>state</name><value><string>running</string></value></member></struct></value>
<value><struct><member><name>date_creation</name><value><dateTime.iso8601>20130903T22:24:06</dateTime.iso8601></value></member><member><name>id</name><value><int>160127</int></value></member><member><name>name</name><value><string>cloud.cat.lol</string></value></member><member><name>state</name><value><string>running</string></value></member></struct></value>
</data></array></value></member>
</struct>` + closing
	hostedMembers = `
<member><name>date_created</name><value><dateTime.iso8601>20150407T00:00:00</dateTime.iso8601></value></member>
<member><name>date_expire</name><value><dateTime.iso8601>20160316T00:00:00</dateTime.iso8601></value></member>
<member><name>id</name><value><int>1</int></value></member>
<member><name>state</name><value><string>created</string></value></member>
<member><name>subject</name><value><string>/OU=Domain Control Validated/OU=Gandi Standard SSL/CN=test1.domain.fr</string></value></member>`
	hostedListAnswer = opening + `<array><data><value><struct>` + hostedMembers + `</struct></value></data></array>` + closing
	hostedAnswer     = opening + `<struct>` + hostedMembers + `
<member><name>fqdns</name><value><array><data><value><struct><member><name>type</name><value><string>cn</string></value></member><member><name>name</name><value><string>test1.domain.fr</string></value></member></struct></value></data></array></value></member>
<member><name>related_vhosts</name><value><array><data><value><struct><member><name>service_id</name><value><int>1</int></value></member><member><name>type</name><value><string>paas</string></value></member><member><name>id</name><value><int>1</int></value></member><member><name>name</name><value><string>test1.domain.fr</string></value></member></struct></value></data></array></value></member>
</struct>` + closing
	nothingAnswer = opening + `<nil/>` + closing
	trueAnswer    = opening + `<boolean>1</boolean>` + closing
)

func xmlrpcs(bodies ...string) []canned {
	var out []canned
	for _, body := range bodies {
		out = append(out, canned{200, "text/xml", body})
	}
	return out
}

// The client reads what Gandi's own client is told by the XML-RPC API.
func TestAnswersOfXMLRPC(t *testing.T) {
	with := func(t *testing.T, bodies ...string) (*gandi, *[]string) {
		t.Helper()
		address, seen := serve(t, xmlrpcs(bodies...)...)
		return configured(t, settings{APIKey: goodKey, RPCEndpoint: address, Instance: "sap"}, t.TempDir()), seen
	}
	g, seen := with(t, paasListAnswer, paasInfoAnswer)
	sites, err := g.Names(t.Context())
	must(t, err)
	if len(sites) != 2 || sites[0].ID != "aa3e0e26f8.url-de-test.ws" || sites[1].ID != "cloud.cat.lol" {
		t.Errorf("the sites are %+v", sites)
	}
	at, err := g.place(t.Context())
	must(t, err)
	if want := (place{"sftp.dc0.gpaas.net:22", "1656411", "phpmysql"}); at != want {
		t.Errorf("the files go to %+v, want %+v", at, want)
	}
	if want := []string{"paas.list", "paas.info"}; !slices.Equal(*seen, want) {
		t.Errorf("the calls are %q, want %q", *seen, want)
	}

	one := hostedCert{
		ID: 1, Subject: "/OU=Domain Control Validated/OU=Gandi Standard SSL/CN=test1.domain.fr", State: created,
		FQDNs: []fqdn{{"test1.domain.fr"}}, Expires: time.Date(2016, 3, 16, 0, 0, 0, 0, time.UTC),
	}
	g, _ = with(t, hostedListAnswer, hostedAnswer, hostedAnswer, nothingAnswer, trueAnswer)
	list, err := g.rpc.hostedFor(t.Context(), []string{"test1.domain.fr"})
	must(t, err)
	if !reflect.DeepEqual(list, []hostedCert{one}) {
		t.Errorf("hosted is %+v, want %+v", list, one)
	}
	uploaded, err := g.rpc.create(t.Context(), "CRT", "KEY")
	must(t, err)
	if !reflect.DeepEqual(*uploaded, one) {
		t.Errorf("uploaded is %+v, want %+v", *uploaded, one)
	}
	// What deleting gives is nowhere told: Gandi's client takes anything.
	must(t, g.rpc.delete(t.Context(), 1))
	must(t, g.rpc.delete(t.Context(), 1))
}

// What has no type is a string; what comes after an empty one is read too.
func TestEmptyValue(t *testing.T) {
	const list = `<array><data><value><struct><member><name>type</name><value%s</member>` +
		`<member><name>id</name><value><int>7</int></value></member><member><name>name</name><value>shop</value></member></struct></value></data></array>`
	for _, empty := range []string{"></value>", " />", ">\n</value>"} {
		address, _ := serve(t, xmlrpcs(opening+fmt.Sprintf(list, empty)+closing)...)
		g := configured(t, settings{APIKey: goodKey, RPCEndpoint: address}, t.TempDir())
		var got []instance
		must(t, g.rpc.call(t.Context(), true, &got, "paas.list"))
		if want := []instance{{ID: 7, Name: "shop"}}; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", empty, got, want)
		}
	}
}
