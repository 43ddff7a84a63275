package order_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/journal"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/internal/order"
	"github.com/certwright/certwright/host/internal/store"
	"github.com/certwright/certwright/host/testca"
	"github.com/certwright/certwright/sdk"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

// world is a real CA, a real store and a real journal, with authenticators in
// this process.
type world struct {
	t       *testing.T
	ca      *testca.CA
	client  caller
	web     *site
	store   *store.Store
	dir     string // of the journal
	journal *journal.Journal
	story   *story
	team    map[string]*authenticator
	fresh   map[string]*authenticator
	held    *holds
	dns     order.DNS
}

func newWorld(t *testing.T, o testca.Options) *world {
	t.Helper()
	w := &world{t: t, web: serve(t), story: &story{}, team: map[string]*authenticator{}, held: &holds{}}
	o.HTTPPort, o.TLSPort = w.web.httpPort, w.web.tlsPort
	o.NonceReject = 15
	var err error
	if w.ca, err = testca.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.ca.Close(); err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.ca.TLSRoots())
	client, err := acmeclient.New(acmeclient.Options{Server: w.ca.DirectoryURL(), Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w.client = caller{client}
	if w.store, err = store.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	w.dir = filepath.Join(w.store.Dir(), "journal")
	if w.journal, err = journal.Open(w.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.journal.Close() })
	return w
}

// registered is a world with an account.
func registered(t *testing.T, o testca.Options) *world {
	t.Helper()
	w := newWorld(t, o)
	if _, err := order.Register(w.bounded(), w.client, w.store, order.Wanted{Name: "main", Server: w.ca.DirectoryURL(), AgreeTOS: true}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) bounded() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	w.t.Cleanup(cancel)
	return ctx
}

// add makes an authenticator that answers http-01 and tls-alpn-01 rightly.
func (w *world) add(name string) *authenticator {
	a := &authenticator{world: w, name: name, types: []string{sdk.HTTP01, sdk.TLSALPN01}}
	w.team[name] = a
	return a
}

func (w *world) deps() order.Deps {
	get := func(from map[string]*authenticator) order.Instances {
		return func(_ context.Context, name string) (order.Instance, error) {
			a := from[name]
			if a == nil {
				return order.Instance{}, fmt.Errorf("there is no plugin for %s", name)
			}
			return order.Instance{Config: model.Instance{Name: name, Plugin: "test"}, Description: a.description(), Authenticator: a}, nil
		}
	}
	d := order.Deps{
		CA: w.client, Instances: get(w.team), Journal: journalling{w.journal}, Keys: w.store, Story: w.story, RunID: "run-1",
		ResourceKeys: func(i order.Instance) []string { return []string{"for " + i.Config.Name} }, Resources: w.held, DNS: w.dns, Now: time.Now,
	}
	if w.fresh != nil {
		d.Fresh = get(w.fresh)
	}
	return d
}

func request(with string, names ...string) model.Request {
	r := model.Request{Name: "cert", KeyType: model.P256, Authenticate: []model.Rule{{With: strings.Fields(with)}}}
	for _, name := range names {
		id := model.Identifier{Type: "dns", Value: name}
		if model.IsIP(name) {
			id.Type = "ip"
		}
		id.Value, id.Wildcard = strings.CutPrefix(name, "*.")
		r.Identifiers = append(r.Identifiers, id)
	}
	return r
}

// issue MUST succeed: the certificate is for these names and this key, leads to
// the CA's root, and nothing is left in flight.
func (w *world) issue(r model.Request) *x509.Certificate {
	w.t.Helper()
	result, err := order.Obtain(w.bounded(), w.deps(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	leaf := w.verify(r, result)
	if _, err := w.store.Commit(model.Lineage{Name: r.Name, Request: r}, result.OrderID, result.Issued); err != nil {
		w.t.Error(err)
	}
	if err := result.Done(); err != nil {
		w.t.Error(err)
	}
	w.idle()
	return leaf
}

func (w *world) verify(r model.Request, result order.Result) *x509.Certificate {
	w.t.Helper()
	pair, err := tls.X509KeyPair(result.Issued.FullchainPEM, result.Issued.KeyPEM)
	if err != nil {
		w.t.Fatalf("key and certificate: %v", err)
	}
	if string(result.Issued.LeafPEM)+string(result.Issued.ChainPEM) != string(result.Issued.FullchainPEM) {
		w.t.Error("leaf and chain are not the full chain")
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(w.ca.IssuerRoots())
	intermediates.AppendCertsFromPEM(result.Issued.ChainPEM)
	for _, name := range r.Names() {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: strings.Replace(name, "*", "any", 1), Roots: roots, Intermediates: intermediates}); err != nil {
			w.t.Error(err)
		}
	}
	if block, rest := pem.Decode(result.Issued.LeafPEM); block == nil || len(rest) > 0 {
		w.t.Error("the leaf is not one certificate")
	}
	return pair.Leaf
}

// fail MUST fail, and leaves no key and no response.
func (w *world) fail(ctx context.Context, r model.Request) error {
	w.t.Helper()
	_, err := order.Obtain(ctx, w.deps(), r)
	if err == nil {
		w.t.Fatal("a certificate was issued")
	}
	w.web.empty(w.t)
	if names, err := filepath.Glob(filepath.Join(w.store.Dir(), "archive", "*", "*")); err != nil || len(names) > 0 {
		w.t.Errorf("left in the archive: %q, %v", names, err)
	}
	return err
}

// idle closes the journal, which MUST name nothing, and looks that nothing is
// served or held.
func (w *world) idle() {
	w.t.Helper()
	if left := w.pending(); len(left) > 0 {
		w.t.Errorf("left in the journal: %v", left)
	}
	w.web.empty(w.t)
	if n := w.held.now(); n > 0 {
		w.t.Errorf("%d resources are still held", n)
	}
}

// pending closes the journal and gives what it names.
func (w *world) pending() []journal.Entry {
	w.t.Helper()
	if err := w.journal.Close(); err != nil {
		w.t.Error(err)
	}
	entries, err := journal.Pending(w.dir)
	if err != nil {
		w.t.Error(err)
	}
	return entries
}

// caller is the client as the package wants it.
type caller struct{ *acmeclient.Client }

func (c caller) NewOrder(ctx context.Context, n model.NewOrder) (model.Order, error) {
	return c.Client.NewOrder(ctx, n.Identifiers)
}

func (c caller) Certificate(ctx context.Context, url string, _ func([]byte) bool) ([]byte, bool, error) {
	chain, err := c.Client.Certificate(ctx, url)
	return chain, true, err
}

func (c caller) Register(ctx context.Context, r order.Registration) (string, error) {
	in := acmeclient.Registration{Key: r.Key, Contact: r.Contact, TermsAgreed: r.TermsAgreed}
	if r.EABKid != "" {
		in.EAB = &acmeclient.EAB{Kid: r.EABKid, HMACKey: r.EABKey}
	}
	url, _, err := c.Client.Register(ctx, in)
	return url, err
}

// journalling is the journal as the package wants it.
type journalling struct{ *journal.Journal }

type entry struct {
	*journal.Journal
	id string
}

func (j journalling) Performing(lineage, operation string, i model.Instance, challenges []model.Challenge) (order.Entry, error) {
	id, err := j.Journal.Performing(journal.Perform{Instance: i, Lineage: lineage, OperationID: operation, Challenges: challenges})
	return entry{j.Journal, id}, err
}

func (j journalling) Ordering(r model.Request, o model.Order) (func() error, error) {
	id, err := j.Order(journal.Order{Lineage: r.Name, OrderURL: o.URL, OrderID: order.ID(o.URL)})
	return func() error { return j.OrderDone(id) }, err
}

func (e entry) Receipts(receipts []order.Receipt) error {
	var out []journal.Receipt
	for _, r := range receipts {
		out = append(out, journal.Receipt(r))
	}
	return e.Journal.Receipts(e.id, out)
}

func (e entry) Cleaned(ids []string) error { return e.Journal.Cleaned(e.id, ids) }

// story keeps what was told.
type story struct {
	mu    sync.Mutex
	lines []string
}

func (s *story) add(kind, lineage, format string, args []any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, kind+lineage+": "+fmt.Sprintf(format, args...))
}

func (s *story) Tell(lineage, format string, args ...any) { s.add("", lineage, format, args) }
func (s *story) Warn(lineage, format string, args ...any) { s.add("warning: ", lineage, format, args) }
func (s *story) Reporter(lineage, instance string) sdk.Reporter {
	return reporter{s, lineage + ": " + instance}
}

func (s *story) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.lines, func(l string) bool { return strings.Contains(l, text) })
}

type reporter struct {
	story *story
	who   string
}

func (r reporter) Progress(subject, message string) {
	r.story.Tell(r.who, "%s %s", subject, message)
}
func (r reporter) Say(_ sdk.Stream, text string) { r.story.Tell(r.who, "%s", text) }
func (r reporter) Ask(context.Context, string) (string, error) {
	return "", sdk.ErrNotInteractive
}
func (r reporter) Result(sdk.Result) {}

// holds counts what is held, and refuses what it is told to.
type holds struct {
	mu     sync.Mutex
	held   []string
	all    []string
	refuse error
}

func (h *holds) Hold(_ context.Context, instance string, keys []string) (func(), error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return nil, h.refuse
	}
	text := instance + ": " + strings.Join(keys, ",")
	h.held, h.all = append(h.held, text), append(h.all, text)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.held = slices.DeleteFunc(h.held, func(s string) bool { return s == text })
	}, nil
}

func (h *holds) now() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

// authenticator does everything right, except where a test says otherwise. What
// it was called with is kept.
type authenticator struct {
	world *world
	name  string
	types []string
	// perform and cleanup stand in for the right ones.
	perform func(context.Context, []sdk.Challenge, sdk.Reporter) error
	cleanup func(context.Context, []sdk.Challenge, sdk.Reporter) error
	prefer  func(sdk.Identifier) sdk.Preference
	change  func(*sdk.Description)

	mu        sync.Mutex
	performed [][]sdk.Challenge
	cleaned   [][]sdk.Challenge
	ops       []sdk.Operation
}

func (a *authenticator) description() sdk.Description {
	d := sdk.Description{Name: "test", Roles: []string{sdk.RoleAuthenticator}}
	for _, t := range a.types {
		d.ChallengeTypes = append(d.ChallengeTypes, sdk.ChallengeType{Type: t, IdentifierTypes: []string{"dns", "ip"}})
	}
	if a.prefer != nil {
		d.Features = append(d.Features, sdk.FeaturePrefer)
	}
	if a.change != nil {
		a.change(&d)
	}
	return d
}

func (a *authenticator) Prefer(_ context.Context, ids []sdk.Identifier) ([]sdk.Preference, error) {
	var out []sdk.Preference
	for _, id := range ids {
		p := a.prefer(id)
		p.Identifier = id
		out = append(out, p)
	}
	return out, nil
}

func (a *authenticator) Perform(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	a.mu.Lock()
	a.performed, a.ops = append(a.performed, challenges), append(a.ops, sdk.OperationFrom(ctx))
	a.mu.Unlock()
	if a.perform != nil {
		return a.perform(ctx, challenges, r)
	}
	return a.right(challenges, r)
}

// right puts every challenge in place, with a receipt.
func (a *authenticator) right(challenges []sdk.Challenge, r sdk.Reporter) error {
	for _, c := range challenges {
		if err := a.world.web.put(c, c.KeyAuthorization); err != nil {
			return err
		}
		r.Result(sdk.Result{Subject: c.ID, Receipt: []byte("receipt of " + c.ID)})
	}
	return nil
}

func (a *authenticator) Cleanup(ctx context.Context, challenges []sdk.Challenge, r sdk.Reporter) error {
	a.mu.Lock()
	a.cleaned, a.ops = append(a.cleaned, challenges), append(a.ops, sdk.OperationFrom(ctx))
	a.mu.Unlock()
	for _, c := range challenges {
		a.world.web.remove(c)
	}
	if a.cleanup != nil {
		return a.cleanup(ctx, challenges, r)
	}
	return nil
}

// called says how often Perform and Cleanup were called; both MUST have had the
// same challenges.
func (a *authenticator) called(t *testing.T, want int) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.performed) != want || len(a.cleaned) != want {
		t.Fatalf("%s: Perform was called %d times, Cleanup %d times, want %d", a.name, len(a.performed), len(a.cleaned), want)
	}
	for i := range a.performed {
		if !slices.Equal(ids(a.performed[i]), ids(a.cleaned[i])) {
			t.Errorf("%s: %q were performed, %q cleaned", a.name, ids(a.performed[i]), ids(a.cleaned[i]))
		}
	}
}

func ids(challenges []sdk.Challenge) []string {
	var out []string
	for _, c := range challenges {
		out = append(out, c.ID)
	}
	return out
}
