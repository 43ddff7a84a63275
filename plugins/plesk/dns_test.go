package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/certwright/certwright/sdk"
)

const acme = "_acme-challenge"

func txt(zone, name, value string) sdk.TXT { return sdk.TXT{Zone: zone, Name: name, Value: value} }

func set(t *testing.T, p *plesk, record sdk.TXT) {
	t.Helper()
	_, err := p.setTXT(t.Context(), record)
	must(t, err)
}

func wantRecords(t *testing.T, f *fakePlesk, site string, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var got []string
	for _, r := range f.site(site).records {
		got = append(got, r.host+" "+r.value)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the records of %s are %q, want %q", site, got, want)
	}
}

func TestRecords(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	f.site("a.test").records = []fakeRecord{{1, acme + ".a.test", "of another"}}
	p := configured(t, f.settings(t), t.TempDir())
	base, wildcard := txt("a.test", acme+".a.test", "one"), txt("a.test", acme+".a.test", "two")
	set(t, p, base)
	set(t, p, wildcard)
	set(t, p, wildcard)                                   // again: no duplicate
	set(t, p, txt("sub.a.test", acme+".sub.a.test", "x")) // no site of its own: in the zone above
	set(t, p, txt("a.test", "a.test", "apex"))
	wantRecords(t, f, "a.test", acme+".a.test of another", acme+".a.test one", acme+".a.test two", acme+".sub.a.test x", "a.test apex")
	// A new process knows nothing, and deletes as well.
	p = configured(t, f.settings(t), t.TempDir())
	for _, record := range []sdk.TXT{base, wildcard, base, txt("sub.a.test", acme+".sub.a.test", "x"), txt("a.test", "a.test", "apex"), txt("gone.test", "gone.test", "x")} {
		must(t, p.deleteTXT(t.Context(), record))
	}
	wantRecords(t, f, "a.test", acme+".a.test of another")
	_, err := p.setTXT(t.Context(), txt("b.test", acme+".b.test", "x"))
	wantProblem(t, err, sdk.NotFound, "1013", "b.test is a site of this Plesk")
}

func TestManyAtOnceInOneProcess(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	p := configured(t, f.settings(t), t.TempDir())
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			if _, err := p.setTXT(t.Context(), txt("a.test", acme+".a.test", fmt.Sprint(n%10))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := f.site("a.test").records; len(got) != 10 {
		t.Errorf("the records are %v", got)
	}
}

// What goes over the wire is what the reference shows: "Adding DNS Record"
// (34798), "Retrieving DNS Records" (34831), "Deleting DNS Records" (34864),
// "Getting Information About Sites" (66583), "Configuring Site Settings" (66595),
// "Installing Certificates" (34877), "Deleting Certificates" (34882) and
// "Retrieving List of Certificates" (68395), all below
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/reference/; and the
// element site, in place of webspace, as Plesk's own plugin for certbot has it
// (letsencrypt-plesk, deployer.py).
func TestPackets(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	p := configured(t, f.settings(t), t.TempDir())
	w := wanted{Certificate: "C", Leaf: "LEAF", Chain: "CHAIN", Key: "KEY"}
	ctx := t.Context()
	for _, c := range []struct {
		want string
		do   func()
	}{
		{"<server><get_protos></get_protos></server>", func() { _, _ = p.api.canUpdate(ctx) }},
		{"<site><get><filter><name>a.test</name></filter><dataset><gen_info></gen_info><hosting></hosting></dataset></get></site>",
			func() { _, _ = p.api.site(ctx, "a.test") }},
		{"<site><set><filter><name>a.test</name></filter><values><hosting><vrt_hst>" +
			"<property><name>ssl</name><value>true</value></property><property><name>certificate_name</name><value>C</value></property>" +
			"</vrt_hst></hosting></values></set></site>",
			func() { _ = p.api.assign(ctx, "a.test", property{"ssl", "true"}, property{"certificate_name", "C"}) }},
		{"<dns><get_rec><filter><site-id>101</site-id></filter></get_rec></dns>", func() { _, _ = p.api.find(ctx, 101, sdk.TXT{}) }},
		{"<dns><add_rec><site-id>101</site-id><type>TXT</type><host>_acme-challenge.www</host><value>one</value></add_rec></dns>",
			func() { _, _ = p.api.addRecord(ctx, 101, txt("a.test", acme+".www.a.test", "one")) }},
		{"<dns><del_rec><filter><id>7</id></filter></del_rec></dns>", func() { _ = p.api.deleteRecord(ctx, 7) }},
		{"<certificate><get-pool><filter><domain-name>a.test</domain-name></filter></get-pool></certificate>", func() { _, _ = p.api.pool(ctx, "a.test") }},
		{"<certificate><install><name>C</name><site>a.test</site><content><csr></csr><pvt>KEY</pvt><cert>LEAF</cert><ca>CHAIN</ca></content></install></certificate>",
			func() { _ = p.api.write(ctx, "install", "a.test", w) }},
		{"<certificate><update><name>C</name><site>a.test</site><content><csr></csr><pvt>KEY</pvt><cert>LEAF</cert><ca>CHAIN</ca></content></update></certificate>",
			func() { _ = p.api.write(ctx, "update", "a.test", w) }},
		{"<certificate><remove><filter><name>C</name></filter><site>a.test</site></remove></certificate>", func() { _ = p.api.remove(ctx, "a.test", "C") }},
	} {
		c.do()
		f.mu.Lock()
		body, header := f.body, f.header
		f.mu.Unlock()
		if want := `<?xml version="1.0" encoding="UTF-8"?>` + "\n<packet>" + c.want + "</packet>"; body != want {
			t.Errorf("the packet is\n%s\nwant\n%s", body, want)
		}
		if header.Get("KEY") != goodSecret || header.Get("Content-Type") != "text/xml" || header.Get("HTTP_AUTH_LOGIN") != "" {
			t.Errorf("the header is %v", header)
		}
	}
	// The schema fixes the order: the fake holds us to it.
	var wrong node
	must(t, xml.Unmarshal([]byte("<add_rec><type>TXT</type><site-id>1</site-id></add_rec>"), &wrong))
	if valid(wrong) {
		t.Error("the fake takes elements in any order")
	}
}

// The answer to add_rec is lost: the same again makes no second record.
func TestARecordWithoutAnAnswer(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	f.after = func(_ http.ResponseWriter, operation string) bool {
		if operation == "dns/add_rec" {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	p := configured(t, f.settings(t), t.TempDir())
	record := txt("a.test", acme+".a.test", "one")
	_, err := p.setTXT(t.Context(), record)
	wantProblem(t, err, sdk.Unavailable, "add the record")
	set(t, p, record)
	wantRecords(t, f, "a.test", acme+".a.test one")
}

func TestPleskIsSlowOrSomethingElse(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	f.before = func(w http.ResponseWriter, _ string) bool {
		_, _ = io.WriteString(w, "<html>this is a web site</html>")
		return true
	}
	p := configured(t, f.settings(t), t.TempDir())
	_, err := p.setTXT(t.Context(), txt("a.test", acme+".a.test", "one"))
	wantProblem(t, err, sdk.Internal, "not the packet that is documented", "server is the address")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release := make(chan struct{})
	f.mu.Lock()
	f.before = func(http.ResponseWriter, string) bool {
		cancel()
		<-release
		return true
	}
	f.mu.Unlock()
	_, err = p.setTXT(ctx, txt("a.test", acme+".a.test", "one"))
	close(release)
	wantProblem(t, err, sdk.Cancelled, "add a TXT record")
}
