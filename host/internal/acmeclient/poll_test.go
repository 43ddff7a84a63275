package acmeclient_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/host/internal/acmeclient"
	"github.com/certwright/certwright/host/internal/model"
)

const ms = time.Millisecond

func order(status string) string {
	return `{"status":"` + status + `","finalize":"$/finalize","certificate":"$/cert"}`
}

func TestPaceOfPolling(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return "Retry-After: " + now.Add(d).Format(http.TimeFormat) }
	for name, tt := range map[string]struct {
		headers []string
		want    []time.Duration
	}{
		"ours": {nil, []time.Duration{
			10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, 1280 * ms, 2560 * ms, 5 * time.Second, 5 * time.Second, 5 * time.Second,
		}},
		"seconds":     {[]string{"Retry-After: 2"}, []time.Duration{2 * time.Second, 2 * time.Second}},
		"date":        {[]string{at(7 * time.Second)}, []time.Duration{7 * time.Second, 7 * time.Second}},
		"past date":   {[]string{at(-time.Hour)}, []time.Duration{10 * ms, 20 * ms, 40 * ms}},
		"zero":        {[]string{"Retry-After: 0"}, []time.Duration{10 * ms, 20 * ms, 40 * ms}},
		"absurd":      {[]string{"Retry-After: 99999999999999999999"}, []time.Duration{time.Minute, time.Minute}},
		"absurd date": {[]string{at(1000 * time.Hour)}, []time.Duration{time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			var script []http.HandlerFunc
			for range tt.want {
				script = append(script, f.says(http.StatusOK, order("processing"), tt.headers...))
			}
			f.on("/order", inTurn(append(script, f.says(http.StatusOK, order("valid")))...))
			client := f.client(func(o *acmeclient.Options) { o.Now = func() time.Time { return now } })
			o, err := client.PollOrder(t.Context(), f.URL+"/order")
			if err != nil || o.Status != model.StatusValid || o.Certificate != f.URL+"/cert" {
				t.Fatalf("order %+v, %v", o, err)
			}
			if diff := cmp.Diff(tt.want, f.paused()); diff != "" {
				t.Errorf("pauses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPollingIsAskedToSlowDown(t *testing.T) {
	f := newFake(t)
	f.on("/order", inTurn(
		f.refuses(http.StatusTooManyRequests, "rateLimited", "Retry-After: 30"),
		f.refuses(http.StatusTooManyRequests, "rateLimited"),
		f.says(http.StatusOK, order("valid"))))
	if _, err := f.client().PollOrder(t.Context(), f.URL+"/order"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]time.Duration{30 * time.Second, 10 * time.Second}, f.paused()); diff != "" {
		t.Errorf("pauses (-want +got):\n%s", diff)
	}
	f.on("/order", f.refuses(http.StatusTooManyRequests, "rateLimited", "Retry-After: 3600"))
	_, err := f.client().PollOrder(t.Context(), f.URL+"/order")
	if got := wantRefusal(t, err, http.StatusTooManyRequests, "rateLimited").RetryAfter; got != time.Hour {
		t.Errorf("RetryAfter %v", got)
	}
	before := f.count("/order")
	f.on("/order", f.refuses(http.StatusTooManyRequests, "rateLimited"))
	_, err = f.client().PollOrder(t.Context(), f.URL+"/order")
	wantRefusal(t, err, http.StatusTooManyRequests, "rateLimited")
	if got := f.count("/order") - before; got != 5 {
		t.Errorf("asked %d times", got)
	}
}

// What the CA says of the time that it needs is asked of the answer to finalize
// already; without that, a moment passes before the first question.
func TestFirstQuestionAfterFinalize(t *testing.T) {
	for name, tt := range map[string]struct {
		headers []string
		want    []time.Duration
	}{
		"ours": {nil, []time.Duration{5 * ms, 10 * ms}},
		"told": {[]string{"Retry-After: 3"}, []time.Duration{3 * time.Second, 10 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.on("/finalize", f.says(http.StatusOK, order("processing"), tt.headers...))
			f.on("/order", inTurn(f.says(http.StatusOK, order("processing")), f.says(http.StatusOK, order("valid"))))
			client := f.client()
			o, err := client.Finalize(t.Context(), f.order(model.StatusReady), []byte("a CSR"))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := client.PollOrder(t.Context(), o.URL); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tt.want, f.paused()); diff != "" {
				t.Errorf("pauses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatEndsPollingAnOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		statuses []string
		until    []string
		want     string
	}{
		"valid by default":           {[]string{"pending", "ready", "processing", "valid"}, nil, "valid"},
		"ready when asked for":       {[]string{"pending", "ready", "valid"}, []string{"ready", "valid"}, "ready"},
		"valid when ready is over":   {[]string{"pending", "valid"}, []string{"ready"}, "valid"},
		"invalid always":             {[]string{"pending", "invalid"}, []string{"ready"}, "invalid"},
		"still ready when finalized": {[]string{"ready", "ready", "valid"}, []string{"valid"}, "valid"},
		"a status of its own":        {[]string{"processing", "canceled"}, nil, "canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			var script []http.HandlerFunc
			for _, status := range tt.statuses {
				script = append(script, f.says(http.StatusOK, order(status)))
			}
			f.on("/order", inTurn(script...))
			o, err := f.client().PollOrder(t.Context(), f.URL+"/order", tt.until...)
			if err != nil || o.Status != tt.want {
				t.Errorf("%q, %v; want %q", o.Status, err, tt.want)
			}
		})
	}
}

func TestWhatEndsPollingAnAuthorization(t *testing.T) {
	for _, status := range []string{"valid", "invalid", "deactivated", "expired", "revoked"} {
		t.Run(status, func(t *testing.T) {
			f := newFake(t)
			authz := func(status string) http.HandlerFunc {
				return f.says(http.StatusOK, `{"status":"`+status+`","identifier":{"type":"dns","value":"a.test"},"challenges":[]}`)
			}
			f.on("/authz", inTurn(authz("pending"), authz("processing"), authz(status), authz("pending")))
			z, err := f.client().PollAuthorization(t.Context(), f.URL+"/authz")
			if err != nil || z.Status != status || f.count("/authz") != 3 {
				t.Errorf("%q after %d requests, %v", z.Status, f.count("/authz"), err)
			}
		})
	}
}

func TestPollingEndsWithItsContext(t *testing.T) {
	f := newFake(t)
	f.on("/order", f.says(http.StatusOK, order("processing")))
	ctx, cancel := context.WithCancel(t.Context())
	client := f.client(func(o *acmeclient.Options) {
		o.Pause = func(ctx context.Context, _ time.Duration) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
	})
	o, err := client.PollOrder(ctx, f.URL+"/order")
	if !errors.Is(err, context.Canceled) || o.Status != model.StatusProcessing {
		t.Errorf("order %+v, %v", o, err)
	}
	if want := "waiting until the order " + f.URL + "/order is valid, it is processing: context canceled"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestFinalize(t *testing.T) {
	for name, tt := range map[string]struct {
		finalize func(*fake) http.HandlerFunc
		order    func(*fake) http.HandlerFunc
		status   string
		sent     int
		refusal  string
	}{
		"processing": {
			func(f *fake) http.HandlerFunc { return f.says(http.StatusOK, order("processing")) },
			nil, "processing", 1, "",
		},
		"still ready": {
			func(f *fake) http.HandlerFunc { return f.says(http.StatusOK, order("ready")) },
			nil, "ready", 1, "",
		},
		"the answer is lost, the CSR is not": {
			func(*fake) http.HandlerFunc { return hangUp },
			func(f *fake) http.HandlerFunc { return f.says(http.StatusOK, order("processing")) },
			"processing", 1, "",
		},
		"the CSR is lost": {
			func(f *fake) http.HandlerFunc { return inTurn(hangUp, f.says(http.StatusOK, order("valid"))) },
			func(f *fake) http.HandlerFunc { return f.says(http.StatusOK, order("ready")) },
			"valid", 2, "",
		},
		"a gateway fails, the CSR arrives late": {
			func(f *fake) http.HandlerFunc {
				return inTurn(f.says(http.StatusGatewayTimeout, ""), f.refuses(http.StatusForbidden, "orderNotReady"))
			},
			func(f *fake) http.HandlerFunc {
				return inTurn(f.says(http.StatusOK, order("ready")), f.says(http.StatusOK, order("processing")))
			},
			"processing", 2, "",
		},
		"refused": {
			func(f *fake) http.HandlerFunc { return f.refuses(http.StatusBadRequest, "badCSR") },
			nil, "", 1, "badCSR",
		},
		"never ready": {
			func(f *fake) http.HandlerFunc { return f.refuses(http.StatusForbidden, "orderNotReady") },
			nil, "", 1, "orderNotReady",
		},
		"down": {
			func(f *fake) http.HandlerFunc { return f.refuses(http.StatusServiceUnavailable, "serverInternal") },
			func(f *fake) http.HandlerFunc { return f.says(http.StatusOK, order("ready")) },
			"", 5, "serverInternal",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.on("/finalize", tt.finalize(f))
			if tt.order != nil {
				f.on("/order", tt.order(f))
			}
			o, err := f.client().Finalize(t.Context(), f.order(model.StatusReady), []byte("a CSR"))
			if tt.refusal != "" {
				var refused *model.ACMEError
				if !errors.As(err, &refused) || refused.Short() != tt.refusal {
					t.Errorf("error: %v", err)
				}
			} else if err != nil || o.Status != tt.status || o.URL != f.URL+"/order" {
				t.Errorf("order %+v, %v", o, err)
			}
			sent := f.posted("/finalize")
			if len(sent) != tt.sent || sent[0] != `{"csr":"YSBDU1I"}` {
				t.Errorf("sent %q, want %d times", sent, tt.sent)
			}
		})
	}
}

func TestAccept(t *testing.T) {
	f := newFake(t)
	client := f.client()
	f.on("/challenge", inTurn(hangUp, f.refuses(http.StatusBadRequest, "malformed"), f.says(http.StatusOK, `{"status":"processing"}`)))
	if err := client.Accept(t.Context(), f.URL+"/challenge"); err != nil {
		t.Errorf("the CA had begun already: %v", err)
	}
	if diff := cmp.Diff([]string{"{}", "{}", ""}, f.posted("/challenge")); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	f.on("/challenge", inTurn(f.refuses(http.StatusBadRequest, "malformed"), f.says(http.StatusOK, `{"status":"pending"}`)))
	wantRefusal(t, client.Accept(t.Context(), f.URL+"/challenge"), http.StatusBadRequest, "malformed")
}
