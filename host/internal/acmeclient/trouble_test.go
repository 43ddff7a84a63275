package acmeclient_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/host/testca"
)

// Every step of getting a certificate, in order.
var (
	unsigned = []string{"directory", "newNonce"}
	creating = []string{"newAccount", "newOrder"}
	within   = []string{"authorization", "accept", "authorization poll", "order poll", "finalize", "certificate poll", "certificate"}
	signed   = slices.Concat(creating, within)
	every    = slices.Concat(unsigned, signed)
)

// trouble is one thing that goes wrong, at one step after the other.
type trouble struct {
	name  string
	steps []string
	fault fault
	// most is how many requests the step may take.
	most int
	// fails is what the error must say; empty: there is a certificate in the
	// end. at says so for single steps ("-": there is one), and mosts how many
	// requests.
	fails string
	at    map[string]string
	mosts map[string]int
	// patience is how long the client waits for one answer.
	patience time.Duration
}

// the directory is tried for 20 s, with pauses of up to 4 s between.
var untilGivenUp = map[string]int{"directory": 20}

var troubles = []trouble{
	{name: "a burst of refused nonces", steps: signed, fault: fault{times: 3, before: badNonce}, most: 4 + polls},
	{name: "every nonce is refused", steps: signed, fault: fault{before: badNonce}, most: 11, fails: "(badNonce)"},
	{name: "no nonce with any answer", steps: every, fault: fault{after: withoutNonce}, most: polls, at: map[string]string{"newNonce": "gave none"}},

	{name: "asked to wait a moment", steps: every, fault: fault{times: 1, before: refused(429, "rateLimited", "2")}, most: 2 + polls,
		at: map[string]string{"newAccount": "(rateLimited)", "newOrder": "(rateLimited)"}, mosts: map[string]int{"newAccount": 1, "newOrder": 1}},
	{name: "asked to wait, not how long", steps: every, fault: fault{times: 1, before: refused(429, "rateLimited", "")}, most: 2 + polls,
		at: map[string]string{"newAccount": "(rateLimited)", "newOrder": "(rateLimited)"}, mosts: map[string]int{"newAccount": 1, "newOrder": 1}},
	{name: "asked to come back in an hour", steps: slices.Concat(unsigned[:1], signed), fault: fault{before: refused(429, "rateLimited", "3600")}, most: 1, fails: "(rateLimited)"},
	{name: "asked to wait for ever", steps: slices.Concat(unsigned[:1], signed), fault: fault{before: refused(429, "rateLimited", "")}, most: 5, fails: "(rateLimited)", mosts: untilGivenUp},
	{name: "no nonce is given for an hour", steps: unsigned[1:], fault: fault{before: refused(429, "rateLimited", "3600")}, most: 1, fails: "429 Too Many Requests"},

	{name: "an internal error", steps: every, fault: fault{times: 1, before: refused(500, "serverInternal", "")}, most: 2 + polls},
	{name: "down for a moment", steps: every, fault: fault{times: 2, before: refused(503, "serverInternal", "")}, most: 3 + polls},
	{name: "down, and back at a time", steps: every, fault: fault{times: 2, before: refused(503, "serverInternal", "7")}, most: 3 + polls},
	{name: "down for good", steps: slices.Concat(unsigned[:1], signed), fault: fault{before: refused(503, "serverInternal", "")}, most: 5, fails: "(serverInternal)", mosts: untilGivenUp},
	{name: "a gateway's page for good", steps: every, fault: fault{before: page(502)}, most: 5, fails: "502 Bad Gateway", mosts: untilGivenUp},

	{name: "cut before the request arrives", steps: every, fault: fault{times: 1, before: cutBefore}, most: 2 + polls},
	{name: "cut after the request has arrived", steps: every, fault: fault{times: 1, before: cutAfter}, most: 2 + polls},
	{name: "cut in the middle of the answer", steps: slices.Concat(unsigned[:1], signed), fault: fault{times: 1, before: cutWithin}, most: 2 + polls},
	// net/http asks again by itself for what is no POST.
	{name: "cut for good", steps: every, fault: fault{before: cutBefore}, most: 5, fails: "no answer from 127.0.0.1", mosts: map[string]int{"directory": 40, "newNonce": 10}},
	{name: "cut after every request", steps: signed, fault: fault{before: cutAfter}, most: 5, fails: "no answer from 127.0.0.1",
		at: map[string]string{"finalize": "-"}},

	{name: "an answer that stops", steps: slices.Concat(unsigned[:1], signed), fault: fault{times: 1, before: stops}, most: 2 + polls, patience: time.Second},
	{name: "an answer in drops", steps: slices.Concat(unsigned[:1], signed), fault: fault{before: drops}, most: polls},
	{name: "a huge answer", steps: slices.Concat(unsigned[:1], signed), fault: fault{times: 1, before: huge}, most: 2 + polls},
	{name: "huge answers", steps: slices.Concat(unsigned[:1], signed), fault: fault{before: huge}, most: 5, fails: "longer than 1048576 bytes", mosts: untilGivenUp},

	{name: "unknown fields", steps: slices.Concat(unsigned[:1], signed[:len(signed)-1]), fault: fault{after: unknownFields}, most: polls},
	{name: "200 where 201 is due", steps: creating, fault: fault{after: status200}, most: 1},
	{name: "challenges that nobody knows", steps: []string{"authorization", "authorization poll"}, fault: fault{after: unknownChallenges}, most: polls},
	{name: "still ready after finalize", steps: []string{"finalize"}, fault: fault{times: 1, after: stillReady}, most: 1},
	{name: "still ready when asked", steps: []string{"certificate poll"}, fault: fault{times: 4, after: stillReady}, most: 4 + polls},
	{name: "asked to wait for years", steps: []string{"authorization poll", "order poll", "finalize", "certificate poll"}, fault: fault{times: 1, after: inYears}, most: 2 + polls},
	{name: "a page of HTML", steps: []string{"directory", "newOrder", "authorization", "authorization poll", "order poll", "finalize", "certificate poll", "certificate"},
		fault: fault{before: page(200)}, most: 1, fails: " ", at: map[string]string{
			"directory": "no ACME directory", "newOrder": "is not an order", "authorization": "is not one", "authorization poll": "is not one",
			"order poll": "is not an order", "finalize": "is not an order", "certificate poll": "is not an order", "certificate": "no certificate in PEM",
		}},
}

// polls is how often a step may be asked for while the CA is still working; Pebble
// needs milliseconds, and on a busy machine more.
const polls = 12

func TestTrouble(t *testing.T) {
	ca := startCA(t, testca.Options{AlwaysValid: true})
	key := p256(t)
	request := csr(t, key, "a.test")
	for _, h2 := range []bool{false, true} {
		for _, tt := range troubles {
			for _, step := range tt.steps {
				t.Run(fmt.Sprintf("%s/%s/h2=%v", tt.name, step, h2), func(t *testing.T) {
					t.Parallel()
					p := newProxy(t, ca, h2, step, tt.fault)
					err := get(t, p, tt.patience, request)
					tt.judge(t, p, step, err)
				})
			}
		}
	}
}

// judge compares what came out with what is expected, whatever that is: no second
// account, and no second CSR.
func (tt trouble) judge(t *testing.T, p *proxy, step string, err error) {
	t.Helper()
	fails := tt.fails
	if at := tt.at[step]; at != "" {
		fails = strings.TrimPrefix(at, "-")
	}
	arrived, _ := p.counts(step)
	_, accounts := p.counts("created")
	_, finalized := p.counts("finalize")
	switch {
	case fails == "" && err != nil:
		t.Errorf("failed: %v", err)
	case fails == "" && (accounts != 1 || finalized != 1):
		t.Errorf("%d accounts, %d certificates", accounts, finalized)
	case fails != "" && (err == nil || !strings.Contains(err.Error(), fails)):
		t.Errorf("error %v, want %q in it", err, fails)
	case accounts > 1 || finalized > 1:
		t.Errorf("%d accounts, %d certificates", accounts, finalized)
	}
	if err != nil && len(err.Error()) > 1500 {
		t.Errorf("an error of %d bytes: %.300v…", len(err.Error()), err)
	}
	most := tt.most
	if m, ok := tt.mosts[step]; ok {
		most = m
	}
	if arrived > most || arrived == 0 {
		t.Errorf("%d requests, at most %d are due", arrived, most)
	}
}

// get goes all the way to a certificate.
func get(t *testing.T, p *proxy, patience time.Duration, request []byte) error {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	client, err := acmeclient.New(acmeclient.Options{
		Server: p.URL + "/dir", Roots: roots, RequestTimeout: patience, Pause: quick(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	account := p256(t)
	url, _, err := client.Register(ctx, acmeclient.Registration{Key: account, TermsAgreed: true})
	if err != nil {
		return err
	}
	client.SetAccount(account, url)
	o, err := client.NewOrder(ctx, dnsNames("a.test"))
	if err != nil {
		return err
	}
	if err := proven(ctx, client, o.Authorizations[0]); err != nil {
		return err
	}
	if o, err = client.PollOrder(ctx, o.URL, model.StatusReady); err != nil {
		return err
	}
	if o, err = client.Finalize(ctx, o, request); err != nil {
		return err
	}
	// Even when it is valid already: this step is to be in trouble too.
	if o, err = client.PollOrder(ctx, o.URL); err != nil {
		return err
	}
	if o.Status != model.StatusValid {
		return fmt.Errorf("the order is %s", o.Status)
	}
	chain, err := client.Certificate(ctx, o.Certificate)
	if err != nil {
		return err
	}
	leaf := leafOf(t, chain)
	return leaf.VerifyHostname("a.test")
}

func proven(ctx context.Context, client *acmeclient.Client, url string) error {
	z, err := client.Authorization(ctx, url)
	if err != nil || z.Status == model.StatusValid {
		return err
	}
	i := slices.IndexFunc(z.Challenges, func(c model.ACMEChallenge) bool { return c.Type == "dns-01" })
	if i < 0 {
		return errors.New("no dns-01")
	}
	if _, err := client.DNS01Value(z.Challenges[i].Token); err != nil {
		return err
	}
	if err := client.Accept(ctx, z.Challenges[i].URL); err != nil {
		return err
	}
	if z, err = client.PollAuthorization(ctx, url); err == nil && z.Status != model.StatusValid {
		err = fmt.Errorf("the authorization is %s", z.Status)
	}
	return err
}

// quick is a pause that lasts a moment and counts as long as it was to be: what
// would end after its deadline ends with it.
func quick() func(context.Context, time.Duration) error {
	var mu sync.Mutex
	var spent time.Duration
	return func(ctx context.Context, d time.Duration) error {
		mu.Lock()
		spent += d
		all := spent
		mu.Unlock()
		if deadline, ok := ctx.Deadline(); ok && time.Now().Add(all).After(deadline) {
			return context.DeadlineExceeded
		}
		timer := time.NewTimer(min(d, 2*time.Millisecond))
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// What can go wrong.

func badNonce(p *proxy, w http.ResponseWriter, _ *http.Request) bool {
	return p.refuse(w, http.StatusBadRequest, "badNonce", "")
}

func refused(status int, kind, retryAfter string) func(*proxy, http.ResponseWriter, *http.Request) bool {
	return func(p *proxy, w http.ResponseWriter, _ *http.Request) bool {
		return p.refuse(w, status, kind, retryAfter)
	}
}

func page(status int) func(*proxy, http.ResponseWriter, *http.Request) bool {
	return func(_ *proxy, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Location", "/my-order/x")
		w.WriteHeader(status)
		fmt.Fprint(w, "<html>"+strings.Repeat("trouble ", 500))
		return true
	}
}

func cutBefore(p *proxy, _ http.ResponseWriter, r *http.Request) bool {
	p.cut(r)
	return true
}

func cutAfter(p *proxy, _ http.ResponseWriter, r *http.Request) bool {
	p.heard(r)
	p.cut(r)
	return true
}

func cutWithin(p *proxy, w http.ResponseWriter, r *http.Request) bool {
	a := p.heard(r)
	a.send(w, func(b []byte) {
		_, _ = w.Write(b[:len(b)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	return true
}

func stops(p *proxy, w http.ResponseWriter, r *http.Request) bool {
	a := p.heard(r)
	a.send(w, func(b []byte) {
		_, _ = w.Write(b[:1])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	return true
}

func drops(p *proxy, w http.ResponseWriter, r *http.Request) bool {
	a := p.heard(r)
	a.send(w, func(b []byte) {
		for drop := range slices.Chunk(b, max(1, len(b)/30)) {
			_, _ = w.Write(drop)
			_ = http.NewResponseController(w).Flush()
		}
	})
	return true
}

func huge(_ *proxy, w http.ResponseWriter, _ *http.Request) bool {
	_, _ = w.Write(bytes.Repeat([]byte(`{"status":"valid"} `), 100_000))
	return true
}

func withoutNonce(_ *proxy, a *http.Response, body []byte) []byte {
	a.Header.Del("Replay-Nonce")
	return body
}

func status200(_ *proxy, a *http.Response, body []byte) []byte {
	if a.StatusCode == http.StatusCreated {
		a.StatusCode, a.Status = http.StatusOK, "200 OK"
	}
	return body
}

func inYears(_ *proxy, a *http.Response, body []byte) []byte {
	a.Header.Set("Retry-After", strconv.Itoa(99999999999))
	return body
}

// changed is an answer with other fields.
func changed(body []byte, change func(map[string]any)) []byte {
	var all map[string]any
	if json.Unmarshal(body, &all) != nil {
		return body
	}
	change(all)
	out, err := json.Marshal(all)
	if err != nil {
		return body
	}
	return out
}

func unknownFields(_ *proxy, _ *http.Response, body []byte) []byte {
	return changed(body, func(all map[string]any) {
		all["surprise"] = map[string]any{"status": "invalid", "list": []any{1, nil, "x"}}
		all["Expires2"] = nil
	})
}

func unknownChallenges(_ *proxy, _ *http.Response, body []byte) []byte {
	return changed(body, func(all map[string]any) {
		known, _ := all["challenges"].([]any)
		strange := []any{
			map[string]any{"type": "quantum-01", "url": "https://ca.test/q", "status": "pending"},
			map[string]any{"type": "dns-02", "photons": 7},
			"no object",
		}
		all["challenges"] = append(strange, known...)
	})
}

func stillReady(_ *proxy, _ *http.Response, body []byte) []byte {
	return changed(body, func(all map[string]any) {
		all["status"] = model.StatusReady
		delete(all, "certificate")
	})
}
