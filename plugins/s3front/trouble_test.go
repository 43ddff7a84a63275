package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/sdk"
)

// What lasts is a problem that may pass, and says what was attempted; the rollback
// that the host does then leaves everything as it was, once the trouble is over.
func TestLastingTrouble(t *testing.T) {
	operations := map[string]struct{ store, service, says string }{
		"GetDistributionConfig":   {inACM, "cloudfront", "read the configuration of the distribution E1"},
		"UpdateDistribution":      {inACM, "cloudfront", "change the viewer certificate of the distribution E1"},
		"GetDistribution":         {inACM, "cloudfront", "read the status of the distribution E1"},
		"ImportCertificate":       {inACM, "acm", "import the certificate into ACM"},
		"UploadServerCertificate": {inIAM, "iam", "upload the certificate to IAM"},
		"GetServerCertificate":    {inIAM, "iam", "upload the certificate to IAM"},
	}
	for what, trouble := range map[string]struct {
		do   func(*fake, string) func(http.ResponseWriter, *http.Request)
		code sdk.Code
	}{
		"throttled": {func(_ *fake, service string) func(http.ResponseWriter, *http.Request) {
			return answers(service, http.StatusBadRequest, "ThrottlingException")
		}, sdk.RateLimited},
		"429": {func(_ *fake, service string) func(http.ResponseWriter, *http.Request) {
			return answers(service, http.StatusTooManyRequests, "SomethingNew")
		}, sdk.RateLimited},
		"500": {func(_ *fake, service string) func(http.ResponseWriter, *http.Request) {
			return answers(service, http.StatusInternalServerError, "InternalFailure")
		}, sdk.Unavailable},
		"409": {func(_ *fake, service string) func(http.ResponseWriter, *http.Request) {
			return answers(service, http.StatusConflict, "ConcurrentModification")
		}, sdk.Conflict},
		"412": {func(_ *fake, service string) func(http.ResponseWriter, *http.Request) {
			return answers(service, http.StatusPreconditionFailed, "PreconditionFailed")
		}, sdk.Conflict},
		"cut":  {func(*fake, string) func(http.ResponseWriter, *http.Request) { return cut }, sdk.Unavailable},
		"slow": {func(f *fake, _ string) func(http.ResponseWriter, *http.Request) { return f.slow }, sdk.Timeout},
	} {
		for name, one := range operations {
			if what == "slow" && strings.HasPrefix(name, "Get") {
				continue // it takes long, and they are sent in the same way
			}
			t.Run(name+" "+what, func(t *testing.T) {
				t.Parallel()
				cloud, _, f := deploying(t, byDefaultXML, "a.test")
				original, dir := cloud.document("E1"), t.TempDir()
				s := f.settings
				s.Store, s.Wait = one.store, 20*hasty.pause
				f = newFront()
				f.settings, f.patience = s, hasty
				f.patience.tries, f.patience.settle = 2, 20*hasty.pause
				if what == "slow" {
					f.patience.request, f.patience.tries = time.Second, 3
				}
				must(t, f.Configure(t.Context(), sdk.Instance{Name: "test", StateDir: dir}))
				cloud.next(name, 1<<30, trouble.do(cloud, one.service))
				_, err := deploy(t.Context(), f, certificate(t, "a.test"), "1")
				p := problem(t, err)
				slow := what == "slow" && p.Code == sdk.Unavailable // the SDK has its own words for it
				if p.Code != trouble.code && !slow || p.Retry != sdk.RetryLater || !strings.Contains(p.Error(), one.says) {
					t.Errorf("%+v", p)
				}
				cloud.calm()
				later := configured(t, f.settings, dir)
				must(t, later.Rollback(operation(t.Context(), "a.test", "r"), 1, &recorder{}))
				equal(t, original, cloud.document("E1"))
				equal(t, nil, cloud.acmCertificates())
				equal(t, nil, cloud.iamCertificates())
			})
		}
	}
}
