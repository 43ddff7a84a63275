package acmeclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/certwright/certwright/host/internal/model"
)

// wireAuthorization is RFC 8555 section 7.1.4.
type wireAuthorization struct {
	Status       string            `json:"status"`
	Expires      lenientTime       `json:"expires"`
	Identifier   wireIdentifier    `json:"identifier"`
	Wildcard     bool              `json:"wildcard"`
	Challenges   []json.RawMessage `json:"challenges"`
	Combinations json.RawMessage   `json:"combinations"`
}

// Authorization reads an authorization. Challenges of any type are given, whether
// or not we know what they are, at the place where the CA lists them.
func (c *Client) Authorization(ctx context.Context, url string) (model.Authorization, error) {
	z, _, err := c.authorization(ctx, url)
	return z, err
}

func (c *Client) authorization(ctx context.Context, url string) (model.Authorization, http.Header, error) {
	a, err := c.read(ctx, url)
	if err != nil {
		return model.Authorization{}, nil, fmt.Errorf("reading the authorization %s: %w", url, err)
	}
	z, err := readAuthorization(url, a.body)
	return z, a.header, err
}

// PollAuthorization reads an authorization until it is no longer pending: valid,
// invalid, deactivated, expired or revoked. The caller MUST look which it is. It
// is meant to follow Accept.
func (c *Client) PollAuthorization(ctx context.Context, url string) (model.Authorization, error) {
	var last model.Authorization
	err := c.poll(ctx, pollFirst, func() (bool, http.Header, error) {
		z, header, err := c.authorization(ctx, url)
		if err != nil {
			return false, header, err
		}
		last = z
		return z.Status != model.StatusPending && z.Status != model.StatusProcessing, header, nil
	})
	if err != nil {
		return last, waited("the authorization "+url, model.StatusValid, last.Status, err)
	}
	return last, nil
}

// Accept tells the CA to look at a challenge (RFC 8555 section 7.5.1). A challenge
// that the CA is looking at already, or has looked at, is accepted.
func (c *Client) Accept(ctx context.Context, challengeURL string) error {
	_, err := c.post(ctx, challengeURL, []byte("{}"), always)
	if refused := refusal(err); refused != nil && refused.Status < http.StatusInternalServerError &&
		!rateLimited(err) && refused.Short() != "badNonce" && c.begun(ctx, challengeURL) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking the CA to validate the challenge %s: %w", challengeURL, err)
	}
	return nil
}

// begun says whether a challenge is no longer pending.
func (c *Client) begun(ctx context.Context, challengeURL string) bool {
	a, err := c.read(ctx, challengeURL)
	if err != nil {
		return false
	}
	switch readChallenge(a.body).Status {
	case model.StatusProcessing, model.StatusValid, model.StatusInvalid:
		return true
	default:
		return false
	}
}

// DeactivateAuthorization gives an authorization up (RFC 8555 section 7.5.2).
func (c *Client) DeactivateAuthorization(ctx context.Context, url string) error {
	// x/crypto sends fields of ACMEv1 along here, which strict CAs refuse.
	if _, err := c.post(ctx, url, []byte(`{"status":"deactivated"}`), afterRefusal); err != nil {
		return fmt.Errorf("deactivating the authorization %s: %w", url, err)
	}
	return nil
}

func readAuthorization(url string, body []byte) (model.Authorization, error) {
	var w wireAuthorization
	if err := json.Unmarshal(body, &w); err != nil || w.Status == "" || w.Identifier.Value == "" {
		return model.Authorization{}, fmt.Errorf("the CA's answer for the authorization %s is not one (RFC 8555 section 7.1.4)", url)
	}
	z := model.Authorization{URL: url, Status: w.Status, Identifier: w.Identifier.model(), Expires: w.Expires.Time}
	z.Identifier.Wildcard = z.Identifier.Wildcard || w.Wildcard
	for _, raw := range w.Challenges {
		z.Challenges = append(z.Challenges, readChallenge(raw))
	}
	z.Combinations = readCombinations(w.Combinations, len(z.Challenges))
	return z, nil
}

// readChallenge takes what it understands, field by field: a type that we do not
// know may use the same names for other things.
func readChallenge(raw []byte) model.ACMEChallenge {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields)
	text := func(name string) (s string) {
		_ = json.Unmarshal(fields[name], &s)
		return s
	}
	challenge := model.ACMEChallenge{
		Type: text("type"), URL: text("url"), Status: text("status"), Token: text("token"),
		RawJSON: append([]byte(nil), raw...),
	}
	var problem *wireProblem
	if json.Unmarshal(fields["error"], &problem) == nil {
		challenge.Error = problem.model()
	}
	return challenge
}

// readCombinations takes only combinations of challenges that are there. None
// usable is the same as none sent.
func readCombinations(raw json.RawMessage, challenges int) [][]int {
	var all, out [][]int
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	for _, combination := range all {
		usable := len(combination) > 0
		for _, i := range combination {
			usable = usable && i >= 0 && i < challenges
		}
		if usable {
			out = append(out, combination)
		}
	}
	return out
}
