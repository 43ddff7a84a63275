package main

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
)

func TestViewer(t *testing.T) {
	arn := source{byACM, "arn:<new>"}
	for name, tt := range map[string]struct {
		before, after viewer
	}{
		"CloudFront's own": {"<CloudFrontDefaultCertificate>true</CloudFrontDefaultCertificate><SSLSupportMethod>vip</SSLSupportMethod><MinimumProtocolVersion>TLSv1</MinimumProtocolVersion>",
			"<ACMCertificateArn>arn:&lt;new&gt;</ACMCertificateArn><SSLSupportMethod>sni-only</SSLSupportMethod><MinimumProtocolVersion>P</MinimumProtocolVersion>"},
		"none": {"", "<ACMCertificateArn>arn:&lt;new&gt;</ACMCertificateArn><SSLSupportMethod>sni-only</SSLSupportMethod><MinimumProtocolVersion>P</MinimumProtocolVersion>"},
		"IAM's, and what nobody knows": {
			"\n<IAMCertificateId>ASCA</IAMCertificateId> <!-- c --> <SSLSupportMethod>vip</SSLSupportMethod><New n='1'><X/></New><MinimumProtocolVersion>Q</MinimumProtocolVersion><Certificate>ASCA</Certificate><CertificateSource>iam</CertificateSource>",
			"<ACMCertificateArn>arn:&lt;new&gt;</ACMCertificateArn><SSLSupportMethod>vip</SSLSupportMethod><New n='1'><X/></New><MinimumProtocolVersion>Q</MinimumProtocolVersion>"},
		"false": {"<CloudFrontDefaultCertificate>false</CloudFrontDefaultCertificate><ACMCertificateArn>old</ACMCertificateArn><SSLSupportMethod>sni-only</SSLSupportMethod><MinimumProtocolVersion>Q</MinimumProtocolVersion>",
			"<ACMCertificateArn>arn:&lt;new&gt;</ACMCertificateArn><SSLSupportMethod>sni-only</SSLSupportMethod><MinimumProtocolVersion>Q</MinimumProtocolVersion>"},
	} {
		got, err := tt.before.with(arn, "P")
		must(t, err)
		if got != tt.after {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tt.after)
		}
		if !got.uses(arn) || tt.before.uses(arn) || got.same(tt.before) {
			t.Errorf("%s: it is not told from what it was", name)
		}
	}
	echo := viewer("<IAMCertificateId>A</IAMCertificateId><Certificate>A</Certificate><CertificateSource>iam</CertificateSource>")
	if !echo.same("\n <IAMCertificateId> A </IAMCertificateId>\n") || echo.same("<IAMCertificateId>B</IAMCertificateId>") {
		t.Error("what CloudFront adds of itself is taken for a difference, or a difference for that")
	}
}

func TestDocuments(t *testing.T) {
	for name, document := range map[string]string{
		"another":     `<Distribution><DistributionConfig></DistributionConfig></Distribution>`,
		"cut":         `<DistributionConfig><ViewerCertificate>`,
		"no document": ``,
		"no XML":      `{"DistributionConfig": {}}`,
	} {
		if after, err := withViewer([]byte(document), "x"); err == nil {
			t.Errorf("%s: %s", name, after)
		}
	}
	for before, after := range map[string]string{
		`<DistributionConfig><A/></DistributionConfig>`:                                            `<DistributionConfig><A/><ViewerCertificate>x</ViewerCertificate></DistributionConfig>`,
		`<DistributionConfig><ViewerCertificate/><A/></DistributionConfig>`:                        `<DistributionConfig><ViewerCertificate>x</ViewerCertificate><A/></DistributionConfig>`,
		"<DistributionConfig><ViewerCertificate\n></ViewerCertificate><A/></DistributionConfig>\n": "<DistributionConfig><ViewerCertificate>x</ViewerCertificate><A/></DistributionConfig>\n",
	} {
		got, err := withViewer([]byte(before), "x")
		must(t, err)
		equal(t, after, string(got))
		back, err := viewerOf(got)
		must(t, err)
		equal(t, viewer("x"), back)
	}
}

// Whatever a document is: it is refused, or comes back with that one element
// changed, and as it was when the old one is put back.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{
		documentOf(byDefaultXML, "a.test"), documentOf("", "a.test"), documentOf("<ViewerCertificate/>"),
		`<DistributionConfig><ViewerCertificate><!-- </ViewerCertificate> --><a><![CDATA[</ViewerCertificate>]]></a></ViewerCertificate></DistributionConfig>`,
		`<x:DistributionConfig xmlns:x="y"><x:ViewerCertificate>1</x:ViewerCertificate></x:DistributionConfig>`, `<DistributionConfig>`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, document string) {
		var valid struct{ XMLName xml.Name }
		if xml.Unmarshal([]byte(document), &valid) != nil {
			return // the SDK has refused it
		}
		before, err := viewerOf([]byte(document))
		if err != nil {
			return
		}
		const fresh = viewer("<ACMCertificateArn>a</ACMCertificateArn>")
		changed, err := withViewer([]byte(document), fresh)
		if err != nil {
			t.Fatal(err)
		}
		after, err := viewerOf(changed)
		if err != nil || after != fresh {
			t.Fatalf("%q is in\n%s\n%v", after, changed, err)
		}
		if !strings.Contains(document, "<ViewerCertificate>"+string(before)+"</ViewerCertificate>") {
			return // its tags are written otherwise
		}
		back, err := withViewer(changed, before)
		if err != nil || !bytes.Equal(back, []byte(document)) {
			t.Fatalf("back it is\n%s\n%v", back, err)
		}
	})
}
