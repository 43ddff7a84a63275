package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

// choose is somebody in the panel.
func (f *fakePlesk) choose(site, certificate string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.site(site)
	f.pools[s.webspace][certificate] = f.pools[s.webspace]["Default"]
	s.properties["certificate_name"] = certificate
}

func (f *fakePlesk) assigned(site string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.site(site).properties["certificate_name"]
}

func wantAssigned(t *testing.T, f *fakePlesk, site, want string) {
	t.Helper()
	if got := f.assigned(site); got != want {
		t.Errorf("%s has the certificate %q, want %q", site, got, want)
	}
}

// Somebody has assigned another certificate since: a renewal is served all the
// same, and its roll back gives him what he had chosen.
func TestARenewalAfterAnotherCertificateWasChosen(t *testing.T) {
	const ours = "Certwright a.test"
	for name, protos := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, nil)
			f.protos = protos
			f.add(t, "a.test", "a.test")
			f.add(t, "b.test", "b.test")
			state := t.TempDir()
			first, second, third, fourth := certificateFor(t, "a.test", "b.test"), certificateFor(t, "a.test", "b.test"), certificateFor(t, "a.test", "b.test"), certificateFor(t, "a.test", "b.test")
			must(t, deploy(t.Context(), configured(t, f.settings(t), state), first, "1"))
			f.choose("b.test", "His")
			must(t, deploy(t.Context(), configured(t, f.settings(t), state), second, "2"))
			wantServed(t, f, second, "a.test", "b.test")

			p := configured(t, f.settings(t), state)
			rolledBack(t, p, "a.test", 1, "back")
			must(t, p.Restart(during(t.Context(), "a.test", "restart-back"), &recorder{}))
			wantServed(t, f, first, "a.test")
			wantAssigned(t, f, "b.test", "His")

			// Two renewals later it is ours, and one back too.
			must(t, deploy(t.Context(), p, third, "3"))
			must(t, deploy(t.Context(), p, fourth, "4"))
			wantServed(t, f, fourth, "a.test", "b.test")
			rolledBack(t, p, "a.test", 1, "back from 4")
			wantServed(t, f, third, "a.test", "b.test")
			for _, step := range []string{"back from 3", "back from 1"} {
				rolledBack(t, configured(t, f.settings(t), state), "a.test", 1, step)
			}
			wantAssigned(t, f, "a.test", "Default")
			wantAssigned(t, f, "b.test", "His")
			if got := f.everything(); strings.Contains(got, ours) {
				t.Errorf("ours is left\n%s", got)
			}
		})
	}
}

// A renewal that is taken back before it is live, or while somebody chooses
// another certificate, leaves him that.
func TestChosenBeforeARollback(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	f.add(t, "b.test", "b.test")
	p := configured(t, f.settings(t), t.TempDir())
	first, second := certificateFor(t, "a.test", "b.test"), certificateFor(t, "a.test", "b.test")
	must(t, deploy(t.Context(), p, first, "1"))
	must(t, deploy(t.Context(), p, second, "2"))
	f.choose("b.test", "His")
	rolledBack(t, p, "a.test", 1, "back")
	wantServed(t, f, first, "a.test")
	wantAssigned(t, f, "b.test", "His")
	before := len(f.operations())
	rolledBack(t, p, "a.test", 0, "nothing")
	if more := f.operations()[before:]; len(more) > 0 {
		t.Errorf("without anything to do it asks %q", more)
	}
}

// Plesk refuses to give a site back what it had: that is said, what it had is
// still known, and the other sites that leave get theirs.
func TestASiteThatCannotLeave(t *testing.T) {
	f := newFake(t, nil)
	for _, name := range []string{"a.test", "b.test", "c.test"} {
		f.add(t, name, name)
	}
	p := configured(t, f.settings(t), t.TempDir())
	must(t, deploy(t.Context(), p, certificateFor(t, "a.test", "b.test", "c.test"), "1"))
	f.mu.Lock()
	f.before = func(w http.ResponseWriter, operation string) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		refused := operation == "site/set" && strings.Contains(f.body, "<name>b.test</name>")
		if refused {
			_, _ = io.WriteString(w, "<packet><site><set>"+failed(1006, "Permission denied")+"</set></site></packet>")
		}
		return refused
	}
	f.mu.Unlock()
	alone := certificateFor(t, "a.test")
	err := deploy(t.Context(), p, alone, "2")
	wantProblem(t, err, sdk.PermissionDenied, "site b.test", "1006")
	wantAssigned(t, f, "b.test", "Certwright a.test")
	wantAssigned(t, f, "c.test", "Default")

	f.mu.Lock()
	f.before = nil
	f.mu.Unlock()
	must(t, p.Restart(during(t.Context(), "a.test", "2again"), &recorder{}))
	wantServed(t, f, alone, "a.test")
	wantAssigned(t, f, "b.test", "Default")
	wantAssigned(t, f, "c.test", "Default")
}
