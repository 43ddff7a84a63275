package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// A Restart that fails forgets nothing of what is served: the next renewal can be
// taken back to it.
func TestFailedRestartForgetsNothing(t *testing.T) {
	cloud, _, f := deploying(t, byDefaultXML, "a.test")
	f.settings.Store = inIAM
	first := certificate(t, "a.test")
	_, err := deploy(t.Context(), f, first, "1")
	must(t, err)
	succeeded(t, f, "a.test")
	known, err := f.book.made("a.test")
	must(t, err)
	cloud.next("GetServerCertificate", 1000, answers("iam", http.StatusInternalServerError, "ServiceFailure"))
	if p := problem(t, f.next(t).Restart(operation(t.Context(), "a.test", "2"), &recorder{})); p.Retry != sdk.RetryLater {
		t.Errorf("%+v", p)
	}
	cloud.calm()
	now, err := f.book.made("a.test")
	must(t, err)
	equal(t, known, now)
	f = f.next(t)
	second := certificate(t, "a.test")
	_, err = deploy(t.Context(), f, second, "3")
	must(t, err)
	succeeded(t, f, "a.test")
	cloud.shows(t, "a.test", second.LeafPEM)
	rolledBack(t, f.next(t), "a.test", "r")
	cloud.shows(t, "a.test", first.LeafPEM)
	equal(t, 1, len(cloud.iamCertificates()))
}

// died runs what the process dies of at a step.
func died(t *testing.T, f *front, at string, do func()) {
	t.Helper()
	f.step = func(what string) {
		if strings.HasPrefix(what, at) {
			panic(at)
		}
	}
	defer func() {
		if what := recover(); what != at {
			t.Fatalf("it did not die at %q: %v", at, what)
		}
	}()
	do()
}

// What a killed process had imported, without noting its ARN, does not stay when
// another certificate is wanted then, or none.
func TestLostImport(t *testing.T) {
	for name, after := range map[string]func(*front){
		"another certificate": func(f *front) {
			_, err := deploy(t.Context(), f, certificate(t, "a.test"), "2")
			must(t, err)
			succeeded(t, f, "a.test")
		},
		"rollback": func(f *front) { rolledBack(t, f, "a.test", "r") },
	} {
		cloud, _, f := deploying(t, byDefaultXML, "a.test")
		died(t, f, "imported ", func() { _, _ = deploy(t.Context(), f, certificate(t, "a.test"), "1") })
		lost := cloud.acmCertificates()
		equal(t, 1, len(lost))
		f = f.next(t)
		after(f)
		now := cloud.acmCertificates()
		if slices.Contains(now, lost[0]) || len(now) > 1 {
			t.Errorf("%s: %q is left in %q", name, lost, now)
		}
		// It is not looked for again.
		cloud.calls()
		succeeded(t, f.next(t), "a.test")
		equal(t, nil, cloud.calls())
	}
}

// The same certificate of another instance, in use there, is not ours to take.
func TestImportOfAnotherInstance(t *testing.T) {
	cloud, who, f := deploying(t, byDefaultXML, "a.test")
	cloud.distribution("E2", who, documentOf(byDefaultXML, "a.test"))
	s := f.settings
	s.Distributions = []string{"E2"}
	d := certificate(t, "a.test")
	_, err := deploy(t.Context(), configured(t, s, t.TempDir()), d, "1")
	must(t, err)
	theirs := cloud.acmCertificates()
	cloud.next("ImportCertificate", 1, cut) // whether it was imported is unknown
	_, err = deploy(t.Context(), f, d, "2")
	must(t, err)
	equal(t, 2, len(cloud.acmCertificates()))
	if strings.Contains(cloud.document("E1"), theirs[0]) {
		t.Errorf("E1 has %s", cloud.document("E1"))
	}
}
