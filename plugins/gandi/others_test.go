package main

import (
	"io"
	"net/http"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func uploadBy(t *testing.T, f *fakeRPC, d sdk.Deployment) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, wrong := f.create(string(d.FullchainPEM), string(d.KeyPEM)); wrong != nil {
		t.Fatal(wrong.text)
	}
}

// After an upload that Gandi has refused, what somebody uploads is his.
func TestARefusedUploadIsNotLookedFor(t *testing.T) {
	f := newFakeRPC(t)
	g := configured(t, hosting(f), t.TempDir())
	mixed := certificate(t, "a.test")
	mixed.KeyPEM = certificate(t, "a.test").KeyPEM
	wantProblem(t, deploy(t.Context(), g, mixed, "1"), sdk.InvalidConfig, "fault 581050")
	his := certificate(t, "a.test")
	uploadBy(t, f, his)
	rolledBack(t, g, "a.test", 1, "back")
	wantHosted(t, f, his)
}

// An upload has no answer, and somebody uploads for the same names before the
// next process looks: only what can be told as ours is taken for it.
func TestAnUploadWithoutAnAnswerBesideOthers(t *testing.T) {
	for name, c := range map[string]struct {
		days    int  // how much longer his is good than ours
		arrived bool // ours
	}{"another end": {30, true}, "another end, ours never came": {30, false}, "two alike": {0, true}} {
		t.Run(name, func(t *testing.T) {
			f := newFakeRPC(t)
			state := t.TempDir()
			cut := func(http.ResponseWriter, string) bool { panic(http.ErrAbortHandler) }
			on := func(_ http.ResponseWriter, method string) bool {
				return method == "cert.hosted.create" && cut(nil, method)
			}
			if f.before = on; c.arrived {
				f.before, f.after = nil, on
			}
			ours, his := certificate(t, "a.test"), certificate(t, "a.test")
			wantProblem(t, deploy(t.Context(), configured(t, hosting(f), state), ours, "1"), sdk.Unavailable, "cert.hosted.create")
			uploadBy(t, f, his)
			f.mu.Lock()
			f.before, f.after = nil, nil
			f.certs[f.last].expires = f.certs[f.last].expires.AddDate(0, 0, c.days)
			f.mu.Unlock()
			rolledBack(t, configured(t, hosting(f), state), "a.test", 1, "back")
			if c.days > 0 {
				wantHosted(t, f, his)
			} else {
				wantHosted(t, f, ours, his)
			}
		})
	}
}

// What another certificate of this instance has uploaded is not somebody
// else's, also if nobody lived to hear of it.
func TestDeleteOtherKeepsOurs(t *testing.T) {
	for _, lost := range []bool{false, true} {
		f := newFakeRPC(t)
		s := hosting(f)
		s.DeleteOther = true
		g := configured(t, s, t.TempDir())
		rsa, ec := certificate(t, "a.test"), certificate(t, "a.test")
		rsa.Lineage = "a.test-rsa"
		if lost {
			f.after = func(_ http.ResponseWriter, method string) bool {
				if method == "cert.hosted.create" {
					panic(http.ErrAbortHandler)
				}
				return false
			}
		}
		if err := deploy(t.Context(), g, rsa, "1"); (err != nil) != lost {
			t.Fatal(err)
		}
		f.mu.Lock()
		f.after = nil
		f.mu.Unlock()
		must(t, deploy(t.Context(), g, ec, "2"))
		ended(t, g, "a.test")
		wantHosted(t, f, rsa, ec)
	}
}

// Only Gandi's word that there is no such certificate is one; otherwise it may
// still be there, and its record stays.
func TestWhatIsNoWordOfAbsence(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"404": func(w http.ResponseWriter) { http.NotFound(w, nil) },
		"unknown": func(w http.ResponseWriter) {
			body := encode(map[string]any{"faultCode": 500600, "faultString": "Error on object : OBJECT_METHOD (CAUSE_UNKNOWN) [x]"})
			_, _ = io.WriteString(w, `<?xml version="1.0"?><methodResponse><fault>`+body+`</fault></methodResponse>`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeRPC(t)
			g := configured(t, hosting(f), t.TempDir())
			d := certificate(t, "a.test")
			must(t, deploy(t.Context(), g, d, "1"))
			f.mu.Lock()
			f.before = func(w http.ResponseWriter, method string) bool {
				if method == "cert.hosted.delete" {
					answer(w)
				}
				return method == "cert.hosted.delete"
			}
			f.mu.Unlock()
			if err := g.Rollback(during(t.Context(), "a.test", "back"), 1, &recorder{}); err == nil {
				t.Error("the roll back is said to have worked")
			}
			f.mu.Lock()
			f.before = nil
			f.mu.Unlock()
			wantHosted(t, f, d)
			rolledBack(t, g, "a.test", 1, "back")
			wantHosted(t, f)
		})
	}
}
