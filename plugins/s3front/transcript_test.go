package main

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/certwright/certwright/sdk"
)

// documented answers a request with what the vendor's document has as an example,
// and keeps the request.
type documented struct {
	who    *account
	status int
	header http.Header
	answer string

	request *http.Request
	body    []byte
	wrong   *refusal
}

// Do implements aws.HTTPClient.
func (d *documented) Do(r *http.Request) (*http.Response, error) {
	d.request, d.body = r, nil
	if r.Body != nil {
		d.body, _ = io.ReadAll(r.Body)
	}
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	_, d.wrong = verify(r, d.body, []*account{d.who}, time.Now())
	return &http.Response{StatusCode: d.status, Header: d.header, Body: io.NopCloser(strings.NewReader(d.answer)), Request: r, Proto: "HTTP/1.1"}, nil
}

// Each request is what the API's reference wants, and each answer that it shows
// is understood. The addresses are those of AWS: no endpoint is set.
func TestTranscripts(t *testing.T) {
	const (
		arn     = "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012"
		iamHead = `<%sResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">`
	)
	m := materialOf(certificate(t, "a.test"))
	metadata := `<ServerCertificateMetadata><Path>/company/servercerts/</Path><Arn>arn:aws:iam::123456789012:server-certificate/company/servercerts/ProdServerCert</Arn>` +
		`<ServerCertificateName>ProdServerCert</ServerCertificateName><UploadDate>2010-05-08T01:02:03.004Z</UploadDate>` +
		`<ServerCertificateId>ASCACKCEVSQ6C2EXAMPLE</ServerCertificateId><Expiration>2012-05-08T01:02:03.004Z</Expiration></ServerCertificateMetadata>`
	jsonHeader, xmlHeader := http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, http.Header{"Content-Type": {"text/xml"}}
	distributionHeader := http.Header{"Etag": {"E2QWRUHAPOMQZL"}, "Content-Type": {"text/xml"}}
	document := documentOf(byDefaultXML, "a.test")
	for name, tt := range map[string]struct {
		// document of the vendor, beside which this was written.
		document string
		call     func(*testing.T, *cloud) error
		// status, header and answer of the example.
		status int
		header http.Header
		answer string
		// method, address and header of the request syntax; form and fields are what
		// is in the body.
		method, address string
		want            map[string]string
		form, fields    []string
		// sent is the whole body.
		sent string
	}{
		"PutObject": {
			document: "https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html",
			call: func(t *testing.T, c *cloud) error {
				out, err := c.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("amzn-s3-demo-bucket"), Key: aws.String("a b/TOKEN"),
					Body: strings.NewReader("answer"), ContentType: aws.String("application/octet-stream"), CacheControl: aws.String("no-store"), ACL: types.ObjectCannedACLPublicRead})
				if err == nil {
					equal(t, `"1b2cf535f27731c974343645a3985328"`, aws.ToString(out.ETag))
				}
				return err
			},
			status: 200, header: http.Header{"Etag": {`"1b2cf535f27731c974343645a3985328"`}},
			method: "PUT", address: "https://amzn-s3-demo-bucket.s3.eu-west-3.amazonaws.com/a%20b/TOKEN",
			want: map[string]string{"Content-Type": "application/octet-stream", "Cache-Control": "no-store", "X-Amz-Acl": "public-read", "Content-Encoding": ""},
		},
		"PutObject, a name with dots": {
			document: "https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html",
			call: func(t *testing.T, c *cloud) error {
				_, err := c.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("www.example.com"), Key: aws.String("TOKEN"), Body: strings.NewReader("answer")})
				return err
			},
			// No certificate of S3 is for www.example.com.s3.….
			status: 200, method: "PUT", address: "https://s3.eu-west-3.amazonaws.com/www.example.com/TOKEN",
		},
		"DeleteObject": {
			document: "https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html",
			call: func(t *testing.T, c *cloud) error {
				_, err := c.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("amzn-s3-demo-bucket"), Key: aws.String("TOKEN")})
				return err
			},
			status: 204, method: "DELETE", address: "https://amzn-s3-demo-bucket.s3.eu-west-3.amazonaws.com/TOKEN",
		},
		"GetDistributionConfig": {
			document: "https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_GetDistributionConfig.html",
			call: func(t *testing.T, c *cloud) error {
				d, err := c.distribution(t.Context(), "EDFDVBD6EXAMPLE")
				if err == nil {
					equal(t, "E2QWRUHAPOMQZL", d.etag)
					equal(t, document, string(d.document))
				}
				return err
			},
			status: 200, header: distributionHeader, answer: document,
			method: "GET", address: "https://cloudfront.amazonaws.com/2020-05-31/distribution/EDFDVBD6EXAMPLE/config",
		},
		"UpdateDistribution": {
			document: "https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_UpdateDistribution.html",
			call: func(t *testing.T, c *cloud) error {
				_, err := c.update(t.Context(), "EDFDVBD6EXAMPLE", func(v viewer) (viewer, bool) {
					after, err := v.with(source{byACM, arn}, "TLSv1.2_2021")
					return after, err == nil
				})
				return err
			},
			status: 200, header: distributionHeader, answer: document,
			method: "PUT", address: "https://cloudfront.amazonaws.com/2020-05-31/distribution/EDFDVBD6EXAMPLE/config",
			want: map[string]string{"If-Match": "E2QWRUHAPOMQZL", "Content-Type": "application/xml"},
			sent: strings.Replace(document, byDefaultXML, "<ViewerCertificate><ACMCertificateArn>"+arn+"</ACMCertificateArn><SSLSupportMethod>sni-only</SSLSupportMethod>"+
				"<MinimumProtocolVersion>TLSv1.2_2021</MinimumProtocolVersion></ViewerCertificate>", 1),
		},
		"GetDistribution": {
			document: "https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_GetDistribution.html",
			call: func(t *testing.T, c *cloud) error {
				done, err := c.deployed(t.Context(), "EDFDVBD6EXAMPLE")
				equal(t, true, done)
				return err
			},
			status: 200, header: distributionHeader, answer: (&cloudfrontDistribution{owner: &account{}, document: document}).status("EDFDVBD6EXAMPLE"),
			method: "GET", address: "https://cloudfront.amazonaws.com/2020-05-31/distribution/EDFDVBD6EXAMPLE",
		},
		"ImportCertificate": {
			document: "https://docs.aws.amazon.com/acm/latest/APIReference/API_ImportCertificate.html",
			call:     func(t *testing.T, c *cloud) error { return c.reimport(t.Context(), arn, m) },
			status:   200, header: jsonHeader, answer: `{"CertificateArn": "` + arn + `"}`,
			method: "POST", address: "https://acm.us-east-1.amazonaws.com/",
			want:   map[string]string{"X-Amz-Target": "CertificateManager.ImportCertificate", "Content-Type": "application/x-amz-json-1.1"},
			fields: []string{"Certificate", "CertificateArn", "CertificateChain", "PrivateKey"},
		},
		"GetCertificate": {
			document: "https://docs.aws.amazon.com/acm/latest/APIReference/API_GetCertificate.html",
			call: func(t *testing.T, c *cloud) error {
				got, err := c.inACM(t.Context(), arn)
				equal(t, material{Leaf: "leaf", Chain: "chain"}, got)
				return err
			},
			status: 200, header: jsonHeader, answer: `{"Certificate": "leaf", "CertificateChain": "chain"}`,
			method: "POST", address: "https://acm.us-east-1.amazonaws.com/",
			want:   map[string]string{"X-Amz-Target": "CertificateManager.GetCertificate", "Content-Type": "application/x-amz-json-1.1"},
			fields: []string{"CertificateArn"},
		},
		"ListCertificates": {
			document: "https://docs.aws.amazon.com/acm/latest/APIReference/API_ListCertificates.html",
			call: func(t *testing.T, c *cloud) error {
				found, err := c.searchACM(t.Context(), m.equal)
				equal(t, "", found)
				return err
			},
			status: 200, header: jsonHeader, answer: `{"CertificateSummaryList": [{"CertificateArn": "` + arn + `", "DomainName": "www.example.com", "Type": "AMAZON_ISSUED"}]}`,
			method: "POST", address: "https://acm.us-east-1.amazonaws.com/",
			want:   map[string]string{"X-Amz-Target": "CertificateManager.ListCertificates", "Content-Type": "application/x-amz-json-1.1"},
			fields: []string{"Includes"},
		},
		"DeleteCertificate": {
			document: "https://docs.aws.amazon.com/acm/latest/APIReference/API_DeleteCertificate.html",
			call: func(t *testing.T, c *cloud) error {
				inUse, err := c.discard(t.Context(), made{Store: inACM, ID: arn})
				equal(t, true, inUse)
				return err
			},
			status: 400, header: jsonHeader, answer: `{"__type": "ResourceInUseException", "message": "Certificate ` + arn + ` is in use."}`,
			method: "POST", address: "https://acm.us-east-1.amazonaws.com/",
			want:   map[string]string{"X-Amz-Target": "CertificateManager.DeleteCertificate", "Content-Type": "application/x-amz-json-1.1"},
			fields: []string{"CertificateArn"},
		},
		"UploadServerCertificate": {
			document: "https://docs.aws.amazon.com/IAM/latest/APIReference/API_UploadServerCertificate.html",
			call: func(t *testing.T, c *cloud) error {
				id, err := c.uploadToIAM(t.Context(), "ProdServerCert", m)
				equal(t, "ASCACKCEVSQ6C2EXAMPLE", id)
				return err
			},
			status: 200, header: xmlHeader,
			answer: strings.Replace(iamHead, "%s", "UploadServerCertificate", 1) + "<UploadServerCertificateResult>" + metadata + "</UploadServerCertificateResult></UploadServerCertificateResponse>",
			method: "POST", address: "https://iam.amazonaws.com/",
			form: []string{"Action=UploadServerCertificate", "CertificateBody", "CertificateChain", "Path=" + iamPath, "PrivateKey", "ServerCertificateName=ProdServerCert", "Version=2010-05-08"},
		},
		"GetServerCertificate": {
			document: "https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetServerCertificate.html",
			call: func(t *testing.T, c *cloud) error {
				id, err := c.inIAM(t.Context(), "ProdServerCert")
				equal(t, "ASCACKCEVSQ6C2EXAMPLE", id)
				return err
			},
			status: 200, header: xmlHeader,
			answer: strings.Replace(iamHead, "%s", "GetServerCertificate", 1) + "<GetServerCertificateResult><ServerCertificate>" + metadata +
				"<CertificateBody>-----BEGIN CERTIFICATE-----</CertificateBody></ServerCertificate></GetServerCertificateResult></GetServerCertificateResponse>",
			method: "POST", address: "https://iam.amazonaws.com/",
			form: []string{"Action=GetServerCertificate", "ServerCertificateName=ProdServerCert", "Version=2010-05-08"},
		},
		"DeleteServerCertificate": {
			document: "https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteServerCertificate.html",
			call: func(t *testing.T, c *cloud) error {
				inUse, err := c.discard(t.Context(), made{Store: inIAM, ID: "ProdServerCert"})
				equal(t, true, inUse)
				return err
			},
			status: 409, header: xmlHeader,
			answer: `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>DeleteConflict</Code><Message>in use</Message></Error><RequestId>r</RequestId></ErrorResponse>`,
			method: "POST", address: "https://iam.amazonaws.com/",
			form: []string{"Action=DeleteServerCertificate", "ServerCertificateName=ProdServerCert", "Version=2010-05-08"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			who := &account{key: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", token: "session"}
			d := &documented{who: who, status: tt.status, header: tt.header, answer: tt.answer}
			s := settings{AccessKeyID: sdk.Secret(who.key), SecretAccessKey: sdk.Secret(who.secret), SessionToken: sdk.Secret(who.token), Region: "eu-west-3"}
			if err := tt.call(t, newCloudBy(d, s, hasty)); err != nil {
				t.Fatalf("%s: %v", tt.document, err)
			}
			if d.wrong != nil {
				t.Errorf("the signature: %v", d.wrong)
			}
			address := *d.request.URL
			address.RawQuery = ""
			equal(t, tt.method+" "+tt.address, d.request.Method+" "+address.String())
			if query := d.request.URL.Query(); len(query) > 1 || len(query) == 1 && query.Get("x-id") == "" { // the SDK's own mark
				t.Errorf("the query is %q", d.request.URL.RawQuery)
			}
			for header, want := range tt.want {
				equal(t, want, d.request.Header.Get(header))
			}
			if tt.sent != "" {
				equal(t, tt.sent, string(d.body))
			}
			if tt.fields != nil {
				var body map[string]json.RawMessage
				must(t, json.Unmarshal(d.body, &body))
				equal(t, tt.fields, slices.Sorted(maps.Keys(body)))
				if name == "ImportCertificate" { // blobs are base64
					equal(t, `"`+base64.StdEncoding.EncodeToString([]byte(m.Leaf))+`"`, string(body["Certificate"]))
				}
			}
			if tt.form != nil {
				equal(t, "application/x-www-form-urlencoded", d.request.Header.Get("Content-Type"))
				values, err := url.ParseQuery(string(d.body))
				must(t, err)
				var got []string
				for _, k := range slices.Sorted(maps.Keys(values)) {
					if slices.Contains(tt.form, k) {
						got = append(got, k)
						continue
					}
					got = append(got, k+"="+values.Get(k))
				}
				equal(t, tt.form, got)
			}
		})
	}
}
