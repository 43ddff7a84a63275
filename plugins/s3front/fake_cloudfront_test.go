package main

import (
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// cloudfrontDistribution is one of the fake's.
type cloudfrontDistribution struct {
	owner    *account
	version  int
	document string
	// spreading is how many times its status is asked for until its servers have
	// the new configuration; deployed is what they have until then.
	spreading int
	deployed  string
	// takes is after how many refusals it knows a new certificate.
	takes int
	// before an update, if it is set, somebody else is faster, once.
	rival func(document string) string
}

const cloudfrontNamespace = "http://cloudfront.amazonaws.com/doc/2020-05-31/"

// documentOf is a configuration as CloudFront sends it, with more in it than any
// version of an SDK knows.
func documentOf(viewer string, aliases ...string) string {
	items := ""
	for _, a := range aliases {
		items += "<CNAME>" + a + "</CNAME>"
	}
	return xml.Header + `<DistributionConfig xmlns="` + cloudfrontNamespace + `"><CallerReference>ref &amp; more</CallerReference>` +
		fmt.Sprintf(`<Aliases><Quantity>%d</Quantity><Items>%s</Items></Aliases>`, len(aliases), items) +
		`<DefaultRootObject></DefaultRootObject><Origins><Quantity>1</Quantity><Items><Origin><Id>site</Id><DomainName>site.s3.amazonaws.com</DomainName>` +
		`<OriginPath></OriginPath><Quantum Entangled="true"><!-- new in 2031 --><Spin>½</Spin></Quantum><S3OriginConfig><OriginAccessIdentity></OriginAccessIdentity></S3OriginConfig></Origin></Items></Origins>` +
		`<DefaultCacheBehavior><TargetOriginId>site</TargetOriginId><ViewerProtocolPolicy>redirect-to-https</ViewerProtocolPolicy></DefaultCacheBehavior>` +
		`<Comment>ViewerCertificate &lt;here&gt;</Comment><Enabled>true</Enabled>` + viewer +
		`<FutureFeature xmlns="http://example.com/other"><ViewerCertificate>not this one</ViewerCertificate></FutureFeature><Staging>false</Staging></DistributionConfig>`
}

// byDefaultXML is what a distribution has that was given no certificate.
const byDefaultXML = `<ViewerCertificate><CloudFrontDefaultCertificate>true</CloudFrontDefaultCertificate><SSLSupportMethod>vip</SSLSupportMethod>` +
	`<MinimumProtocolVersion>TLSv1</MinimumProtocolVersion><CertificateSource>cloudfront</CertificateSource></ViewerCertificate>`

func (f *fake) distribution(id string, owner *account, document string) *cloudfrontDistribution {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := &cloudfrontDistribution{owner: owner, version: 1, document: document, deployed: document}
	f.distributions[id] = d
	return d
}

// document is a distribution's configuration now.
func (f *fake) document(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.distributions[id].document
}

func (d *cloudfrontDistribution) etag() string { return fmt.Sprintf("E%dETAG", d.version) }

func (f *fake) serveCloudFront(w http.ResponseWriter, r *http.Request, who signed, body []byte) *refusal {
	rest, ok := strings.CutPrefix(r.URL.Path, "/2020-05-31/distribution/")
	id, config, _ := strings.Cut(rest, "/")
	d := f.distributions[id]
	if !ok || d == nil {
		return &refusal{http.StatusNotFound, "NoSuchDistribution", "The specified distribution does not exist."}
	}
	if d.owner != who.account {
		return &refusal{http.StatusForbidden, "AccessDenied", "Access denied."}
	}
	answer := d.document
	switch {
	case r.Method == http.MethodGet && config == "config":
	case r.Method == http.MethodGet:
		answer = d.status(id)
	case r.Method == http.MethodPut && config == "config":
		if wrong := f.update(d, r, string(body)); wrong != nil {
			return wrong
		}
		answer = d.status(id)
	default:
		return &refusal{http.StatusMethodNotAllowed, "InvalidAction", "no such action"}
	}
	w.Header().Set("Etag", d.etag())
	w.Header().Set("Content-Type", "text/xml")
	_, _ = io.WriteString(w, answer)
	return nil
}

func (d *cloudfrontDistribution) status(id string) string {
	status := "InProgress"
	if d.spreading--; d.spreading < 0 {
		status, d.deployed, d.spreading = "Deployed", d.document, 0
	}
	inner := strings.TrimPrefix(d.document, xml.Header)
	return xml.Header + `<Distribution xmlns="` + cloudfrontNamespace + `"><Id>` + id + `</Id><ARN>arn:aws:cloudfront::` + d.owner.id + `:distribution/` + id +
		`</ARN><Status>` + status + `</Status><LastModifiedTime>2026-01-01T00:00:00Z</LastModifiedTime><InProgressInvalidationBatches>0</InProgressInvalidationBatches>` +
		`<DomainName>d111111abcdef8.cloudfront.net</DomainName>` + inner + `</Distribution>`
}

func (f *fake) update(d *cloudfrontDistribution, r *http.Request, document string) *refusal {
	if d.rival != nil {
		d.document, d.version, d.rival = d.rival(d.document), d.version+1, nil
	}
	switch match := r.Header.Get("If-Match"); {
	case match == "":
		return &refusal{http.StatusBadRequest, "InvalidIfMatchVersion", "The If-Match version is missing or not valid for the resource."}
	case match != d.etag():
		return &refusal{http.StatusPreconditionFailed, "PreconditionFailed", "The request failed because it didn't meet the preconditions in one or more request-header fields."}
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/xml") && !strings.HasPrefix(r.Header.Get("Content-Type"), "text/xml"):
		return &refusal{http.StatusBadRequest, "MalformedXML", "the content type is " + r.Header.Get("Content-Type")}
	}
	var c parsed
	if err := xml.Unmarshal([]byte(document), &c); err != nil || c.XMLName.Space != cloudfrontNamespace || len(c.Viewer) != 1 {
		return &refusal{http.StatusBadRequest, "MalformedXML", "The XML document is malformed."}
	}
	v := c.Viewer[0]
	invalid := func(text string) *refusal { return &refusal{http.StatusBadRequest, "InvalidViewerCertificate", text} }
	switch sources := len(v.ACM) + len(v.IAM) + len(v.Default); {
	case sources != 1:
		return invalid("exactly one certificate source is allowed")
	case len(v.Default) == 1:
		d.document, d.version = document, d.version+1
		return nil
	case len(v.Method) != 1 || len(v.Minimum) != 1:
		return invalid("SSLSupportMethod and MinimumProtocolVersion are required")
	}
	certificate := f.certificateOf(v)
	if certificate == nil || d.takes > 0 {
		d.takes--
		return invalid("The specified SSL certificate doesn't exist, isn't in us-east-1 region, isn't valid, or doesn't include a valid certificate chain.")
	}
	for _, alias := range c.Aliases {
		if !slices.Contains(certificate.leaf.DNSNames, alias) && certificate.leaf.VerifyHostname(alias) != nil {
			return invalid("The certificate that is attached to your distribution doesn't cover the alternate domain name " + alias)
		}
	}
	d.document, d.version = document, d.version+1
	return nil
}

// parsed is a configuration as the fake reads it.
type parsed struct {
	XMLName xml.Name
	Aliases []string       `xml:"Aliases>Items>CNAME"`
	Viewer  []parsedViewer `xml:"http://cloudfront.amazonaws.com/doc/2020-05-31/ ViewerCertificate"`
}

type parsedViewer struct {
	ACM     []string `xml:"ACMCertificateArn"`
	IAM     []string `xml:"IAMCertificateId"`
	Default []string `xml:"CloudFrontDefaultCertificate"`
	Method  []string `xml:"SSLSupportMethod"`
	Minimum []string `xml:"MinimumProtocolVersion"`
}

func (f *fake) certificateOf(v parsedViewer) *stored {
	if len(v.ACM) == 1 {
		return f.acm[v.ACM[0]]
	}
	for _, s := range f.iam {
		if len(v.IAM) == 1 && s.number == v.IAM[0] && strings.HasPrefix(s.path, "/cloudfront/") {
			return s
		}
	}
	return nil
}

// inUse says whether a distribution names it.
func (f *fake) inUse(s *stored) bool {
	for _, d := range f.distributions {
		var now, there parsed
		if xml.Unmarshal([]byte(d.document), &now) == nil && len(now.Viewer) == 1 && f.certificateOf(now.Viewer[0]) == s {
			return true
		}
		// The servers may have it still.
		if xml.Unmarshal([]byte(d.deployed), &there) == nil && len(there.Viewer) == 1 && f.certificateOf(there.Viewer[0]) == s {
			return true
		}
	}
	return false
}

// viewerCertificate is what CloudFront's servers show.
func (f *fake) viewerCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.distributions {
		var c parsed
		if d.spreading == 0 {
			d.deployed = d.document
		}
		if err := xml.Unmarshal([]byte(d.deployed), &c); err != nil || !slices.Contains(c.Aliases, hello.ServerName) || len(c.Viewer) != 1 {
			continue
		}
		if s := f.certificateOf(c.Viewer[0]); s != nil {
			pair, err := tls.X509KeyPair([]byte(s.Leaf+s.Chain), []byte(s.Key))
			return &pair, err
		}
	}
	return nil, errors.New("no distribution serves " + hello.ServerName)
}
