package acmeclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	neturl "net/url"
	"strings"
	"unicode"

	"golang.org/x/crypto/acme"

	"github.com/certwright/certwright/host/internal/model"
)

// wireProblem is a problem document (RFC 7807, RFC 8555 section 6.7).
type wireProblem struct {
	Type        string `json:"type"`
	Detail      string `json:"detail"`
	Instance    string `json:"instance"`
	Subproblems []struct {
		Type       string          `json:"type"`
		Detail     string          `json:"detail"`
		Identifier *wireIdentifier `json:"identifier"`
	} `json:"subproblems"`
}

func (w *wireProblem) model() *model.ACMEError {
	if w == nil {
		return nil
	}
	e := &model.ACMEError{Type: w.Type, Detail: oneLine(w.Detail)}
	visit(e, w.Instance)
	for _, s := range w.Subproblems {
		sub := model.ACMESubproblem{Type: s.Type, Detail: oneLine(s.Detail)}
		if s.Identifier != nil {
			sub.Identifier = s.Identifier.model()
		}
		e.Subproblems = append(e.Subproblems, sub)
	}
	return e
}

// problem turns an answer that is no success into an error. What is not a
// problem document comes from something in front of the CA.
func (c *Client) problem(method, url string, response *http.Response, body []byte) *model.ACMEError {
	var w wireProblem
	// What can be read of a document with faults is better than nothing.
	_ = json.Unmarshal(body, &w)
	if w.Type == "" && w.Detail == "" {
		w = wireProblem{Detail: notFromCA(url, response.StatusCode)}
	}
	e := w.model()
	e.Status, e.Method, e.URL = response.StatusCode, method, url
	e.RetryAfter, _ = c.told(response.Header)
	return e
}

// visit adds where the user has to go, for changed terms above all (RFC 8555
// section 7.3.3).
func visit(e *model.ACMEError, instance string) {
	if u, err := neturl.Parse(instance); err == nil && e.Short() == "userActionRequired" && u.Scheme == "https" && u.Host != "" {
		e.Detail = strings.TrimSpace(e.Detail + " Visit " + oneLine(u.String()))
	}
}

func notFromCA(url string, status int) string {
	return strings.TrimSpace(fmt.Sprintf("%s answered with no ACME error but %d %s", host(url).Host, status, http.StatusText(status)))
}

// fromXCrypto turns an error of x/crypto into one of ours.
func (c *Client) fromXCrypto(url string, err error) error {
	var refused *acme.Error
	if !errors.As(err, &refused) {
		if errors.Is(err, acme.ErrNoAccount) {
			return &model.ACMEError{
				Type: "urn:ietf:params:acme:error:accountDoesNotExist", Status: http.StatusBadRequest,
				Detail: "the CA has no account with this key", Method: http.MethodPost, URL: url,
			}
		}
		var lost *neturl.Error
		if errors.As(err, &lost) {
			return unreachable(host(url), err)
		}
		return err
	}
	e := &model.ACMEError{
		Type: refused.ProblemType, Detail: oneLine(refused.Detail), Status: refused.StatusCode,
		Method: http.MethodPost, URL: url,
	}
	if e.Type == "" {
		// x/crypto gives the whole page here.
		e.Detail = notFromCA(url, refused.StatusCode)
	}
	visit(e, refused.Instance)
	e.RetryAfter, _ = c.told(refused.Header)
	for _, s := range refused.Subproblems {
		sub := model.ACMESubproblem{Type: s.Type, Detail: oneLine(s.Detail)}
		if s.Identifier != nil {
			sub.Identifier = (&wireIdentifier{Type: s.Identifier.Type, Value: s.Identifier.Value}).model()
		}
		e.Subproblems = append(e.Subproblems, sub)
	}
	return e
}

// oneLine makes text from outside fit for a message: no control characters, and
// no page of HTML.
func oneLine(s string) string {
	const most = 1000
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
