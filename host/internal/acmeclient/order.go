package acmeclient

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/host/internal/model"
)

// wireOrder is RFC 8555 section 7.1.3.
type wireOrder struct {
	Status         string           `json:"status"`
	Expires        lenientTime      `json:"expires"`
	Identifiers    []wireIdentifier `json:"identifiers"`
	Authorizations []string         `json:"authorizations"`
	Finalize       string           `json:"finalize"`
	Certificate    string           `json:"certificate"`
	Error          *wireProblem     `json:"error"`
}

// OrderRequest is an order that is wanted. Only Identifiers are needed.
type OrderRequest struct {
	Identifiers []model.Identifier
	// NotBefore and NotAfter of the certificate; most CAs refuse to be told.
	NotBefore, NotAfter time.Time
	// Profile is one that the directory offers. Another is refused without
	// asking the CA, by an invalidProfile as the CA's own would be.
	Profile string
	// Replaces is the CertID of the certificate that this order renews (RFC
	// 9773 section 5). A CA that has renewed that already refuses the order with
	// alreadyReplaced; it takes the same without Replaces then. Nothing is sent to
	// a CA without renewal information, as section 5 demands.
	Replaces string
}

// NewOrder asks for a certificate for these identifiers (RFC 8555 section 7.4).
func (c *Client) NewOrder(ctx context.Context, ids []model.Identifier) (model.Order, error) {
	return c.NewOrderWith(ctx, OrderRequest{Identifiers: ids})
}

// NewOrderWith is NewOrder for an order with wishes.
func (c *Client) NewOrderWith(ctx context.Context, r OrderRequest) (model.Order, error) {
	o, err := c.newOrder(ctx, r)
	if err != nil {
		return model.Order{}, fmt.Errorf("ordering a certificate for %s: %w", strings.Join(model.Names(r.Identifiers), ", "), err)
	}
	return o, nil
}

func (c *Client) newOrder(ctx context.Context, r OrderRequest) (model.Order, error) {
	d, err := c.discover(ctx)
	if err != nil {
		return model.Order{}, err
	}
	if _, offered := d.Meta.Profiles[r.Profile]; r.Profile != "" && !offered {
		return model.Order{}, noProfile(d, r.Profile)
	}
	payload, err := newOrderPayload(d, r)
	if err != nil {
		return model.Order{}, err
	}
	// A second order by mistake is harmless: it is never finalized, and many CAs
	// give the first one again. A limit on new orders is the caller's to wait
	// for: it may be days.
	a, err := c.post(ctx, d.NewOrder, payload, afterRefusal|afterLoss)
	if err != nil {
		return model.Order{}, err
	}
	at, err := url.Parse(d.NewOrder)
	if err != nil {
		return model.Order{}, err
	}
	where, err := at.Parse(a.header.Get("Location"))
	if err != nil || a.header.Get("Location") == "" {
		return model.Order{}, errors.New("the CA did not say the order's URL")
	}
	return readOrder(where.String(), a)
}

func newOrderPayload(d *directory, r OrderRequest) ([]byte, error) {
	var request struct {
		Identifiers []wireIdentifier `json:"identifiers"`
		NotBefore   string           `json:"notBefore,omitempty"`
		NotAfter    string           `json:"notAfter,omitempty"`
		Profile     string           `json:"profile,omitempty"`
		Replaces    string           `json:"replaces,omitempty"`
	}
	for _, id := range r.Identifiers {
		request.Identifiers = append(request.Identifiers, wireIdentifier{id.Type, id.String()})
	}
	if !r.NotBefore.IsZero() {
		request.NotBefore = r.NotBefore.UTC().Format(time.RFC3339)
	}
	if !r.NotAfter.IsZero() {
		request.NotAfter = r.NotAfter.UTC().Format(time.RFC3339)
	}
	request.Profile = r.Profile
	if d.RenewalInfo != "" {
		request.Replaces = r.Replaces
	}
	return json.Marshal(request)
}

// noProfile is what the CA would say.
func noProfile(d *directory, profile string) error {
	offers := "none"
	if len(d.Meta.Profiles) > 0 {
		offers = strings.Join(slices.Sorted(maps.Keys(d.Meta.Profiles)), ", ")
	}
	return &model.ACMEError{
		Type: "urn:ietf:params:acme:error:invalidProfile", Status: http.StatusBadRequest,
		Detail: fmt.Sprintf("the CA does not offer the profile %q; it has: %s", profile, oneLine(offers)),
		Method: http.MethodPost, URL: d.NewOrder,
	}
}

// Order reads an order.
func (c *Client) Order(ctx context.Context, url string) (model.Order, error) {
	o, _, err := c.order(ctx, url)
	return o, err
}

func (c *Client) order(ctx context.Context, url string) (model.Order, http.Header, error) {
	a, err := c.read(ctx, url)
	if err != nil {
		return model.Order{}, nil, fmt.Errorf("reading the order %s: %w", url, err)
	}
	o, err := readOrder(url, a)
	return o, a.header, err
}

// PollOrder reads an order until it has one of the statuses (none given: valid),
// or one that leads to nothing else, such as invalid: the caller MUST look at it.
func (c *Client) PollOrder(ctx context.Context, url string, until ...string) (model.Order, error) {
	if len(until) == 0 {
		until = []string{model.StatusValid}
	}
	var last model.Order
	err := c.poll(ctx, c.due(url), func() (bool, http.Header, error) {
		o, header, err := c.order(ctx, url)
		if err != nil {
			return false, header, err
		}
		last = o
		switch o.Status {
		case model.StatusPending, model.StatusReady, model.StatusProcessing:
			return slices.Contains(until, o.Status), header, nil
		default:
			return true, header, nil
		}
	})
	if err != nil {
		return last, waited("the order "+url, strings.Join(until, " or "), last.Status, err)
	}
	return last, nil
}

// Finalize sends the CSR (RFC 8555 section 7.4) and gives the order as the CA
// shows it then: processing, valid, or even still ready. A CSR is never sent
// again before the order says that the first one did not arrive.
func (c *Client) Finalize(ctx context.Context, o model.Order, csrDER []byte) (model.Order, error) {
	payload, err := json.Marshal(map[string]string{"csr": base64.RawURLEncoding.EncodeToString(csrDER)})
	if err != nil {
		return model.Order{}, err
	}
	for try := 1; ; try++ {
		a, err := c.post(ctx, o.Finalize, payload, afterLimit)
		if err == nil {
			c.setDue(o.URL, c.waitOf(a.header, pollFirst))
			return readOrder(o.URL, a)
		}
		err = fmt.Errorf("finalizing the order %s: %w", o.URL, err)
		if ctx.Err() != nil || !mayHaveArrived(err, try) {
			return model.Order{}, err
		}
		now, readErr := c.Order(ctx, o.URL)
		if readErr != nil {
			return model.Order{}, errors.Join(err, readErr)
		}
		if now.Status != model.StatusReady && now.Status != model.StatusPending {
			return now, nil
		}
		if try == maxTries || now.Status == model.StatusPending ||
			c.pause(ctx, doubled(retryMin, retryMax, try-1)) != nil {
			return model.Order{}, err
		}
		c.log("finalizing again: %v", err)
	}
}

// mayHaveArrived says whether the order has to be looked at after an error.
func mayHaveArrived(err error, try int) bool {
	var unsent *noNonce
	if errors.As(err, &unsent) {
		return false
	}
	if refused := refusal(err); refused != nil {
		// "Not ready" after a first try that got lost: it did arrive.
		return refused.Status >= http.StatusInternalServerError || try > 1 && refused.Short() == "orderNotReady"
	}
	var lost *noAnswer
	return errors.As(err, &lost) && !untrusted(err)
}

func readOrder(url string, a answer) (model.Order, error) {
	var w wireOrder
	if err := json.Unmarshal(a.body, &w); err != nil || w.Status == "" {
		return model.Order{}, fmt.Errorf("the CA's answer for the order %s is not an order (RFC 8555 section 7.1.3)", url)
	}
	o := model.Order{
		URL: url, Status: w.Status, Expires: w.Expires.Time, Authorizations: w.Authorizations,
		Finalize: w.Finalize, Certificate: w.Certificate, Error: w.Error.model(),
	}
	for _, id := range w.Identifiers {
		o.Identifiers = append(o.Identifiers, id.model())
	}
	return o, nil
}

// waited says what was waited for when the wait ended too early.
func waited(what, until, status string, err error) error {
	if status == "" {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return fmt.Errorf("waiting until %s is %s, it is %s: %w", what, until, status, err)
}
