package run

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
)

// How often a CA is asked for a renewal window when it does not say (RFC 9773
// section 4.3), and when it has none to give.
const (
	askWindow   = 6 * time.Hour
	askNoWindow = 24 * time.Hour
)

// windows asks the CAs when they want certificates to be renewed, if the time
// to ask has come, and keeps the answers with the lineages. A CA that cannot
// say changes nothing: the lifetime decides then.
func (e *Engine) windows(ctx context.Context, lineages map[string]model.Lineage) {
	clients := newCAs(e)
	defer clients.close()
	var group errgroup.Group
	group.SetLimit(atCA)
	var due []model.Lineage
	for _, l := range lineages {
		if l.Version != nil && !e.Now().Before(nextWindow(l)) {
			due = append(due, l)
		}
	}
	var mu sync.Mutex
	for _, l := range due {
		group.Go(func() error {
			now, err := e.window(ctx, clients, l)
			if err != nil && ctx.Err() == nil {
				e.Terminal.Warn(l.Name, "keep the renewal window: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			lineages[l.Name] = now
			return nil
		})
	}
	_ = group.Wait() // none of them is an error of the run
}

// nextWindow is when to ask for a lineage's window.
func nextWindow(l model.Lineage) time.Time {
	if l.ARI == nil || l.ARI.Version != l.Version.Number {
		return l.Version.NotBefore.Add(askWindow)
	}
	return l.ARI.Next
}

// window asks for one lineage and gives it as it is then.
func (e *Engine) window(ctx context.Context, clients *cas, known model.Lineage) (model.Lineage, error) {
	l := known
	unlock, err := e.Store.TryLock("lineage-"+l.Name, true)
	if err != nil {
		return known, nil // another process works on it; there is time
	}
	defer unlock()
	l, err = e.Store.Lineage(l.Name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (l.Version == nil || e.Now().Before(nextWindow(l))) {
		return known, nil // deleted, or asked by another process meanwhile
	}
	if err != nil {
		return known, err
	}
	next := model.ARI{Version: l.Version.Number}
	info, err := e.ask(ctx, clients, l)
	switch {
	case err == nil:
		next.RenewalInfo, next.Next = info, e.Now().Add(info.RetryAfter).UTC()
		if old := l.ARI; old != nil && old.Version == next.Version && old.Start.Equal(info.Start) && old.End.Equal(info.End) {
			next.At = old.At
		} else {
			next.At = instant(info.Start, info.End)
		}
	case ctx.Err() != nil:
		return l, context.Cause(ctx)
	default:
		e.Terminal.Detail(l.Name, "the CA gives no renewal window: %v", err)
		if l.ARI != nil && l.ARI.Version == next.Version {
			next = *l.ARI
		}
		wait := askWindow
		if errors.Is(err, acmeclient.ErrNoRenewalInfo) {
			wait = askNoWindow
		}
		next.Next = e.Now().Add(wait).UTC()
	}
	l.ARI = &next
	return l, e.Store.SaveLineage(l)
}

func (e *Engine) ask(ctx context.Context, clients *cas, l model.Lineage) (model.RenewalInfo, error) {
	client, err := clients.get(ctx, l.Request)
	if err != nil {
		return model.RenewalInfo{}, err
	}
	if _, err := client.Directory(ctx); err != nil {
		return model.RenewalInfo{}, err
	}
	id, err := e.certID(l)
	if err != nil {
		return model.RenewalInfo{}, err
	}
	info, err := client.RenewalInfo(ctx, id)
	return model.RenewalInfo{
		Start: info.Start, End: info.End, Explanation: info.Explanation, RetryAfter: info.RetryAfter,
	}, err
}

// instant picks a moment of a window, every one as likely as the other, so that
// the clients of a CA do not come at once (RFC 9773 section 4.2).
func instant(start, end time.Time) time.Time {
	return start.Add(rand.N(end.Sub(start))).UTC().Truncate(time.Second)
}

// certID is the ARI identifier of the newest version.
func (e *Engine) certID(l model.Lineage) (string, error) {
	issued, err := e.Store.Read(l.Name, l.Version.Number)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(issued.LeafPEM)
	if block == nil {
		return "", fmt.Errorf("the certificate of %s is not PEM", l.Name)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("read the certificate of %s: %w", l.Name, err)
	}
	return acmeclient.CertID(leaf)
}

// replaces gives the ARI identifier of the version that an order follows, if
// the CA wants to know it.
func (e *Engine) replaces(ctx context.Context, client *ca, r model.Request, l model.Lineage) string {
	if l.Version == nil || l.Request.Server != r.Server {
		return ""
	}
	d, err := client.Directory(ctx)
	if err != nil || d.RenewalInfo == "" {
		return ""
	}
	id, err := e.certID(l)
	if err != nil {
		e.Terminal.Detail(r.Name, "the CA is not told what is replaced: %v", err)
		return ""
	}
	return id
}
