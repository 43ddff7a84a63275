package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// performing puts a bucket in place and gives an instance for it.
func performing(t *testing.T, change func(*settings)) (*fake, *account, *front) {
	t.Helper()
	cloud := start(t)
	who := cloud.open("")
	cloud.bucket("site", who)
	s := cloud.settings(who)
	s.Bucket = "site"
	if change != nil {
		change(&s)
	}
	return cloud, who, configured(t, s, t.TempDir())
}

func TestObjects(t *testing.T) {
	for prefix, place := range map[string]string{"": "site", "/some/folder/": "site/some/folder", "a b+ü": "site/a b+ü"} {
		cloud, _, f := performing(t, func(s *settings) { s.Prefix = prefix })
		cloud.names(place, "127.0.0.1")
		challenges := []sdk.Challenge{challenge("a.test", "token-a"), challenge("b.test", "token_b")}
		r := &recorder{}
		must(t, f.Perform(operation(t.Context(), "a.test", "1"), challenges, r))
		for _, c := range challenges {
			must(t, r.results[c.ID].Err)
			equal(t, c.KeyAuthorization, visible(t, cloud, c))
		}
		for _, o := range cloud.objects("site") {
			equal(t, object{o.body, "application/octet-stream", "no-store", ""}, o)
		}
		// A new process, twice: gone is gone.
		for range 2 {
			next := configured(t, f.settings, t.TempDir())
			must(t, next.Cleanup(operation(t.Context(), "a.test", "2"), challenges, r))
			for _, c := range challenges {
				must(t, r.results[c.ID].Err)
			}
			equal(t, map[string]object{}, cloud.objects("site"))
		}
	}
}

func visible(t *testing.T, cloud *fake, c sdk.Challenge) string {
	t.Helper()
	answer, err := http.Get("http://127.0.0.1:" + strconv.Itoa(cloud.site) + c.HTTP.Path)
	must(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	return string(body)
}

func TestACL(t *testing.T) {
	cloud, _, f := performing(t, func(s *settings) { s.ACL = "public-read" })
	r := &recorder{}
	c := challenge("a.test", "token")
	must(t, f.Perform(t.Context(), []sdk.Challenge{c}, r))
	p := problem(t, r.results[c.ID].Err)
	if p.Code != sdk.InvalidConfig || !strings.Contains(p.Error(), "AccessControlListNotSupported") || !strings.Contains(p.Hint, "leave the setting acl out") {
		t.Errorf("%+v", p)
	}
	cloud.buckets["site"].acls = true
	must(t, f.Perform(t.Context(), []sdk.Challenge{c}, r))
	must(t, r.results[c.ID].Err)
	equal(t, "public-read", cloud.objects("site")[".well-known/acme-challenge/token"].acl)
}

// What is wrong with the credentials, the bucket or a challenge is said, and
// stops no other challenge.
func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change    func(*fake, *account, *settings)
		challenge func(*sdk.Challenge)
		code      sdk.Code
		text      string
		hint      string
	}{
		"wrong secret":   {change: func(_ *fake, _ *account, s *settings) { s.SecretAccessKey = "wrong" }, code: sdk.Credentials, text: "SignatureDoesNotMatch", hint: "check access_key_id"},
		"unknown key":    {change: func(_ *fake, _ *account, s *settings) { s.AccessKeyID = "AKIAOTHER" }, code: sdk.Credentials, text: "InvalidAccessKeyId", hint: "check access_key_id"},
		"wrong token":    {change: func(_ *fake, _ *account, s *settings) { s.SessionToken = "wrong" }, code: sdk.Credentials, text: "InvalidClientTokenId", hint: "session_token"},
		"expired token":  {change: func(_ *fake, a *account, _ *settings) { a.expired = true }, code: sdk.Credentials, text: "ExpiredToken", hint: "get a new session token"},
		"no permission":  {change: func(_ *fake, a *account, _ *settings) { a.denied["s3:PutObject"] = true }, code: sdk.PermissionDenied, text: "AccessDenied", hint: "permissions of the plugin's page"},
		"no bucket":      {change: func(_ *fake, _ *account, s *settings) { s.Bucket = "nowhere" }, code: sdk.NotFound, text: "into the bucket nowhere: NoSuchBucket", hint: "setting bucket"},
		"other's bucket": {change: func(c *fake, _ *account, s *settings) { c.bucket("theirs", c.open("")); s.Bucket = "theirs" }, code: sdk.PermissionDenied, text: "AccessDenied"},
		"wrong region":   {change: func(c *fake, _ *account, _ *settings) { c.buckets["site"].region = "eu-central-1" }, code: sdk.InvalidConfig, text: "eu-central-1", hint: "set region"},
		"wildcard":       {challenge: func(c *sdk.Challenge) { c.Identifier.Wildcard = true }, code: sdk.Unsupported, text: "wildcard", hint: "DNS authenticator"},
		"token":          {challenge: func(c *sdk.Challenge) { c.Token = "../../index.html" }, code: sdk.Unsupported, text: "base64url"},
		"type":           {challenge: func(c *sdk.Challenge) { c.Type = sdk.DNS01 }, code: sdk.Unsupported, text: "http-01 only"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := start(t)
			who := cloud.open("session")
			cloud.bucket("site", who)
			s := cloud.settings(who)
			s.Bucket = "site"
			c, good := challenge("a.test", "token"), challenge("b.test", "good")
			if tt.change != nil {
				tt.change(cloud, who, &s)
			}
			if tt.challenge != nil {
				tt.challenge(&c)
			}
			f := configured(t, s, t.TempDir())
			r := &recorder{}
			must(t, f.Perform(t.Context(), []sdk.Challenge{c, good}, r))
			p := problem(t, r.results[c.ID].Err)
			if p.Code != tt.code || p.Retry != sdk.RetryNever || !strings.Contains(p.Error(), tt.text) || !strings.Contains(p.Hint, tt.hint) {
				t.Errorf("%+v", p)
			}
			if strings.Contains(p.Error(), "operation error") || strings.Contains(p.Error(), who.secret) {
				t.Errorf("it is a dump: %s", p.Error())
			}
			if tt.challenge != nil {
				must(t, r.results[good.ID].Err)
			}
		})
	}
}

// What goes wrong for a moment is tried again.
func TestTriedAgain(t *testing.T) {
	for name, do := range map[string]func(http.ResponseWriter, *http.Request){
		"throttled": answers("s3", http.StatusServiceUnavailable, "SlowDown"),
		"broken":    answers("s3", http.StatusInternalServerError, "InternalError"),
		"cut":       cut,
	} {
		for _, operation := range []string{"PutObject", "DeleteObject"} {
			t.Run(name+" "+operation, func(t *testing.T) {
				cloud, _, f := performing(t, nil)
				c := challenge("a.test", "token")
				r := &recorder{}
				cloud.next(operation, 2, do)
				must(t, f.Perform(t.Context(), []sdk.Challenge{c}, r))
				must(t, r.results[c.ID].Err)
				must(t, f.Cleanup(t.Context(), []sdk.Challenge{c}, r))
				must(t, r.results[c.ID].Err)
				equal(t, []string{"s3:PutObject", "s3:DeleteObject"}, cloud.calls())
				// For good it is a failure that may pass.
				cloud.next("PutObject", 1000, do)
				must(t, f.Perform(t.Context(), []sdk.Challenge{c}, r))
				if p := problem(t, r.results[c.ID].Err); p.Retry != sdk.RetryLater || p.Code != sdk.Unavailable && p.Code != sdk.RateLimited {
					t.Errorf("%+v", p)
				}
			})
		}
	}
}

// What does not answer is given up.
func TestSlow(t *testing.T) {
	cloud := start(t)
	who := cloud.open("")
	cloud.bucket("site", who)
	f := newFront()
	f.settings, f.patience = cloud.settings(who), hasty
	f.settings.Bucket = "site"
	f.patience.request, f.patience.tries = 50*hasty.pause, 2
	must(t, f.Configure(t.Context(), sdk.Instance{StateDir: t.TempDir()}))
	cloud.next("PutObject", 1000, cloud.slow)
	c := challenge("a.test", "token")
	r := &recorder{}
	must(t, f.Perform(t.Context(), []sdk.Challenge{c}, r))
	if p := problem(t, r.results[c.ID].Err); p.Retry != sdk.RetryLater {
		t.Errorf("%+v", p)
	}
}

func TestVerify(t *testing.T) {
	cloud, _, f := performing(t, func(s *settings) { s.Prefix = "web" })
	f.settings.VerifyPort = strconv.Itoa(cloud.site)
	cloud.names("site/web", "127.0.0.1")
	c := challenge("127.0.0.1", "token")
	c.Identifier.Type = "ip"
	r := &recorder{}
	must(t, f.Perform(t.Context(), []sdk.Challenge{c}, r))
	must(t, r.results[c.ID].Err)
	// The name is served from elsewhere.
	cloud.names("site/other", "127.0.0.1")
	f.cloud.patience.settle, f.patience.settle = 20*hasty.pause, 20*hasty.pause
	must(t, f.Perform(t.Context(), []sdk.Challenge{c}, r))
	p := problem(t, r.results[c.ID].Err)
	if p.Code != sdk.NotFound || !strings.Contains(p.Error(), "it answers 404") || !strings.Contains(p.Hint, "port 80") {
		t.Errorf("%+v", p)
	}
}

// A redirect to https is followed, whatever certificate is there: CAs do so.
func TestVerifyBehindRedirect(t *testing.T) {
	_, _, f := performing(t, nil)
	c := challenge("127.0.0.1", "token")
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, c.KeyAuthorization+"\n")
	}))
	defer secure.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secure.URL+r.URL.Path, http.StatusMovedPermanently)
	}))
	defer plain.Close()
	_, f.settings.VerifyPort, _ = strings.Cut(strings.TrimPrefix(plain.URL, "http://"), ":")
	r := &recorder{}
	must(t, f.Perform(t.Context(), []sdk.Challenge{c}, r))
	must(t, r.results[c.ID].Err)
}

func TestPrefer(t *testing.T) {
	_, _, f := performing(t, nil)
	ids := []sdk.Identifier{{Type: "dns", Value: "a.test"}, {Type: "dns", Value: "a.test", Wildcard: true}}
	got, err := f.Prefer(t.Context(), ids)
	must(t, err)
	if got[0].Err != nil || got[1].Err == nil {
		t.Errorf("%+v", got)
	}
	f.settings.Bucket = ""
	if got, _ = f.Prefer(t.Context(), ids); got[0].Err == nil {
		t.Error("it would serve a name without a bucket")
	}
}
