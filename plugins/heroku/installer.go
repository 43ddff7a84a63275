package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/certwright/certwright/sdk"
)

// wanted is the certificate that apps are to serve, with its key: Heroku never
// gives a key back, so an older one could not be put back without it.
type wanted struct {
	Names     []string `json:"names"`
	Apps      []string `json:"apps"`
	Fullchain string   `json:"fullchain"`
	Key       string   `json:"key"`
}

// there is what is at Heroku because of us, by app.
type there struct {
	Apps map[string]*installed `json:"apps"`
}

// installed is what one app has of us.
type installed struct {
	// Endpoint is the ID of the SNI endpoint that we made; empty: none, or, if
	// Making is set, one whose ID nobody lived to note. Making tells its
	// certificate from others.
	Endpoint string `json:"endpoint,omitempty"`
	Making   string `json:"making,omitempty"`
	// Before is, by the domain's ID, the SNI endpoint that it had before ours;
	// empty: none.
	Before map[string]string `json:"before,omitempty"`
}

// Deploy stages the certificate, after a look at the apps.
func (h *heroku) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	if _, err := tls.X509KeyPair(d.FullchainPEM, d.KeyPEM); err != nil {
		return sdk.Permanent(sdk.Problemf(sdk.Internal, "the certificate and its key do not belong together: %w", err))
	}
	w := wanted{Names: d.Names, Fullchain: string(d.FullchainPEM), Key: string(d.KeyPEM)}
	if len(d.Names) == 0 || d.Name == d.Names[0] {
		h.looks.forget()
	}
	var diff strings.Builder
	for _, app := range h.appsOf(d.Names) {
		domains, err := h.looks.domains(ctx, h.api, app, d.Lineage+" "+leafPrint(w.Fullchain))
		if err != nil {
			return about(app, err)
		}
		served := slices.DeleteFunc(slices.Clone(domains), func(one domain) bool { return one.Kind != "custom" || !names(d.Names, one.Hostname) })
		if len(served) == 0 {
			continue
		}
		w.Apps = append(w.Apps, app)
		fmt.Fprintf(&diff, "--- app %s\n+++ app %s\n@@ SNI endpoints @@\n", app, app)
		for _, one := range served {
			if one.SNIEndpoint != nil {
				fmt.Fprintf(&diff, "-%s by the SNI endpoint %s\n", one.Hostname, one.SNIEndpoint.Name)
			}
			fmt.Fprintf(&diff, "+%s by the certificate with the SHA-256 %s\n", one.Hostname, leafPrint(w.Fullchain))
		}
	}
	if len(w.Apps) == 0 {
		h.looks.forget()
		err := sdk.Permanent(sdk.Problemf(sdk.NotFound, "none of %s is a domain of an app that the settings name", strings.Join(d.Names, ", ")))
		return sdk.Hint(err, "add the domains by heroku domains:add, or correct the settings app and apps")
	}
	before, err := h.certificates.Wanted(sdk.OperationFrom(ctx).Lineage)
	if err != nil {
		return err
	}
	result := sdk.Result{Subject: d.Name, Changed: before == nil || before.Fullchain != w.Fullchain || !slices.Equal(before.Apps, w.Apps)}
	for _, e := range h.settings.Endpoints {
		if h.settings.appOf(d.Name) != "" {
			result.Endpoints = append(result.Endpoints, sdk.Endpoint{Address: e})
		}
	}
	if d.DryRun {
		if result.Changed {
			result.Diff = diff.String()
		}
		r.Result(result)
		return nil
	}
	if err := h.certificates.Stage(ctx, w); err != nil {
		return err
	}
	r.Result(result)
	return nil
}

func (h *heroku) appsOf(names []string) []string {
	var out []string
	for _, name := range names {
		if app := h.settings.appOf(name); app != "" && !slices.Contains(out, app) {
			out = append(out, app)
		}
	}
	slices.Sort(out)
	return out
}

// names says whether a certificate's names cover a domain: exactly, or by a
// wildcard for one label.
func names(all []string, hostname string) bool {
	hostname = canonical(hostname)
	_, parent, _ := strings.Cut(hostname, ".")
	return slices.ContainsFunc(all, func(name string) bool {
		name = canonical(name)
		return name == hostname || name == "*."+parent
	})
}

// looks keeps what Deploy has seen for the first name of a certificate for its
// other names: each of them is an operation of its own.
type looks struct {
	mu          sync.Mutex
	certificate string
	seen        map[string][]domain
}

func (l *looks) domains(ctx context.Context, a *api, app, certificate string) ([]domain, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.certificate != certificate {
		l.certificate, l.seen = certificate, map[string][]domain{}
	}
	if there, ok := l.seen[app]; ok {
		return there, nil
	}
	there, err := a.domains(ctx, app)
	if err == nil {
		l.seen[app] = there
	}
	return there, err
}

func (l *looks) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.certificate = ""
}

// Save writes down what is wanted; nothing is sent before Restart.
func (h *heroku) Save(ctx context.Context, req sdk.SaveRequest, _ sdk.Reporter) (sdk.Checkpoint, error) {
	return h.certificates.Save(ctx, req)
}

// Restart brings Heroku to what is wanted.
func (h *heroku) Restart(ctx context.Context, r sdk.Reporter) error {
	lineage := sdk.OperationFrom(ctx).Lineage
	if lineage == "" {
		return nil
	}
	return h.sync(ctx, lineage, r)
}

// Rollback brings it to what was wanted before.
func (h *heroku) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	h.looks.forget()
	return h.certificates.Rollback(ctx, count, r, func(ctx context.Context, lineage string) error {
		if count == 0 {
			return nil // what was only staged is at no app
		}
		return h.sync(ctx, lineage, r)
	})
}

// sync brings the apps to what is wanted of a certificate, and changes nothing
// that is so already. It may be repeated, and be interrupted anywhere.
func (h *heroku) sync(ctx context.Context, lineage string, r sdk.Reporter) error {
	if err := h.busy.enter(ctx); err != nil {
		return err
	}
	defer h.busy.leave()
	w, err := h.certificates.Wanted(lineage)
	if err != nil {
		return err
	}
	t, err := h.certificates.There(lineage)
	if err != nil || w == nil && t == nil {
		return err
	}
	if w == nil {
		w = &wanted{}
	}
	if t == nil {
		t = &there{}
	}
	if t.Apps == nil {
		t.Apps = map[string]*installed{}
	}
	b := &bringing{heroku: h, lineage: lineage, want: *w, there: t, reporter: r}
	var errs []error
	for _, app := range w.Apps {
		errs = append(errs, about(app, b.install(ctx, app)))
	}
	for _, app := range slices.Sorted(maps.Keys(t.Apps)) {
		if !slices.Contains(w.Apps, app) {
			errs = append(errs, about(app, b.remove(ctx, app)))
		}
	}
	return errors.Join(errs...)
}

// leafPrint tells the leaf of a PEM text from every other. Heroku may write the text
// in another way, and leave a root out.
func leafPrint(text string) string {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}
