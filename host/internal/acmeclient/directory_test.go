package acmeclient_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

func (f *fake) roots() *x509.CertPool {
	return f.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}

// longer than any test: a failure that should come at once must not need it.
const forever = time.Hour

func directoryOf(t *testing.T, o acmeclient.Options) (model.Directory, error) {
	t.Helper()
	client, err := acmeclient.New(o)
	if err != nil {
		return model.Directory{}, err
	}
	t.Cleanup(client.Close)
	return client.Directory(bounded(t))
}

func wantHint(t *testing.T, err error, code sdk.Code, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	p := sdk.ProblemOf(err)
	if p.Code != code {
		t.Errorf("code %s, want %s", p.Code, code)
	}
	for _, text := range texts {
		if !strings.Contains(p.Error()+" / "+p.Hint, text) {
			t.Errorf("error lacks %q: %v / hint: %s", text, p, p.Hint)
		}
	}
}

func TestDirectory(t *testing.T) {
	f := newFake(t)
	f.on("/dir", f.says(http.StatusOK, `{"newNonce":"$/nonce","newAccount":"$/account","newOrder":"$/order","renewalInfo":"$/ari","xyz":7,
		"meta":{"termsOfService":"$/tos","website":"$/","externalAccountRequired":true,"profiles":{"short":"six days"},"caaIdentities":["a"]}}`))
	client := f.client()
	want := model.Directory{
		URL: f.URL + "/dir", Terms: f.URL + "/tos", Website: f.URL + "/", EABRequired: true,
		Profiles: map[string]string{"short": "six days"}, RenewalInfo: f.URL + "/ari",
	}
	for range 2 {
		got, err := client.Directory(t.Context())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v, directory (-want +got):\n%s", err, diff)
		}
	}
	if got := f.count("/dir"); got != 1 {
		t.Errorf("read %d times", got)
	}
}

func TestDirectoryOnceForMany(t *testing.T) {
	f := newFake(t)
	client := f.client()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := client.Directory(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := f.count("/dir"); got != 1 {
		t.Errorf("read %d times", got)
	}
}

func TestDirectoryThatIsNone(t *testing.T) {
	for name, tt := range map[string]struct {
		status     int
		body, want string
	}{
		"html":      {200, "<!DOCTYPE html><h1>It works!</h1>", "not JSON"},
		"other":     {200, `{"hello":"world"}`, "no https address new"},
		"acme v1":   {200, `{"new-reg":"$/reg","new-cert":"$/cert"}`, "no https address new"},
		"plain":     {200, `{"newNonce":"http://x/n","newAccount":"http://x/a","newOrder":"http://x/o"}`, "no https address new"},
		"not found": {404, "<html>404</html>", "404 Not Found"},
		"forbidden": {403, "", "403 Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.on("/dir", f.says(tt.status, tt.body))
			_, err := directoryOf(t, acmeclient.Options{Server: f.URL + "/dir", Roots: f.roots(), ReachWithin: forever})
			p := sdk.ProblemOf(err)
			wantHint(t, err, p.Code, "reading the directory of the CA at "+f.URL+"/dir: ", tt.want, "--server")
			if f.count("/dir") != 1 {
				t.Errorf("asked %d times", f.count("/dir"))
			}
		})
	}
}

func TestUntrustedCAFailsAtOnce(t *testing.T) {
	f := newFake(t)
	_, err := directoryOf(t, acmeclient.Options{Server: f.URL + "/dir", Roots: x509.NewCertPool(), ReachWithin: forever})
	wantHint(t, err, sdk.Unavailable, "certificate signed by unknown authority", "--ca-bundle", "--server")
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("the cause was lost: %v", err)
	}
	_, err = directoryOf(t, acmeclient.Options{
		Server: strings.Replace(f.URL, "127.0.0.1", "localhost", 1) + "/dir", Roots: f.roots(), ReachWithin: forever,
	})
	wantHint(t, err, sdk.Unavailable, "localhost", "--ca-bundle")
}

func TestPlainHTTPFailsAtOnce(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	_, err := directoryOf(t, acmeclient.Options{Server: "https" + strings.TrimPrefix(server.URL, "http") + "/dir", ReachWithin: forever})
	wantHint(t, err, sdk.Unavailable, "check the port in --server")
}

func TestGivesUpReaching(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "https://" + listener.Addr().String() + "/dir"
	listener.Close()
	_, err = directoryOf(t, acmeclient.Options{Server: closed, ReachWithin: 50 * time.Millisecond})
	wantHint(t, err, sdk.Unavailable, "given up after 50ms", "connection refused", "check --server")

	silent := newFake(t)
	release := make(chan struct{})
	silent.on("/dir", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	_, err = directoryOf(t, acmeclient.Options{Server: silent.URL + "/dir", Roots: silent.roots(), ReachWithin: 200 * time.Millisecond})
	wantHint(t, err, sdk.Unavailable, "given up after 200ms", "no answer from")
}

func TestDirectoryComesUp(t *testing.T) {
	f := newFake(t)
	good := f.paths["/dir"]
	f.on("/dir", inTurn(f.says(http.StatusBadGateway, "<html>"), hangUp, f.says(http.StatusTooManyRequests, ""), f.says(http.StatusServiceUnavailable, ""), good))
	if _, err := f.client().Directory(bounded(t)); err != nil {
		t.Fatal(err)
	}
	// What was hung up on, net/http has asked again by itself.
	if got := f.count("/dir"); got != 5 {
		t.Errorf("%d requests", got)
	}
}

func TestReachingEndsWithItsContext(t *testing.T) {
	f := newFake(t)
	f.on("/dir", f.says(http.StatusBadGateway, ""))
	ctx, cancel := context.WithCancel(t.Context())
	client := f.client(func(o *acmeclient.Options) {
		o.ReachWithin = forever
		o.Pause = func(ctx context.Context, _ time.Duration) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
	})
	if _, err := client.Directory(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}

func TestServerMustBeHTTPS(t *testing.T) {
	for _, server := range []string{"", "letsencrypt", "http://ca.test/dir", "https:///dir", "https://a b/"} {
		_, err := acmeclient.New(acmeclient.Options{Server: server})
		wantHint(t, err, sdk.InvalidConfig, "is not the address of a CA", "--server")
	}
}
