package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// pritunl is the installer, for one Pritunl, of one host or several.
type pritunl struct {
	settings settings
	api      api
	remote   *checkpoint.Remote[wanted, there]
	// step is for tests that kill the process; see checkpoint.Store.
	step func(string)
	// limits is for tests that do not want to wait.
	limits limits
	// patience bounds the wait until a certificate is served.
	patience time.Duration
}

var _ interface {
	sdk.Installer
	sdk.Configurer
	sdk.Rollbacker
	sdk.HealthChecker
} = (*pritunl)(nil)

// wanted is what Pritunl is to serve.
type wanted struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// there is what Pritunl has because of us.
type there struct {
	// Before is what somebody else had put there last, its key included, or
	// nothing: what a rollback returns to in the end.
	Before pair `json:"before"`
	// Ours are the fingerprints of all that we have put there, the newest last.
	Ours []string `json:"ours"`
	// Has is the one that was seen to be served; empty: not known.
	Has string `json:"has,omitempty"`
}

// oursKept bounds the fingerprints that are remembered.
const oursKept = 50

func newPritunl() *pritunl { return &pritunl{patience: time.Minute} }

func (p *pritunl) at(step string) {
	if p.step != nil {
		p.step(step)
	}
}

// Configure checks the settings, and undoes what a crash left of the records.
func (p *pritunl) Configure(ctx context.Context, instance sdk.Instance) error {
	if err := p.settings.check(); err != nil {
		return err
	}
	var err error
	if p.api, err = newAPI(p.settings, p.isOurs, p.limits); err != nil || instance.ValidateOnly {
		return err
	}
	if instance.StateDir == "" {
		return sdk.Problemf(sdk.Internal, "the host gave instance %s no state directory", instance.Name)
	}
	p.remote, err = checkpoint.NewRemote[wanted, there](ctx, instance.StateDir, p.step)
	return err
}

// isOurs says whether a certificate that the API shows was put there by us:
// neither the pin nor the roots of the settings need to know it.
func (p *pritunl) isOurs(fingerprint string) bool {
	lineages, err := p.remote.Lineages()
	if err != nil {
		return false // the certificate is judged by the settings alone
	}
	return slices.ContainsFunc(lineages, func(lineage string) bool {
		t, err := p.remote.There(lineage)
		return err == nil && t != nil && slices.Contains(t.Ours, fingerprint)
	})
}

// Health asks for the settings, with deep only: a slow API makes no plugin ill.
func (p *pritunl) Health(ctx context.Context, deep bool) error {
	if !deep {
		return nil
	}
	now, err := p.api.get(ctx)
	if err == nil {
		err = now.mayReplace()
	}
	return err
}

// mayReplace refuses a Pritunl that orders certificates itself, and would
// overwrite ours.
func (c current) mayReplace() error {
	if c.ACMEDomain == "" {
		return nil
	}
	err := sdk.Permanent(sdk.Problemf(sdk.Conflict, "Pritunl orders a certificate for %s by itself, and would replace this one", c.ACMEDomain))
	return sdk.Hint(err, "empty \"Lets Encrypt Domain\" in Pritunl's settings, or take this instance out of deploy")
}

// Deploy stages the certificate, after a look at what is there.
func (p *pritunl) Deploy(ctx context.Context, d sdk.Deployment, r sdk.Reporter) error {
	// It is stored without white space at its ends.
	w := wanted{Cert: strings.TrimSpace(string(d.FullchainPEM)), Key: strings.TrimSpace(string(d.KeyPEM))}
	if printOf(&w.Cert) == "" || w.Key == "" {
		return sdk.Problemf(sdk.Internal, "the host has handed over no certificate with its key")
	}
	if err := p.alone(sdk.OperationFrom(ctx).Lineage); err != nil {
		return err
	}
	now, err := p.api.get(ctx)
	if err == nil {
		err = now.mayReplace()
	}
	if err != nil {
		return err
	}
	result := sdk.Result{Subject: d.Name, Changed: !now.is(w)}
	for _, address := range p.settings.ServedAt {
		result.Endpoints = append(result.Endpoints, sdk.Endpoint{Address: address, Kind: sdk.TLS})
	}
	if d.DryRun {
		result.Diff = describe(now.pair, w)
	} else if err := p.remote.Stage(ctx, w); err != nil {
		return err
	}
	r.Result(result)
	return nil
}

// describe shows certificates, and of keys only whether they change.
func describe(was pair, w wanted) string {
	var before []byte
	if was.Cert != nil {
		before = []byte(*was.Cert + "\n")
	}
	diff := checkpoint.Diff("server_cert", before, []byte(w.Cert+"\n"))
	if was.Key == nil || *was.Key != w.Key {
		diff += "server_key: changes\n"
	}
	return diff
}

// alone refuses a second certificate for the same Pritunl.
func (p *pritunl) alone(lineage string) error {
	others, err := p.remote.Lineages()
	if err != nil {
		return err
	}
	for _, other := range others {
		w, err := p.remote.Wanted(other)
		if err != nil {
			return err
		}
		if other != lineage && w != nil {
			err := sdk.Permanent(sdk.Problemf(sdk.Conflict, "Pritunl has the certificate %s already, and one for all names", other))
			return sdk.Hint(err, "put all names into one certificate, or roll the other one back first: certwright rollback")
		}
	}
	return nil
}

// Save keeps what is wanted.
func (p *pritunl) Save(ctx context.Context, req sdk.SaveRequest, _ sdk.Reporter) (sdk.Checkpoint, error) {
	return p.remote.Save(ctx, req)
}

// Restart has Pritunl serve what is wanted. It is asked, because somebody else
// may have changed it.
func (p *pritunl) Restart(ctx context.Context, r sdk.Reporter) error {
	return p.sync(ctx, sdk.OperationFrom(ctx).Lineage, true, r)
}

// Rollback brings back what was wanted before, and has Pritunl serve it.
func (p *pritunl) Rollback(ctx context.Context, count int, r sdk.Reporter) error {
	return p.remote.Rollback(ctx, count, r, func(ctx context.Context, lineage string) error {
		return p.sync(ctx, lineage, false, r)
	})
}

func (p *pritunl) sync(ctx context.Context, lineage string, ask bool, r sdk.Reporter) error {
	w, err := p.remote.Wanted(lineage)
	if err != nil {
		return err
	}
	t, err := p.remote.There(lineage)
	switch {
	case err != nil || w == nil && t == nil:
		return err
	case w == nil:
		return p.giveBack(ctx, lineage, t, r)
	case !ask && t != nil && t.Has == printOf(&w.Cert):
		return nil
	}
	return p.bring(ctx, lineage, *w, t, r)
}

// bring puts a certificate there and waits until it is served: Pritunl restarts
// its web server by itself, half a second later.
func (p *pritunl) bring(ctx context.Context, lineage string, w wanted, t *there, r sdk.Reporter) error {
	now, err := p.api.get(ctx)
	if err == nil {
		err = now.mayReplace()
	}
	if err != nil {
		return err
	}
	if t == nil {
		t = &there{Before: now.pair}
	}
	mark := printOf(&w.Cert)
	if !now.is(w) {
		if !slices.Contains(t.Ours, printOf(now.Cert)) {
			t.Before = now.pair // somebody has replaced ours
		}
		t.note(mark)
		if err := p.remote.Keep(lineage, t); err != nil {
			return err
		}
		p.at("put")
		if err := p.api.put(ctx, pair{Cert: &w.Cert, Key: &w.Key}); err != nil {
			return err
		}
		p.at("was put")
		r.Progress("", "Pritunl has the certificate and restarts its web server")
	}
	if err := p.served(ctx, func(got string) bool { return got == mark }); err != nil {
		return err
	}
	t.note(mark)
	t.Has = mark
	return p.remote.Keep(lineage, t)
}

func (t *there) note(fingerprint string) {
	t.Has = ""
	t.Ours = append(slices.DeleteFunc(t.Ours, func(f string) bool { return f == fingerprint }), fingerprint)
	if len(t.Ours) > oursKept {
		t.Ours = t.Ours[len(t.Ours)-oursKept:]
	}
}

// giveBack brings back what was there before us, unless somebody else has put
// something there since.
func (p *pritunl) giveBack(ctx context.Context, lineage string, t *there, r sdk.Reporter) error {
	now, err := p.api.get(ctx)
	if err != nil {
		return err
	}
	switch {
	case slices.Contains(t.Ours, printOf(now.Cert)):
		p.at("give back")
		if err := p.api.put(ctx, t.Before); err != nil {
			return err
		}
		p.at("gave back")
		r.Progress("", "Pritunl has the certificate that it had before, and restarts its web server")
	case printOf(now.Cert) != printOf(t.Before.Cert):
		r.Progress("", "Pritunl keeps a certificate that somebody else has put there since")
		return p.remote.Keep(lineage, nil)
	}
	before := printOf(t.Before.Cert)
	err = p.served(ctx, func(got string) bool {
		// Without one Pritunl makes a new one for itself.
		return before == got || before == "" && !slices.Contains(t.Ours, got)
	})
	if err != nil {
		return err
	}
	return p.remote.Keep(lineage, nil)
}

// served waits until every address shows a certificate that is as wanted.
func (p *pritunl) served(ctx context.Context, good func(fingerprint string) bool) error {
	const first, most = 50 * time.Millisecond, time.Second
	limit, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	for _, address := range p.settings.ServedAt {
		for pause := first; ; pause = min(2*pause, most) {
			got, err := shows(limit, address)
			if err == nil && good(got) {
				break
			}
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
				continue
			case <-limit.Done():
				timer.Stop()
			}
			if ctx.Err() != nil {
				return fmt.Errorf("wait until %s shows the certificate: %w", address, context.Cause(ctx))
			}
			if err == nil {
				err = errors.New("it shows another certificate")
			}
			err = sdk.WithCode(fmt.Errorf("%s does not show the certificate that Pritunl has: %w", address, err), sdk.Unavailable)
			return sdk.Hint(sdk.RetryAfter(err, 0), "see Pritunl's log; if it is behind a proxy with TLS of its own, name the hosts themselves in served_at")
		}
	}
	return nil
}

// shows gives the fingerprint of the certificate at an address.
func shows(ctx context.Context, address string) (string, error) {
	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the certificate is compared, and nothing is sent
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	secured, ok := conn.(*tls.Conn)
	if !ok || len(secured.ConnectionState().PeerCertificates) == 0 {
		return "", errors.New("it shows no certificate")
	}
	return sum(secured.ConnectionState().PeerCertificates[0].Raw), nil
}

// is says whether this very pair is there.
func (p pair) is(w wanted) bool {
	return p.Cert != nil && p.Key != nil && strings.TrimSpace(*p.Cert) == w.Cert && strings.TrimSpace(*p.Key) == w.Key
}

// printOf is the fingerprint of the first certificate, empty if there is none.
func printOf(text *string) string {
	if text == nil {
		return ""
	}
	block, _ := pem.Decode([]byte(*text + "\n"))
	if block == nil {
		return ""
	}
	return sum(block.Bytes)
}

func sum(der []byte) string {
	s := sha256.Sum256(der)
	return hex.EncodeToString(s[:])
}
