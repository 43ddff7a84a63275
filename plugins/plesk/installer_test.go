package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/sdk"
)

func derOf(d sdk.Deployment) []byte {
	block, _ := pem.Decode(d.LeafPEM)
	return block.Bytes
}

// during is a context of an operation, as the host gives it.
func during(ctx context.Context, lineage, step string) context.Context {
	return sdk.WithOperation(ctx, sdk.Operation{ID: lineage + "/plesk/" + step, Lineage: lineage, Attempt: 1})
}

// save does what the host does up to the checkpoint, with a step that tells
// operations apart.
func save(ctx context.Context, p *plesk, d sdk.Deployment, step string) error {
	r := &recorder{}
	for _, name := range d.Names {
		d.Name = name
		if err := p.Deploy(during(ctx, d.Lineage, step+"deploy "+name), d, r); err != nil {
			return err
		}
		if _, err := p.Save(during(ctx, d.Lineage, step+"save "+name), sdk.SaveRequest{}, r); err != nil {
			return err
		}
	}
	_, err := p.Save(during(ctx, d.Lineage, step+"save"), sdk.SaveRequest{Title: "Deployed ACME Certificate"}, r)
	return err
}

func deploy(ctx context.Context, p *plesk, d sdk.Deployment, step string) error {
	if err := save(ctx, p, d, step); err != nil {
		return err
	}
	return p.Restart(during(ctx, d.Lineage, step+"restart"), &recorder{})
}

func rolledBack(t *testing.T, p *plesk, lineage string, count int, step string) {
	t.Helper()
	must(t, p.Rollback(during(t.Context(), lineage, step), count, &recorder{}))
}

func wantServed(t *testing.T, f *fakePlesk, d sdk.Deployment, names ...string) {
	t.Helper()
	for _, name := range names {
		if !bytes.Equal(f.serves(t, name), derOf(d)) {
			t.Errorf("%s is served with another certificate", name)
		}
	}
}

// protocols that a Plesk speaks: with certificate/update and without.
var protocols = map[string][]string{"update": {"1.6.7.0", "1.6.8.0", "1.6.9.1"}, "no update": {"1.4.0.0", "1.6.7.0"}}

func TestDeployRenewRollBack(t *testing.T) {
	for name, protos := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, nil)
			f.protos = protos
			f.add(t, "a.test", "a.test")
			f.add(t, "shop.a.test", "a.test") // of the same subscription
			f.add(t, "b.test", "b.test")
			before := f.everything()
			state := t.TempDir()
			names := []string{"a.test", "www.a.test", "*.a.test", "shop.a.test", "b.test"}
			first, second := certificateFor(t, names...), certificateFor(t, names...)
			p := configured(t, f.settings(t), state)
			must(t, save(t.Context(), p, first, "1"))
			if got := f.everything(); got != before {
				t.Errorf("something is live before Restart\n%s", got)
			}
			must(t, p.Restart(during(t.Context(), "a.test", "1restart"), &recorder{}))
			wantServed(t, f, first, "a.test", "www.a.test", "x.a.test", "shop.a.test", "b.test")
			deployed := f.everything()
			seen := len(f.operations())
			must(t, p.Restart(during(t.Context(), "a.test", "1again"), &recorder{}))
			if more := f.operations()[seen:]; len(more) > 0 {
				t.Errorf("what is there is asked for again: %q", more)
			}

			p = configured(t, f.settings(t), state)
			must(t, deploy(t.Context(), p, second, "2"))
			wantServed(t, f, second, "a.test", "www.a.test", "shop.a.test", "b.test")
			if used := slices.Contains(f.operations(), "certificate/update"); used != (name == "update") {
				t.Errorf("certificate/update is used: %v", used)
			}

			rolledBack(t, configured(t, f.settings(t), state), "a.test", 1, "back")
			if got := f.everything(); got != deployed {
				t.Errorf("after the first roll back\n%s\nwant\n%s", got, deployed)
			}
			wantServed(t, f, first, "a.test", "shop.a.test", "b.test")
			for _, step := range []string{"back again", "there is none"} {
				rolledBack(t, configured(t, f.settings(t), state), "a.test", 1, step)
				if got := f.everything(); got != before {
					t.Errorf("%s\n%s\nwant\n%s", step, got, before)
				}
			}
		})
	}
}

// A site that leaves the certificate gets back what it had.
func TestASiteLeavesTheCertificate(t *testing.T) {
	for name, webspace := range map[string]string{"of the same subscription": "a.test", "of another": "b.test"} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, nil)
			f.add(t, "a.test", "a.test")
			f.add(t, "b.test", webspace)
			p := configured(t, f.settings(t), t.TempDir())
			must(t, deploy(t.Context(), p, certificateFor(t, "a.test", "b.test"), "1"))
			alone := certificateFor(t, "a.test")
			must(t, deploy(t.Context(), p, alone, "2"))
			wantServed(t, f, alone, "a.test")
			f.mu.Lock()
			got := f.site("b.test").properties
			f.mu.Unlock()
			if got["certificate_name"] != "Default" || got["ssl"] != "false" {
				t.Errorf("b.test has %v", got)
			}
		})
	}
}

// The state directory is lost: the certificate that Plesk has under our name is
// used again, and what there was before it is not guessed.
func TestTheStateDirectoryIsLost(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	must(t, deploy(t.Context(), configured(t, f.settings(t), t.TempDir()), certificateFor(t, "a.test"), "1"))
	second := certificateFor(t, "a.test")
	p := configured(t, f.settings(t), t.TempDir())
	must(t, deploy(t.Context(), p, second, "2"))
	wantServed(t, f, second, "a.test")
	rolledBack(t, p, "a.test", 1, "back")
	wantServed(t, f, second, "a.test")
}

// A site that had no certificate has none again.
func TestASiteWithoutACertificate(t *testing.T) {
	f := newFake(t, nil)
	delete(f.add(t, "a.test", "a.test").properties, "certificate_name")
	p := configured(t, f.settings(t), t.TempDir())
	must(t, deploy(t.Context(), p, certificateFor(t, "a.test"), "1"))
	rolledBack(t, p, "a.test", 1, "back")
	if got := f.everything(); strings.Contains(got, "Certwright") || !strings.Contains(got, "ssl:false") {
		t.Errorf("there is\n%s", got)
	}
}

// What somebody has chosen in the panel since is not taken from him.
func TestAnotherCertificateWasChosenMeanwhile(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	p := configured(t, f.settings(t), t.TempDir())
	must(t, deploy(t.Context(), p, certificateFor(t, "a.test"), "1"))
	f.mu.Lock()
	f.pools["a.test"]["His"] = f.pools["a.test"]["Default"]
	f.site("a.test").properties["certificate_name"] = "His"
	f.mu.Unlock()
	rolledBack(t, p, "a.test", 1, "back")
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := f.site("a.test").properties["certificate_name"]; got != "His" {
		t.Errorf("the site has %s", got)
	}
	if f.pools["a.test"]["Certwright a.test"] != nil {
		t.Error("our certificate is left")
	}
}

// The answer to an operation is lost: the host's next step mends it.
func TestOperationsWithoutAnAnswer(t *testing.T) {
	for _, lost := range []string{"certificate/install", "certificate/update", "site/set", "certificate/remove"} {
		t.Run(lost, func(t *testing.T) {
			f := newFake(t, nil)
			f.add(t, "a.test", "a.test")
			before := f.everything()
			state := t.TempDir()
			first, second := certificateFor(t, "a.test"), certificateFor(t, "a.test")
			times := 0
			f.after = func(_ http.ResponseWriter, operation string) bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				if operation == lost && times < 6 { // more than one call is repeated
					times++
					panic(http.ErrAbortHandler)
				}
				return false
			}
			steps := []func(*plesk) error{
				func(p *plesk) error { return deploy(t.Context(), p, first, "1") },
				func(p *plesk) error { return deploy(t.Context(), p, second, "2") },
				func(p *plesk) error { return p.Rollback(during(t.Context(), "a.test", "back"), 1, &recorder{}) },
				func(p *plesk) error { return p.Rollback(during(t.Context(), "a.test", "back 2"), 1, &recorder{}) },
			}
			for _, step := range steps {
				if step(configured(t, f.settings(t), state)) != nil {
					must(t, step(configured(t, f.settings(t), state)))
				}
			}
			if times == 0 {
				t.Fatal("nothing was lost")
			}
			if got := f.everything(); got != before {
				t.Errorf("in the end\n%s\nwant\n%s", got, before)
			}
		})
	}
}

func TestPleskRefuses(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	f.add(t, "mail.test", "mail.test").properties = nil
	before := f.everything()
	p := configured(t, f.settings(t), t.TempDir())
	err := deploy(t.Context(), p, certificateFor(t, "a.test", "none.test"), "1")
	wantProblem(t, err, sdk.NotFound, "find the site of none.test", "error 1013", "add none.test")
	err = deploy(t.Context(), p, certificateFor(t, "mail.test"), "1")
	wantProblem(t, err, sdk.NotFound, "mail.test is without hosting")
	d := certificateFor(t, "a.test")
	d.KeyPEM = certificateFor(t, "a.test").KeyPEM
	err = deploy(t.Context(), p, d, "1")
	wantProblem(t, err, sdk.Internal, `install the certificate "Certwright a.test"`, "error 8002", "private key")
	rolledBack(t, p, "a.test", 1, "back")
	if got := f.everything(); got != before {
		t.Errorf("something is left\n%s", got)
	}
}

func TestDryRun(t *testing.T) {
	f := newFake(t, nil)
	f.add(t, "a.test", "a.test")
	p := configured(t, f.settings(t), t.TempDir())
	must(t, deploy(t.Context(), p, certificateFor(t, "a.test"), "1"))
	before := f.everything()
	next := certificateFor(t, "a.test")
	next.DryRun = true
	r := &recorder{}
	must(t, p.Deploy(during(t.Context(), "a.test", "dry"), next, r))
	if diff := r.results[0].Diff; !strings.Contains(diff, "-a.test: Certwright a.test") || !strings.Contains(diff, "+a.test: Certwright a.test") || strings.Contains(diff, "PRIVATE KEY") {
		t.Errorf("the diff is\n%s", diff)
	}
	if got := f.everything(); got != before {
		t.Errorf("a dry run changes\n%s", got)
	}
}

// Deploy is called for each name, in an operation of its own, and looks at each
// site once; the next deployment looks again.
func TestOneLookForAllNames(t *testing.T) {
	f := newFake(t, nil)
	names := []string{"a.test", "www.a.test", "b.test", "c.test"}
	for _, site := range []string{"a.test", "b.test", "c.test"} {
		f.add(t, site, site)
	}
	p := configured(t, f.settings(t), t.TempDir())
	d := certificateFor(t, names...)
	const each = 5 // www.a.test is looked for before a.test is taken for it
	for step, want := range []int{each, 2 * each} {
		must(t, save(t.Context(), p, d, fmt.Sprint(step)))
		if got := len(f.operations()); got != want {
			t.Errorf("deployment %d: %d operations, want %d", step+1, got, want)
		}
	}
	// What was not there is looked for again.
	other := certificateFor(t, "d.test")
	wantProblem(t, save(t.Context(), p, other, "3"), sdk.NotFound, "d.test")
	f.add(t, "d.test", "d.test")
	must(t, save(t.Context(), p, other, "4"))
}
