package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// reference is where the pages are that are named by their numbers below; the
// schema is https://github.com/plesk/api-schemas, 1.6.9.1/agent_output.svg, and
// letsencrypt-plesk is Plesk's own plugin for certbot, whose tests keep answers
// of Plesk in letsencrypt_plesk/tests/testdata/api.
//
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/reference/

// "Getting Supported Protocols" (36172), whose list ends before
// certificate/update came.
const oldProtosAnswer = `<packet><server><get_protos><result><status>ok</status><protos>
<proto>1.0.0.0</proto><proto>1.1.0.0</proto><proto>1.2.0.0</proto><proto>1.3.0.0</proto><proto>1.3.1.0</proto><proto>1.3.2.0</proto>
<proto>1.3.3.0</proto><proto>1.3.4.0</proto><proto>1.3.5.0</proto><proto>1.4.0.0</proto><proto>1.4.1.0</proto><proto>1.4.2.0</proto>
<proto>1.4.1.1</proto><proto>1.4.1.2</proto>
</protos></result></get_protos></server></packet>`

// letsencrypt-plesk, response_server_get_protos_ok.xml, without its middle.
const protosAnswer = `<packet version="1.6.8.0">
  <server>
    <get_protos>
      <result>
        <status>ok</status>
        <protos>
          <proto>1.0.0.0</proto>
          <proto>1.4.1.2</proto>
          <proto>1.6.7.0</proto>
          <proto>1.6.8.0</proto>
        </protos>
      </result>
    </get_protos>
  </server>
</packet>`

// letsencrypt-plesk, response_site_get_one_ok.xml; as "Getting Information About
// Sites" (66583) has it.
const siteAnswer = `<?xml version="1.0" encoding="UTF-8"?>
<packet version="1.6.7.0">
    <site>
        <get>
            <result>
                <status>ok</status>
                <filter-id>example.com</filter-id>
                <id>1</id>
                <data>
                    <gen_info>
                        <cr_date>2015-12-24</cr_date>
                        <name>example.com</name>
                        <ascii-name>example.com</ascii-name>
                        <status>0</status>
                        <real_size>0</real_size>
                        <dns_ip_address>10.52.143.212</dns_ip_address>
                        <htype>vrt_hst</htype>
                        <webspace-id>1</webspace-id>
                    </gen_info>
                    <hosting>
                        <vrt_hst>
                            <property>
                                <name>ftp_login</name>
                                <value>username</value>
                            </property>
                            <property>
                                <name>ssl</name>
                                <value>true</value>
                            </property>
                            <property>
                                <name>www_root</name>
                                <value>/var/www/vhosts/example.com/httpdocs</value>
                            </property>
                            <ip_address>10.52.143.212</ip_address>
                        </vrt_hst>
                    </hosting>
                </data>
            </result>
        </get>
    </site>
</packet>`

// letsencrypt-plesk, response_site_get_one_without_hosting.xml.
const bareSiteAnswer = `<packet version="1.6.7.0"><site><get><result><status>ok</status><filter-id>example.com</filter-id><id>1</id><data>
<gen_info><cr_date>2015-12-24</cr_date><name>example.com</name><ascii-name>example.com</ascii-name><status>0</status><real_size>0</real_size>
<dns_ip_address>10.52.143.212</dns_ip_address><htype>none</htype><webspace-id>1</webspace-id></gen_info>
<hosting><none/></hosting></data></result></get></site></packet>`

// letsencrypt-plesk, response_site_get_one_error.xml.
const noSiteAnswer = `<packet version="1.6.7.0"><site><get><result><status>error</status><errcode>1013</errcode>
<errtext>Site does not exist</errtext><filter-id>example.com</filter-id></result></get></site></packet>`

// letsencrypt-plesk, response_site_get_all_many.xml, which answers to both
// operations in one packet.
const (
	webspacesAnswer = `<packet version="1.6.7.0"><webspace><get>
<result><status>ok</status><filter-id>26</filter-id><id>26</id><data><gen_info><cr_date>2014-03-19</cr_date>
<name>first.example.com</name><ascii-name>first.example.com</ascii-name></gen_info></data></result>
<result><status>ok</status><filter-id>112</filter-id><id>112</id><data><gen_info><cr_date>2015-11-24</cr_date>
<name>президент.рф</name><ascii-name>xn--d1abbgf6aiiy.xn--p1ai</ascii-name></gen_info></data></result>
</get></webspace></packet>`
	sitesAnswer = `<packet version="1.6.7.0"><site><get>
<result><status>ok</status><filter-id>80</filter-id><id>80</id><data><gen_info><cr_date>2014-05-13</cr_date>
<name>third.example.com</name><ascii-name>third.example.com</ascii-name></gen_info></data></result>
</get></site></packet>`
)

// By the schema alone (SiteResponseType, set, resultFilterType): no example of
// "Configuring Site Settings" (66595) was to be had.
const siteSetAnswer = `<packet version="1.6.9.1"><site><set><result><status>ok</status>
<filter-id>example.com</filter-id><id>1</id></result></set></site></packet>`

// "Retrieving DNS Records" (34831): the record that is asked for, and the empty
// answer where there is none.
const (
	recordsAnswer = `<packet>
<dns>
 <get_rec>
  <result>
   <status>ok</status>
    <id>8</id>
     <data>
    <site-id>8</site-id>
     <type>NS</type>
     <host>Mysite.com.</host>
     <value>ns.Mysite.com.</value>
     <opt></opt>
    </data>
  </result>
 </get_rec>
</dns>
</packet>`
	noRecordsAnswer = `<packet>
<dns>
  <get_rec>
  </get_rec>
</dns>
</packet>`
)

// The record of the page is an NS record, of which ours is the same with a TXT
// record's type, name and value.
var txtAnswer = strings.NewReplacer("NS", "TXT", "<host>Mysite.com.", "<host>_acme-challenge.Mysite.com.", "ns.Mysite.com.", "one").Replace(recordsAnswer)

// "Adding DNS Record" (34798), as the tests of a public client quote its answer
// (Perl's API::Plesk, of the mock); the second one is what another client notes
// of a real server (a script for Certify The Web).
const (
	addAnswer   = `<packet version="1.6.3.0"><dns><add_rec><result><status>ok</status><id>17</id></result></add_rec></dns></packet>`
	againAnswer = `<?xml version="1.0" encoding="UTF-8"?><packet version="1.6.9.1"><dns><add_rec><result><status>error</status><errcode>1007</errcode><errtext>DNS record '_acme-challenge.test.domain. IN TXT MaqMBNDrHck8iI8dcymwBxk5y8kzeXAtOENGrBIlX6s' already exists.</errtext></result></add_rec></dns></packet>`
)

// "Deleting DNS Records" (34864), of which the second is for a record that is
// not there.
const (
	deleteAnswer = `<packet>
<dns>
   <del_rec>
   <result>
      <status>ok</status>
      <id>75</id>
   </result>
   </del_rec>
</dns>
</packet>`
	notThereAnswer = `<packet>
<dns>
<del_rec>
<result>
   <status>error</status>
   <errcode>1013</errcode>
   <errtext>DNS record does not exist.</errtext>
   <id>75</id>
</result>
</del_rec>
</dns>
</packet>`
)

// "Retrieving List of Certificates" (68395).
const poolAnswer = `<packet>
<certificate>
<get-pool>
<result>
<status>ok</status>
<certificates>
<certificate>
<name>default certificate</name>
</certificate>
</certificates>
</result>
</get-pool>
</certificate>
</packet>`

// letsencrypt-plesk, response_certificate_update_ok.xml and …_error.xml. The
// schema gives install the same result, and remove one with the name; no example
// of "Installing Certificates" (34877) and "Deleting Certificates" (34882) was to
// be had.
const (
	updateAnswer = `<packet version="1.6.8.0">
    <certificate>
        <update>
            <result>
                <status>ok</status>
            </result>
        </update>
    </certificate>
</packet>
`
	noDomainAnswer = `<packet version="1.6.8.0">
    <certificate>
        <update>
            <result>
                <status>error</status>
                <errcode>1015</errcode>
                <errtext>domain does not exist</errtext>
            </result>
        </update>
    </certificate>
</packet>
`
	removeAnswer = `<packet version="1.6.9.1"><certificate><remove><result><status>ok</status><name>C</name></result></remove></certificate></packet>`
)

var installAnswer = strings.NewReplacer("<update>", "<install>", "</update>", "</install>").Replace(updateAnswer)

// A check that fails before the operation: "Handling Errors" (28729) for the
// shape; the code and text are of a real server (plesk/letsencrypt-plesk, issue
// 151).
const systemAnswer = `<?xml version="1.0"?>
        <packet version="1.6.8.0">
                <system>
                        <status>error</status>
                        <errcode>11003</errcode>
                        <errtext>PleskAPIInvalidSecretKeyException : Invalid secret key usage. Please check logs for details.</errtext>
                </system>       </packet>`

// The client reads what the vendor says that Plesk answers.
func TestAnswersOfTheDocumentation(t *testing.T) {
	var answers []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		answer := answers[0]
		if answers = answers[1:]; answer != systemAnswer {
			// Each is the answer to the operation that is asked for.
			asked, given := operationOf(string(raw)), operationOf(answer)
			if asked != given {
				t.Errorf("%s is asked for, and the answer is for %s", asked, given)
			}
		}
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	p := configured(t, settings{Server: server.URL, SecretKey: goodSecret}, t.TempDir())
	ours := txt("mysite.com", acme+".mysite.com", "one")
	type does = func(context.Context) (any, error)
	fails := func(do func(context.Context) error) does {
		return func(ctx context.Context) (any, error) { return "done", do(ctx) }
	}
	write := func(operation string) does {
		return fails(func(ctx context.Context) error {
			return p.api.write(ctx, operation, "example.com", wanted{Certificate: "C", Leaf: "LEAF", Key: "KEY"})
		})
	}
	look := func(ctx context.Context) (any, error) {
		s, err := p.api.site(ctx, "example.com")
		if err != nil {
			return nil, err
		}
		var out []string
		for _, name := range slices.Sorted(maps.Keys(s.properties)) {
			out = append(out, name+"="+s.properties[name])
		}
		return fmt.Sprint(s.ID, " ", s.Name, " ", s.properties != nil, " ", out), nil
	}
	update := func(ctx context.Context) (any, error) { return p.api.canUpdate(ctx) }
	find := func(ctx context.Context) (any, error) { return p.api.find(ctx, 8, ours) }
	add := func(ctx context.Context) (any, error) { return p.api.addRecord(ctx, 1, ours) }
	del := fails(func(ctx context.Context) error { return p.api.deleteRecord(ctx, 75) })
	remove := fails(func(ctx context.Context) error { return p.api.remove(ctx, "example.com", "C") })
	for name, c := range map[string]struct {
		answer string
		do     does
		want   string
		code   sdk.Code // of the failure
	}{
		"protocols, old":       {oldProtosAnswer, update, "false", ""},
		"protocols":            {protosAnswer, update, "true", ""},
		"secret key":           {systemAnswer, update, "", sdk.Credentials},
		"site":                 {siteAnswer, look, "1 example.com true [ftp_login=username ssl=true www_root=/var/www/vhosts/example.com/httpdocs]", ""},
		"site without hosting": {bareSiteAnswer, look, "1 example.com false []", ""},
		"no site":              {noSiteAnswer, look, "", sdk.NotFound},
		"assignment":           {siteSetAnswer, fails(func(ctx context.Context) error { return p.api.assign(ctx, "example.com", property{"ssl", "true"}) }), "done", ""},
		"records, another":     {recordsAnswer, find, "[]", ""},
		"records, ours":        {txtAnswer, find, "[8]", ""},
		"records, none":        {noRecordsAnswer, find, "[]", ""},
		"record added":         {addAnswer, add, "17", ""},
		"record there already": {againAnswer, add, "", sdk.Conflict},
		"record deleted":       {deleteAnswer, del, "done", ""},
		"record not there":     {notThereAnswer, del, "done", ""},
		"certificates":         {poolAnswer, func(ctx context.Context) (any, error) { return p.api.pool(ctx, "example.com") }, "[default certificate]", ""},
		"installed":            {installAnswer, write("install"), "done", ""},
		"updated":              {updateAnswer, write("update"), "done", ""},
		"no domain":            {noDomainAnswer, write("update"), "", sdk.NotFound},
		"removed":              {removeAnswer, remove, "done", ""},
	} {
		answers = []string{c.answer}
		got, err := c.do(t.Context())
		switch {
		case c.code != "":
			if code := sdk.ProblemOf(err); code == nil || code.Code != c.code {
				t.Errorf("%s: %v, want a problem of code %s", name, err, c.code)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case fmt.Sprint(got) != c.want:
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}

	answers = []string{webspacesAnswer, sitesAnswer}
	sites, err := p.Names(t.Context())
	must(t, err)
	var names []string
	for _, s := range sites {
		names = append(names, s.ID)
	}
	if want := []string{"first.example.com", "xn--d1abbgf6aiiy.xn--p1ai", "third.example.com"}; !slices.Equal(names, want) {
		t.Errorf("the sites are %q, want %q", names, want)
	}
}
