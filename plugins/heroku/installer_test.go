package main

import (
	"encoding/pem"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// next is a later process of the same instance.
func (h *heroku) next(t *testing.T) *heroku {
	t.Helper()
	return configured(t, h.settings, stateOf(h))
}

func rolledBack(t *testing.T, h *heroku, lineage, id string) {
	t.Helper()
	must(t, h.Rollback(operation(t.Context(), lineage, id), 1, &recorder{}))
}

// theirs gives an app an SNI endpoint that somebody else has made, for a domain.
func (f *fake) theirs(t *testing.T, a *app, d sdk.Deployment, hostname string) *sni {
	t.Helper()
	h := configured(t, f.settings(first(f.tokens), a.name), t.TempDir())
	made, err := h.api.createSNIEndpoint(t.Context(), a.name, certificateBody{string(d.FullchainPEM), string(d.KeyPEM)})
	must(t, err)
	for _, one := range a.domains {
		if one.hostname == hostname {
			must(t, h.api.attach(t.Context(), a.name, one.id, made.ID))
		}
	}
	f.changes()
	return a.sni[len(a.sni)-1]
}

func first[V any](m map[string]V) string {
	for k := range m {
		return k
	}
	return ""
}

// The whole life: deployed, renewed, and taken back, with a domain that had a
// certificate before and one that had none.
func TestLife(t *testing.T) {
	cloud, a, h := performing(t, "a.test", "www.a.test", "other.test", "a.test.other.test")
	old := certificate(t, "a.test")
	before := cloud.theirs(t, a, old, "a.test")
	cloud.page = 1

	one := certificate(t, "a.test", "*.a.test")
	c, err := deploy(t.Context(), h, one, "1")
	must(t, err)
	if c.ID == "" {
		t.Error("there is no checkpoint")
	}
	cloud.shows(t, "a.test", one.LeafPEM)
	cloud.shows(t, "www.a.test", one.LeafPEM)
	equal(t, []string{"POST /sni-endpoints", "PATCH /domains", "PATCH /domains"}, cloud.changes())
	endpoints := cloud.endpoints("shop")
	equal(t, 2, len(endpoints))

	two := certificate(t, "a.test", "*.a.test")
	_, err = deploy(t.Context(), h.next(t), two, "2")
	must(t, err)
	cloud.shows(t, "www.a.test", two.LeafPEM)
	equal(t, []string{"PATCH /sni-endpoints"}, cloud.changes()) // nothing else
	// The same again is nothing, and no checkpoint.
	c, err = deploy(t.Context(), h.next(t), two, "3")
	must(t, err)
	equal(t, sdk.Checkpoint{}, c)
	equal(t, nil, cloud.changes())

	rolledBack(t, h.next(t), "a.test", "r1")
	cloud.shows(t, "a.test", one.LeafPEM) // with its key, which Heroku does not give back
	rolledBack(t, h.next(t), "a.test", "r2")
	cloud.shows(t, "a.test", old.LeafPEM)
	equal(t, []string{before.name}, cloud.endpoints("shop"))
	for _, d := range a.domains {
		if (d.sni != nil) != (d.hostname == "a.test") {
			t.Errorf("%s has %v", d.hostname, d.sni)
		}
	}
	cloud.changes()
	rolledBack(t, h.next(t), "a.test", "r3")
	equal(t, nil, cloud.changes())
}

// A name that a later certificate added is put back with it.
func TestNameMore(t *testing.T) {
	cloud, a, h := performing(t, "a.test", "b.test")
	first, second := certificate(t, "a.test"), certificate(t, "a.test", "b.test")
	second.Lineage = "a.test"
	_, err := deploy(t.Context(), h, first, "1")
	must(t, err)
	_, err = deploy(t.Context(), h, second, "2")
	must(t, err)
	cloud.shows(t, "b.test", second.LeafPEM)
	rolledBack(t, h.next(t), "a.test", "r")
	cloud.shows(t, "a.test", first.LeafPEM)
	if d := a.domains[2]; d.hostname != "b.test" || d.sni != nil {
		t.Errorf("%s has %v", d.hostname, d.sni)
	}
}

// One certificate for names of two apps; another one of the first app goes its
// own way.
func TestTwoApps(t *testing.T) {
	cloud, _, h := performing(t, "a.test", "www.a.test")
	cloud.app("blog", "b.test")
	for _, w := range cloud.tokens {
		w.apps = append(w.apps, "blog")
	}
	h.settings.Apps = map[string]string{"b.test": "blog"}
	both, own := certificate(t, "a.test", "b.test", "elsewhere.test"), certificate(t, "www.a.test")
	_, err := deploy(t.Context(), h, both, "1")
	must(t, err)
	_, err = deploy(t.Context(), h, own, "2")
	must(t, err)
	for name, d := range map[string]sdk.Deployment{"a.test": both, "b.test": both, "www.a.test": own} {
		cloud.shows(t, name, d.LeafPEM)
	}
	rolledBack(t, h, "a.test", "r")
	cloud.shows(t, "www.a.test", own.LeafPEM)
	equal(t, 1, len(cloud.endpoints("shop")))
	equal(t, 0, len(cloud.endpoints("blog")))
}

// What the owner has decided since is not taken back, and what he has deleted is
// not missed.
func TestDecidedSince(t *testing.T) {
	cloud, a, h := performing(t, "a.test")
	before := cloud.theirs(t, a, certificate(t, "a.test"), "a.test")
	_, err := deploy(t.Context(), h, certificate(t, "a.test"), "1")
	must(t, err)
	chosen := cloud.theirs(t, a, certificate(t, "a.test"), "a.test")
	rolledBack(t, h, "a.test", "r1")
	equal(t, chosen.id, a.domains[1].sni.id)

	_, err = deploy(t.Context(), h, certificate(t, "a.test"), "2")
	must(t, err)
	a.sni = a.sni[2:] // both of his are gone
	rolledBack(t, h, "a.test", "r2")
	if a.domains[1].sni != nil || len(a.sni) > 0 {
		t.Errorf("it has %v of %q, before was %s", a.domains[1].sni, cloud.endpoints("shop"), before.name)
	}
	// Ours is gone: there is another one.
	d := certificate(t, "a.test")
	_, err = deploy(t.Context(), h, d, "3")
	must(t, err)
	a.sni, a.domains[1].sni = nil, nil
	must(t, h.Restart(operation(t.Context(), "a.test", "4"), &recorder{}))
	cloud.shows(t, "a.test", d.LeafPEM)
}

func TestDeployRefused(t *testing.T) {
	cloud, a, h := performing(t, "a.test")
	// Another name, though it looks like one of the app's.
	for _, name := range []string{"www.a.test", "test", "*.a.test", "ba.test"} {
		if p := problem(t, h.Deploy(operation(t.Context(), name, "1"), certificate(t, name), &recorder{})); p.Code != sdk.NotFound || p.Hint == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	mixed := certificate(t, "a.test")
	mixed.KeyPEM = certificate(t, "a.test").KeyPEM
	if p := problem(t, h.Deploy(operation(t.Context(), "a.test", "1"), mixed, &recorder{})); !strings.Contains(p.Error(), "do not belong together") {
		t.Errorf("%+v", p)
	}
	equal(t, nil, cloud.changes())
	a.acm = true
	_, err := deploy(t.Context(), h, certificate(t, "a.test"), "2")
	if p := problem(t, err); p.Code != sdk.InvalidConfig || !strings.Contains(p.Error(), "Automated Certificate Management is enabled") {
		t.Errorf("%+v", p)
	}
	rolledBack(t, h, "a.test", "r")
	equal(t, 0, len(cloud.endpoints("shop")))
}

// Every request may fail for a moment, or lose its answer; there is one endpoint
// afterwards, and it is served.
func TestDeploymentTrouble(t *testing.T) {
	for what, trouble := range map[string]func(*fake, string, string){
		"429":  func(c *fake, m, p string) { c.next(m, p, 2, answers(429, "rate_limit", "too many")) },
		"500":  func(c *fake, m, p string) { c.next(m, p, 1, answers(500, "internal", "down")) },
		"cut":  func(c *fake, m, p string) { c.next(m, p, 1, cut) },
		"lost": func(c *fake, m, p string) { c.lose(m, p, 1) },
	} {
		for _, at := range []string{"GET /domains", "POST /sni-endpoints", "PATCH /domains", "GET /sni-endpoints", "PATCH /sni-endpoints", "DELETE /sni-endpoints"} {
			t.Run(what+" "+at, func(t *testing.T) {
				t.Parallel()
				cloud, _, h := performing(t, "a.test")
				method, path, _ := strings.Cut(at, " ")
				for _, id := range []string{"1", "2"} {
					d := certificate(t, "a.test")
					cloud.calm()
					trouble(cloud, method, path)
					_, err := deploy(t.Context(), h, d, id)
					if err != nil { // what makes something is not repeated: the host takes it back
						if at != "POST /sni-endpoints" || what == "429" || what == "lost" || problem(t, err).Retry != sdk.RetryLater {
							t.Fatal(err)
						}
						rolledBack(t, h, "a.test", "r"+id)
						_, err = deploy(t.Context(), h, d, id+"again")
						must(t, err)
					}
					cloud.shows(t, "a.test", d.LeafPEM)
					equal(t, 1, len(cloud.endpoints("shop")))
				}
				cloud.calm()
				trouble(cloud, method, path)
				rolledBack(t, h, "a.test", "r1")
				rolledBack(t, h, "a.test", "r2")
				equal(t, 0, len(cloud.endpoints("shop")))
			})
		}
	}
}

func TestDryRun(t *testing.T) {
	cloud, a, h := performing(t, "a.test")
	cloud.theirs(t, a, certificate(t, "a.test"), "a.test")
	d := certificate(t, "a.test")
	d.DryRun = true
	r := &recorder{}
	must(t, h.Deploy(operation(t.Context(), "a.test", "1"), d, r))
	result := r.results["a.test"]
	if !result.Changed || !strings.Contains(result.Diff, "-a.test by the SNI endpoint tokyo-") || !strings.Contains(result.Diff, "+a.test by the certificate") || strings.Contains(result.Diff, "PRIVATE") {
		t.Errorf("%+v", result)
	}
	equal(t, nil, cloud.changes())
}

func TestSites(t *testing.T) {
	cloud, a, h := performing(t, "a.test", "*.b.test")
	got, err := h.Names(t.Context())
	must(t, err)
	equal(t, []sdk.Site{{ID: "shop", Names: []string{"a.test", "*.b.test"}}}, got)
	cloud.theirs(t, a, certificate(t, "a.test"), "a.test")
	if got, err = h.Names(t.Context()); err != nil || !got[0].TLS {
		t.Errorf("%+v, %v", got, err)
	}
	must(t, h.Health(t.Context(), true))
	h.settings.App = "nowhere"
	if p := problem(t, h.Health(t.Context(), true)); p.Code != sdk.NotFound {
		t.Errorf("%+v", p)
	}
}

// A list without an end is given up.
func TestEndlessList(t *testing.T) {
	cloud, _, h := performing(t, "a.test")
	cloud.next(http.MethodGet, "/domains", 1<<30, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Next-Range", "id ]1..; max=1")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write([]byte("[]"))
	})
	if p := problem(t, h.Health(t.Context(), true)); !strings.Contains(p.Error(), "has no end") {
		t.Errorf("%+v", p)
	}
}

// Records with keys are for the owner alone, and gone when they are no use.
func TestRecords(t *testing.T) {
	_, _, h := performing(t, "a.test")
	d := certificate(t, "a.test")
	_, err := deploy(t.Context(), h, d, "1")
	must(t, err)
	w, err := h.next(t).certificates.Wanted("a.test")
	must(t, err)
	if block, _ := pem.Decode([]byte(w.Key)); block == nil {
		t.Errorf("%s holds no key", filepath.Join(stateOf(h), "wanted"))
	}
	rolledBack(t, h, "a.test", "r")
	for _, read := range []func(string) (any, error){
		func(l string) (any, error) { v, err := h.certificates.Wanted(l); return v == nil, err },
		func(l string) (any, error) { v, err := h.certificates.There(l); return v == nil, err },
	} {
		none, err := read("a.test")
		must(t, err)
		equal(t, any(true), none)
	}
}

// Deploy is called for each name, in an operation of its own, and looks at each
// app once.
func TestOneLookForAllNames(t *testing.T) {
	names := []string{"a.test", "b.test", "c.test"}
	cloud, _, h := performing(t, names...)
	d := certificate(t, names...)
	look := func(run string, times int) {
		t.Helper()
		cloud.changes()
		for _, d.Name = range names {
			must(t, h.Deploy(operation(t.Context(), d.Lineage, run+" deploy "+d.Name), d, &recorder{}))
		}
		cloud.mu.Lock()
		defer cloud.mu.Unlock()
		equal(t, times, len(cloud.log))
	}
	look("1", 1)
	look("2", 1)
	// What was not there is looked for again.
	other := certificate(t, "new.test")
	other.Name = "new.test"
	ctx := operation(t.Context(), "new.test", "3")
	problem(t, h.Deploy(ctx, other, &recorder{}))
	cloud.apps["shop"].domains = append(cloud.apps["shop"].domains, &appDomain{id: uuid(), hostname: "new.test", kind: "custom"})
	must(t, h.Deploy(ctx, other, &recorder{}))
}
