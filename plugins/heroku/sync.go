package main

import (
	"context"
	"fmt"

	"github.com/certwright/certwright/sdk"
)

// bringing is one certificate on its way to the apps.
type bringing struct {
	*heroku
	lineage  string
	want     wanted
	there    *there
	reporter sdk.Reporter
}

func (b *bringing) keep() error {
	if len(b.there.Apps) == 0 {
		return b.certificates.Keep(b.lineage, nil)
	}
	return b.certificates.Keep(b.lineage, b.there)
}

func (b *bringing) of(app string) *installed {
	if b.there.Apps[app] == nil {
		b.there.Apps[app] = &installed{}
	}
	if b.there.Apps[app].Before == nil {
		b.there.Apps[app].Before = map[string]string{}
	}
	return b.there.Apps[app]
}

// install has every domain of an app that the certificate names served by it,
// from an SNI endpoint of our own: another one's key could not be put back.
func (b *bringing) install(ctx context.Context, app string) error {
	id, err := b.endpoint(ctx, app)
	if err != nil {
		return err
	}
	domains, err := b.api.domains(ctx, app)
	if err != nil {
		return err
	}
	t := b.of(app)
	for _, d := range domains {
		named := names(b.want.Names, d.Hostname)
		if _, ours := t.Before[d.ID]; ours && !named {
			if err := b.putBack(ctx, app, d); err != nil { // a later certificate's
				return err
			}
		}
		if d.Kind != "custom" || !named || d.served() == id {
			continue
		}
		t.Before[d.ID] = d.served()
		if err := b.keep(); err != nil {
			return err
		}
		b.step("attach " + d.Hostname)
		if err := b.api.attach(ctx, app, d.ID, id); err != nil {
			return fmt.Errorf("attach the domain %s to the SNI endpoint: %w", d.Hostname, err)
		}
		b.reporter.Progress(app, fmt.Sprintf("%s is served by the SNI endpoint %s of the app %s", d.Hostname, id, app))
	}
	return nil
}

func (d domain) served() string {
	if d.SNIEndpoint == nil {
		return ""
	}
	return d.SNIEndpoint.ID
}

// endpoint gives the ID of the SNI endpoint with the certificate, which is made
// or updated if it has to be.
func (b *bringing) endpoint(ctx context.Context, app string) (string, error) {
	t := b.of(app)
	body := certificateBody{CertificateChain: b.want.Fullchain, PrivateKey: b.want.Key}
	if t.Endpoint == "" && t.Making != "" {
		if err := b.find(ctx, app); err != nil {
			return "", err
		}
	}
	if t.Endpoint != "" {
		now, err := b.api.sniEndpoint(ctx, app, t.Endpoint)
		switch {
		case notFound(err):
			t.Endpoint = "" // somebody has deleted it
		case err != nil:
			return "", err
		case leafPrint(now.CertificateChain) == leafPrint(b.want.Fullchain):
			return t.Endpoint, nil
		default:
			b.step("update the endpoint")
			if err := b.api.updateSNIEndpoint(ctx, app, t.Endpoint, body); err != nil {
				return "", fmt.Errorf("update the SNI endpoint %s: %w", now.Name, err)
			}
			b.reporter.Progress(app, fmt.Sprintf("updated the SNI endpoint %s of the app %s", now.Name, app))
			return t.Endpoint, nil
		}
	}
	t.Making = leafPrint(b.want.Fullchain)
	if err := b.keep(); err != nil {
		return "", err
	}
	b.step("make an endpoint")
	made, err := b.api.createSNIEndpoint(ctx, app, body)
	if err != nil {
		if sdk.ProblemOf(err).Retry == sdk.RetryLater {
			// It may have been made all the same, and only its answer be lost.
			if b.find(ctx, app) == nil && t.Endpoint != "" {
				return t.Endpoint, nil
			}
		}
		return "", fmt.Errorf("make an SNI endpoint: %w", err)
	}
	b.step("made an endpoint")
	t.Endpoint, t.Making = made.ID, ""
	return t.Endpoint, b.keep()
}

// find looks for the endpoint that was made by a request whose answer nobody
// lived to see. Nobody else has that certificate.
func (b *bringing) find(ctx context.Context, app string) error {
	all, err := b.api.sniEndpoints(ctx, app)
	if err != nil {
		return err
	}
	t := b.of(app)
	for _, e := range all {
		if leafPrint(e.CertificateChain) == t.Making {
			t.Endpoint = e.ID
		}
	}
	t.Making = ""
	return b.keep()
}

// remove takes back what was done to an app: each domain gets the endpoint that it
// had, unless somebody has given it another one since, and ours is deleted.
func (b *bringing) remove(ctx context.Context, app string) error {
	t := b.of(app)
	domains, err := b.api.domains(ctx, app)
	if notFound(err) {
		delete(b.there.Apps, app) // with the app all of it is gone
		return b.keep()
	}
	if err != nil {
		return err
	}
	if t.Endpoint == "" && t.Making != "" {
		if err := b.find(ctx, app); err != nil {
			return err
		}
	}
	for _, d := range domains {
		if err := b.putBack(ctx, app, d); err != nil {
			return err
		}
	}
	if t.Endpoint != "" {
		b.step("delete the endpoint")
		if err := b.api.deleteSNIEndpoint(ctx, app, t.Endpoint); err != nil && !notFound(err) {
			return fmt.Errorf("delete the SNI endpoint: %w", err)
		}
	}
	delete(b.there.Apps, app)
	return b.keep()
}

// putBack gives a domain the endpoint that it had before ours.
func (b *bringing) putBack(ctx context.Context, app string, d domain) error {
	t := b.of(app)
	before, ours := t.Before[d.ID]
	if !ours || t.Endpoint == "" || d.served() != t.Endpoint {
		return nil
	}
	b.step("put back " + d.Hostname)
	err := b.api.attach(ctx, app, d.ID, before)
	if before != "" && notFound(err) {
		err = b.api.attach(ctx, app, d.ID, "") // that one is gone
	}
	if err != nil {
		return fmt.Errorf("put back what %s was served by: %w", d.Hostname, err)
	}
	b.reporter.Progress(app, d.Hostname+" is served as before")
	return nil
}
