package run

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/deploy"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/plan"
)

// preview adds to a plan what would be written at each target that is due. What
// cannot be said is a warning: the plan is good all the same.
func (e *Engine) preview(ctx context.Context, w Want, p model.Plan, lineages map[string]model.Lineage) {
	installers := model.Plan{}
	for _, item := range p.Items {
		if item.Action != model.None && len(item.Deploy) > 0 {
			item.Action = model.Deploy // nothing is proven
			installers.Items = append(installers.Items, item)
		}
	}
	if len(installers.Items) == 0 {
		return
	}
	w.preview = true
	t, err := e.prepare(ctx, w, installers, lineages)
	if err != nil {
		e.Terminal.WarnError(fmt.Errorf("what would be written is not known: %w", err))
		return
	}
	defer t.stop(ctx)
	for i, item := range p.Items {
		if item.Action == model.None || len(item.Deploy) == 0 {
			continue
		}
		err := t.errs[item.Request.Name]
		if err == nil {
			p.Items[i].Diffs, err = e.previews(ctx, item, lineages[item.Request.Name], model.Issued{}, t)
		}
		if err != nil {
			e.Terminal.WarnError(fmt.Errorf("what would be written for %s is not known: %w", item.Request.Name, err))
		}
	}
}

// previews asks each target of an item for the difference. The certificate is
// the one that is given, or else the newest, or else one that is made up for
// that and not shown.
func (e *Engine) previews(ctx context.Context, item model.Item, l model.Lineage, issued model.Issued, t *team) (map[string]string, error) {
	if len(item.Deploy) == 0 {
		return nil, nil
	}
	cert, err := e.previewed(item.Request, l, issued, t.want.KeyPath)
	if err != nil {
		return nil, err
	}
	madeUp := len(issued.LeafPEM) == 0 && l.Version == nil
	diffs := map[string]string{}
	var errs []error
	for _, name := range item.Deploy {
		instance, err := t.get(ctx, item.Request.Name, name)
		if err == nil {
			diffs[name], err = deploy.Preview(ctx, e.deployDeps(), e.target(instance), cert)
		}
		if madeUp {
			diffs[name] = unsaid(diffs[name], cert.Issued)
		}
		if err != nil {
			delete(diffs, name)
			errs = append(errs, err)
		}
	}
	return diffs, errors.Join(errs...)
}

// unsaid takes out of a difference what was made up.
func unsaid(diff string, issued model.Issued) string {
	madeUp := map[string]bool{}
	for line := range strings.Lines(string(issued.FullchainPEM) + string(issued.KeyPEM)) {
		madeUp["+"+line] = !strings.HasPrefix(line, "-----")
	}
	var b strings.Builder
	said := false
	for line := range strings.Lines(diff) {
		switch {
		case !madeUp[line]:
			b.WriteString(line)
			said = false
		case !said:
			b.WriteString("+(not known yet)\n")
			said = true
		}
	}
	return b.String()
}

func (e *Engine) previewed(r model.Request, l model.Lineage, issued model.Issued, keyPath string) (deploy.Certificate, error) {
	l.Name = r.Name
	if keyPath != "" {
		l.Request.KeyPath = keyPath
	}
	var err error
	switch {
	case len(issued.LeafPEM) > 0:
	case l.Version != nil:
		issued, err = e.deployable(l)
	default:
		issued, err = standIn(r, e.Now())
	}
	cert := deploy.Certificate{
		Lineage: r.Name, Version: number(l) + 1, Identifiers: plan.Remaining(r.Identifiers, l.Skipped), Issued: issued,
		Paths: e.Store.LivePaths(r.Name), KeyPath: l.Request.KeyPath,
	}
	if cert.KeyPath != "" {
		cert.Paths.Privkey = cert.KeyPath
	}
	return cert, err
}

// standIn makes a certificate that nobody has issued.
func standIn(r model.Request, now time.Time) (model.Issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return model.Issued{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stands in for a certificate that does not exist yet"},
		NotBefore: now, NotAfter: now.Add(time.Hour),
	}
	for _, id := range r.Identifiers {
		if ip := net.ParseIP(id.Value); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, id.String())
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return model.Issued{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return model.Issued{}, err
	}
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return model.Issued{
		LeafPEM: leaf, ChainPEM: leaf, FullchainPEM: slices.Concat(leaf, leaf),
		KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}
