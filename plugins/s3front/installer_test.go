package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// deploying puts a distribution E1 for the names in place, and gives an instance
// for it.
func deploying(t *testing.T, viewer string, names ...string) (*fake, *account, *front) {
	t.Helper()
	cloud := start(t)
	who := cloud.open("")
	cloud.distribution("E1", who, documentOf(viewer, names...))
	s := cloud.settings(who)
	s.Distributions = []string{"E1"}
	return cloud, who, configured(t, s, t.TempDir())
}

var viewerPattern = regexp.MustCompile(`(?s)(</Enabled>)(?:<ViewerCertificate>.*</ViewerCertificate>)?(<FutureFeature)`)

// viewerAtEnd is where it is put if there was none.
var viewerAtEnd = regexp.MustCompile(`(</Staging>)<ViewerCertificate>.*</ViewerCertificate>(</DistributionConfig>)`)

// around is all of a document but the viewer certificate.
func around(t *testing.T, document string) string {
	t.Helper()
	document = viewerAtEnd.ReplaceAllString(document, "$1$2")
	if !viewerPattern.MatchString(document) {
		t.Fatalf("the viewer certificate is not where it was:\n%s", document)
	}
	return viewerPattern.ReplaceAllString(document, "$1$2")
}

// next is a later process of the same instance.
func (f *front) next(t *testing.T) *front {
	t.Helper()
	return configured(t, f.settings, filepath.Dir(f.book.dir))
}

func rolledBack(t *testing.T, f *front, lineage, id string) {
	t.Helper()
	must(t, f.Rollback(operation(t.Context(), lineage, id), 1, &recorder{}))
}

// The whole life, in both stores: deployed over CloudFront's own certificate,
// over another one, and over none; renewed, renewed, and taken back step by step.
func TestLife(t *testing.T) {
	other := `<ViewerCertificate>` + "\n  " + `<ACMCertificateArn>arn:aws:acm:us-east-1:1:certificate/theirs</ACMCertificateArn><SSLSupportMethod>vip</SSLSupportMethod>` +
		`<MinimumProtocolVersion>TLSv1.3_2025</MinimumProtocolVersion><Unknown a="1">x<y/></Unknown><Certificate>old</Certificate></ViewerCertificate>`
	for name, before := range map[string]string{"default": byDefaultXML, "another": other, "none": ""} {
		for _, store := range []string{inACM, inIAM} {
			t.Run(name+", "+store, func(t *testing.T) {
				cloud, who, f := deploying(t, before, "a.test", "www.a.test")
				f.settings.Store = store
				if name == "another" {
					theirs, wrong := newStored(who, materialOf(certificate(t, "a.test", "www.a.test")))
					if wrong != nil {
						t.Fatal(wrong)
					}
					cloud.acm["arn:aws:acm:us-east-1:1:certificate/theirs"] = theirs
				}
				original := cloud.document("E1")
				foreign := cloud.acmCertificates()

				var chain []sdk.Deployment
				var documents []string
				for _, id := range []string{"1", "2", "3"} {
					d := certificate(t, "a.test", "www.a.test")
					c, err := deploy(t.Context(), f, d, id)
					must(t, err)
					if c.ID == "" {
						t.Error("there is no checkpoint")
					}
					cloud.shows(t, "www.a.test", d.LeafPEM)
					succeeded(t, f, "a.test")
					chain, documents = append(chain, d), append(documents, cloud.document("E1"))
					equal(t, around(t, original), around(t, cloud.document("E1")))
					equal(t, 1+len(foreign), len(cloud.acmCertificates())+len(cloud.iamCertificates()))
					f = f.next(t)
				}
				policy := map[string]string{"default": "TLSv1.2_2021", "another": "TLSv1.3_2025", "none": "TLSv1.2_2021"}[name]
				if !strings.Contains(documents[0], "<MinimumProtocolVersion>"+policy+"</MinimumProtocolVersion>") ||
					name == "another" && !strings.Contains(documents[0], `<SSLSupportMethod>vip</SSLSupportMethod>`) ||
					name == "another" && !strings.Contains(documents[0], `<Unknown a="1">x<y/></Unknown>`) {
					t.Errorf("what is not about the certificate has changed:\n%s", documents[0])
				}
				if store == inACM {
					equal(t, documents[0], documents[2]) // the ARN stays
				}
				// Half of it by another process.
				rolledBack(t, f, "a.test", "r1")
				cloud.shows(t, "a.test", chain[1].LeafPEM)
				f = f.next(t)
				rolledBack(t, f, "a.test", "r2")
				cloud.shows(t, "a.test", chain[0].LeafPEM)
				rolledBack(t, f, "a.test", "r3")
				now, err := viewerOf([]byte(cloud.document("E1")))
				must(t, err)
				was, err := viewerOf([]byte(original))
				must(t, err)
				if name == "none" {
					was = "<CloudFrontDefaultCertificate>true</CloudFrontDefaultCertificate>"
				}
				equal(t, was, now)
				equal(t, around(t, original), around(t, cloud.document("E1")))
				equal(t, foreign, cloud.acmCertificates())
				equal(t, nil, cloud.iamCertificates())
				// There is nothing left to be taken back.
				cloud.calls()
				rolledBack(t, f, "a.test", "r4")
				equal(t, nil, cloud.changes())
			})
		}
	}
}

func materialOf(d sdk.Deployment) material {
	return material{Leaf: string(d.LeafPEM), Chain: string(d.ChainPEM), Key: string(d.KeyPEM)}
}

// A renewal is one request: no distribution is changed.
func TestRenewalIsAnImport(t *testing.T) {
	cloud, _, f := deploying(t, byDefaultXML, "a.test")
	_, err := deploy(t.Context(), f, certificate(t, "a.test"), "1")
	must(t, err)
	equal(t, []string{"acm:ImportCertificate", "cloudfront:UpdateDistribution"}, cloud.changes())
	d := certificate(t, "a.test")
	_, err = deploy(t.Context(), f.next(t), d, "2")
	must(t, err)
	equal(t, []string{"acm:ImportCertificate"}, cloud.changes())
	// The same again is none, and no checkpoint.
	c, err := deploy(t.Context(), f.next(t), d, "3")
	must(t, err)
	equal(t, sdk.Checkpoint{}, c)
	equal(t, nil, cloud.changes())
}

// A certificate in ACM keeps its kind of key, so another kind is another ARN; the
// old one goes when the new one has succeeded, and comes back on a rollback.
func TestOtherKindOfKey(t *testing.T) {
	cloud, _, f := deploying(t, byDefaultXML, "a.test")
	first := certificate(t, "a.test")
	_, err := deploy(t.Context(), f, first, "1")
	must(t, err)
	succeeded(t, f, "a.test")
	before := cloud.acmCertificates()
	second := rsaCertificate(t, 2048, "a.test")
	_, err = deploy(t.Context(), f, second, "2")
	must(t, err)
	cloud.shows(t, "a.test", second.LeafPEM)
	equal(t, 2, len(cloud.acmCertificates()))
	succeeded(t, f, "a.test")
	if now := cloud.acmCertificates(); len(now) != 1 || now[0] == before[0] {
		t.Errorf("before %q, now %q", before, now)
	}
	rolledBack(t, f, "a.test", "r")
	cloud.shows(t, "a.test", first.LeafPEM)
	equal(t, 1, len(cloud.acmCertificates()))
}

// What is in use still is not deleted, and is by a later run.
func TestInUseStill(t *testing.T) {
	for _, store := range []string{inACM, inIAM} {
		cloud, _, f := deploying(t, byDefaultXML, "a.test")
		f.settings.Store = store
		_, err := deploy(t.Context(), f, certificate(t, "a.test"), "1")
		must(t, err)
		succeeded(t, f, "a.test")
		cloud.distributions["E1"].spreading = 1 // the servers have the old one
		cloud.distributions["E1"].deployed = cloud.document("E1")
		_, err = deploy(t.Context(), f, rsaCertificate(t, 2048, "a.test"), "2")
		must(t, err)
		r := &recorder{}
		_, err = f.Run(t.Context(), sdk.HookEvent{Event: sdk.EventPost, Renewed: []string{"a.test"}}, r)
		must(t, err)
		equal(t, 2, len(cloud.acmCertificates())+len(cloud.iamCertificates()))
		if !strings.Contains(strings.Join(r.progress, "\n"), "in use still") {
			t.Errorf("nobody was told: %q", r.progress)
		}
		cloud.distributions["E1"].deployed = cloud.document("E1")
		succeeded(t, f.next(t), "a.test")
		equal(t, 1, len(cloud.acmCertificates())+len(cloud.iamCertificates()))
	}
}

// Somebody else changes the distribution between our look and our update: we
// look again, and what he has done stays.
func TestPrecondition(t *testing.T) {
	cloud, _, f := deploying(t, byDefaultXML, "a.test")
	cloud.distributions["E1"].rival = func(document string) string {
		return strings.Replace(document, "<Staging>false</Staging>", "<Staging>false</Staging><Rival>was here</Rival>", 1)
	}
	d := certificate(t, "a.test")
	_, err := deploy(t.Context(), f, d, "1")
	must(t, err)
	equal(t, []string{"acm:ImportCertificate", "cloudfront:UpdateDistribution 412", "cloudfront:UpdateDistribution"}, cloud.changes())
	if !strings.Contains(cloud.document("E1"), "<Rival>was here</Rival>") {
		t.Error("what somebody else has done is gone")
	}
	cloud.shows(t, "a.test", d.LeafPEM)
}

// CloudFront does not know a new certificate at once.
func TestNewCertificateIsUnknown(t *testing.T) {
	cloud, _, f := deploying(t, byDefaultXML, "a.test")
	cloud.distributions["E1"].takes = 3
	d := certificate(t, "a.test")
	_, err := deploy(t.Context(), f, d, "1")
	must(t, err)
	cloud.shows(t, "a.test", d.LeafPEM)
}

// A certificate goes to the distributions whose names it has, exactly.
func TestNames(t *testing.T) {
	for name, tt := range map[string]struct {
		aliases, names []string
		fails          string
	}{
		"same":             {[]string{"a.test"}, []string{"a.test"}, ""},
		"more":             {[]string{"a.test"}, []string{"a.test", "b.test"}, ""},
		"wildcard":         {[]string{"www.a.test"}, []string{"*.a.test", "a.test"}, ""},
		"wildcard alias":   {[]string{"*.a.test"}, []string{"*.a.test"}, ""},
		"case":             {[]string{"A.test"}, []string{"a.test"}, ""},
		"sub-domain":       {[]string{"www.a.test"}, []string{"a.test"}, "names nothing that the distributions serve: www.a.test"},
		"super-domain":     {[]string{"a.test"}, []string{"www.a.test"}, "names nothing that the distributions serve: a.test"},
		"base of wildcard": {[]string{"a.test"}, []string{"*.a.test"}, "names nothing that"},
		"wildcard too":     {[]string{"*.a.test"}, []string{"a.test"}, "names nothing that"},
		"no alias":         {nil, []string{"a.test"}, "names nothing that the distributions serve: they have no alternate domain names"},
		"some":             {[]string{"a.test", "b.test"}, []string{"a.test"}, "the distribution E1 serves b.test, which the certificate does not name"},
	} {
		cloud, _, f := deploying(t, byDefaultXML, tt.aliases...)
		_, err := deploy(t.Context(), f, certificate(t, tt.names...), "1")
		if tt.fails == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if p := problem(t, err); p.Code != sdk.Conflict || p.Retry != sdk.RetryNever || !strings.Contains(p.Error(), tt.fails) || p.Hint == "" {
			t.Errorf("%s: %+v", name, p)
		}
		equal(t, nil, cloud.changes())
	}
}

// A distribution without aliases beside the one that is meant keeps what it has.
func TestDistributionWithoutAliases(t *testing.T) {
	cloud, who, f := deploying(t, byDefaultXML, "a.test")
	bare := documentOf(byDefaultXML)
	cloud.distribution("E2", who, bare)
	f.settings.Distributions = []string{"E1", "E2"}
	d := certificate(t, "a.test")
	_, err := deploy(t.Context(), f, d, "1")
	must(t, err)
	cloud.shows(t, "a.test", d.LeafPEM)
	equal(t, bare, cloud.document("E2"))
}

// Two certificates of one instance, one a sub-domain of the other, go their own
// ways.
func TestTwoCertificates(t *testing.T) {
	for _, store := range []string{inACM, inIAM} {
		cloud, who, f := deploying(t, byDefaultXML, "a.test")
		cloud.distribution("E2", who, documentOf(byDefaultXML, "www.a.test"))
		f.settings.Distributions, f.settings.Store = []string{"E1", "E2"}, store
		first, second := certificate(t, "a.test"), certificate(t, "www.a.test")
		for i, d := range []sdk.Deployment{first, second, certificate(t, "www.a.test")} {
			_, err := deploy(t.Context(), f, d, string(rune('1'+i)))
			must(t, err)
			second = d
			succeeded(t, f, d.Lineage)
		}
		cloud.shows(t, "a.test", first.LeafPEM)
		cloud.shows(t, "www.a.test", second.LeafPEM)
		equal(t, 2, len(cloud.acmCertificates())+len(cloud.iamCertificates()))
		rolledBack(t, f, "www.a.test", "r1")
		rolledBack(t, f, "www.a.test", "r2")
		cloud.shows(t, "a.test", first.LeafPEM)
		if !strings.Contains(cloud.document("E2"), byDefaultXML) {
			t.Errorf("E2 has %s", cloud.document("E2"))
		}
	}
}

// What the owner has decided since is not taken back.
func TestDecidedSince(t *testing.T) {
	cloud, who, f := deploying(t, byDefaultXML, "a.test")
	_, err := deploy(t.Context(), f, certificate(t, "a.test"), "1")
	must(t, err)
	theirs, _ := newStored(who, materialOf(certificate(t, "a.test")))
	cloud.acm["arn:theirs"] = theirs
	chosen := `<ViewerCertificate><ACMCertificateArn>arn:theirs</ACMCertificateArn><SSLSupportMethod>sni-only</SSLSupportMethod><MinimumProtocolVersion>TLSv1.2_2021</MinimumProtocolVersion></ViewerCertificate>`
	document := documentOf(chosen, "a.test")
	cloud.distributions["E1"].document, cloud.distributions["E1"].deployed = document, document
	// Ours is in no use now, and is not ours to judge.
	succeeded(t, f, "a.test")
	equal(t, 2, len(cloud.acmCertificates()))
	r := &recorder{}
	must(t, f.Rollback(operation(t.Context(), "a.test", "r"), 1, r))
	equal(t, document, cloud.document("E1"))
	if !strings.Contains(strings.Join(r.progress, "\n"), "serves another certificate by now, and keeps it") {
		t.Errorf("%q", r.progress)
	}
	// The next deployment replaces it, and a rollback brings it back.
	_, err = deploy(t.Context(), f, certificate(t, "a.test"), "2")
	must(t, err)
	rolledBack(t, f, "a.test", "r2")
	equal(t, document, cloud.document("E1"))
}

func TestDryRun(t *testing.T) {
	cloud, _, f := deploying(t, byDefaultXML, "a.test")
	d := certificate(t, "a.test")
	d.DryRun = true
	r := &recorder{}
	must(t, f.Deploy(operation(t.Context(), "a.test", "1"), d, r))
	result := r.results["a.test"]
	if !result.Changed || !strings.Contains(result.Diff, "-CloudFront's own certificate\n+certificate ") || strings.Contains(result.Diff, "PRIVATE") {
		t.Errorf("%+v", result)
	}
	equal(t, nil, cloud.changes())
	entries, err := os.ReadDir(f.book.dir)
	must(t, err)
	equal(t, 0, len(entries))
	d.DryRun = false
	_, err = deploy(t.Context(), f, d, "2")
	must(t, err)
	d.DryRun = true
	must(t, f.Deploy(operation(t.Context(), "a.test", "3"), d, r))
	if result := r.results["a.test"]; result.Changed || result.Diff != "" {
		t.Errorf("%+v", result)
	}
}

// With wait it is not before CloudFront's servers have it that Restart ends.
func TestWait(t *testing.T) {
	cloud, _, f := deploying(t, byDefaultXML, "a.test")
	first := certificate(t, "a.test")
	_, err := deploy(t.Context(), f, first, "1")
	must(t, err)
	f.settings.Wait = hasty.settle
	cloud.distributions["E1"].spreading = 4
	cloud.distributions["E1"].deployed = documentOf(byDefaultXML, "a.test")
	d := rsaCertificate(t, 2048, "a.test")
	_, err = deploy(t.Context(), f, d, "2")
	must(t, err)
	cloud.shows(t, "a.test", d.LeafPEM)
	equal(t, 0, cloud.distributions["E1"].spreading)
	cloud.distributions["E1"].spreading = 1 << 30
	f.settings.Wait = 20 * hasty.pause
	p := problem(t, f.Restart(operation(t.Context(), "a.test", "3"), &recorder{}))
	if p.Code != sdk.Timeout || !strings.Contains(p.Hint, "wait") {
		t.Errorf("%+v", p)
	}
}

// Every request may fail for a moment, or lose its answer; there is one
// certificate afterwards, and it is served.
func TestTrouble(t *testing.T) {
	operations := map[string][]string{
		inACM: {"ImportCertificate", "GetDistributionConfig", "UpdateDistribution", "DeleteCertificate", "GetCertificate"},
		inIAM: {"UploadServerCertificate", "GetServerCertificate", "GetDistributionConfig", "UpdateDistribution", "DeleteServerCertificate"},
	}
	services := map[string]string{"ImportCertificate": "acm", "DeleteCertificate": "acm", "GetCertificate": "acm",
		"UploadServerCertificate": "iam", "GetServerCertificate": "iam", "DeleteServerCertificate": "iam"}
	throttling := map[string]string{"acm": "ThrottlingException", "iam": "Throttling", "": "Throttling"}
	for store, all := range operations {
		for _, name := range all {
			for what, trouble := range map[string]func(*fake){
				"throttled": func(c *fake) {
					c.next(name, 2, answers(services[name], http.StatusBadRequest, throttling[services[name]]))
				},
				"broken": func(c *fake) {
					c.next(name, 2, answers(services[name], http.StatusInternalServerError, "InternalFailure"))
				},
				"cut":  func(c *fake) { c.next(name, 2, cut) },
				"lost": func(c *fake) { c.lose(name, 2) },
			} {
				t.Run(store+" "+name+" "+what, func(t *testing.T) {
					t.Parallel()
					cloud, _, f := deploying(t, byDefaultXML, "a.test")
					f.settings.Store = store
					d := certificate(t, "a.test")
					for i := range 2 {
						if i == 1 {
							d = rsaCertificate(t, 1024, "a.test")
						}
						cloud.calm()
						trouble(cloud)
						_, err := deploy(t.Context(), f, d, string(rune('1'+i)))
						must(t, err)
						cloud.shows(t, "a.test", d.LeafPEM)
						succeeded(t, f, "a.test")
					}
					equal(t, 1, len(cloud.acmCertificates())+len(cloud.iamCertificates()))
				})
			}
		}
	}
}

// What AWS does not do is a problem, and everything is as before after the
// rollback that the host does then.
func TestRefusedDeployment(t *testing.T) {
	for name, tt := range map[string]struct {
		denied string
		code   sdk.Code
		text   string
	}{
		"look":   {"cloudfront:GetDistributionConfig", sdk.PermissionDenied, "read the configuration of the distribution E1"},
		"import": {"acm:ImportCertificate", sdk.PermissionDenied, "import the certificate into ACM"},
		"update": {"cloudfront:UpdateDistribution", sdk.PermissionDenied, "change the viewer certificate of the distribution E1"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud, who, f := deploying(t, byDefaultXML, "a.test")
			original := cloud.document("E1")
			who.denied[tt.denied] = true
			_, err := deploy(t.Context(), f, certificate(t, "a.test"), "1")
			p := problem(t, err)
			if p.Code != tt.code || p.Retry != sdk.RetryNever || !strings.Contains(p.Error(), tt.text) || !strings.Contains(p.Hint, "permissions") {
				t.Errorf("%+v", p)
			}
			delete(who.denied, tt.denied)
			rolledBack(t, f, "a.test", "r")
			equal(t, original, cloud.document("E1"))
			equal(t, nil, cloud.acmCertificates())
		})
	}
	cloud, _, f := deploying(t, byDefaultXML, "a.test")
	f.settings.Distributions = []string{"E9"}
	if p := problem(t, f.Health(t.Context(), true)); p.Code != sdk.NotFound || !strings.Contains(p.Error(), "NoSuchDistribution") {
		t.Errorf("%+v", p)
	}
	f.settings.Distributions = nil
	if p := problem(t, f.Deploy(t.Context(), certificate(t, "a.test"), &recorder{})); p.Subject != "distributions" {
		t.Errorf("%+v", p)
	}
	equal(t, []string{"cloudfront:GetDistributionConfig 404"}, cloud.calls())
}

func TestSites(t *testing.T) {
	cloud, _, f := deploying(t, byDefaultXML, "a.test", "*.a.test")
	got, err := f.Names(t.Context())
	must(t, err)
	equal(t, []sdk.Site{{ID: "E1", Names: []string{"a.test", "*.a.test"}}}, got)
	_, err = deploy(t.Context(), f, certificate(t, "a.test", "*.a.test"), "1")
	must(t, err)
	if got, err = f.Names(t.Context()); err != nil || !got[0].TLS {
		t.Errorf("%+v, %v", got, err)
	}
	if !slices.Contains(cloud.calls(), "cloudfront:GetDistributionConfig") {
		t.Error("nobody was asked")
	}
}
