package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/httpapi"
)

// api is what is used of Pritunl's API.
type api struct{ client *httpapi.Client }

// pair is what GET and PUT /settings call server_cert and server_key; nil:
// Pritunl makes a certificate for itself.
type pair struct {
	Cert *string `json:"server_cert"`
	Key  *string `json:"server_key"`
}

// current is what is used of GET /settings.
type current struct {
	pair
	ACMEDomain string `json:"acme_domain"`
}

// limits of a request, zero for those of httpapi: one attempt, and the first pause
// between two.
type limits struct{ attempt, wait time.Duration }

func newAPI(s settings, also func(string) bool, limits limits) (api, error) {
	client, err := httpapi.New(httpapi.Options{
		Endpoint: s.Endpoint, CAFile: s.CAFile, Fingerprint: s.Fingerprint, Also: also, Explain: explain,
		Attempt: limits.attempt, Wait: limits.wait,
		Sign: func(r *http.Request) error {
			nonce := make([]byte, 16) //nolint:mnd // 32 characters, which is the most
			_, _ = rand.Read(nonce)   // never fails
			sign(r, s.APIToken, string(s.APISecret), time.Now(), hex.EncodeToString(nonce))
			return nil
		},
	})
	return api{client}, err
}

// sign puts the credentials on one attempt. A nonce is good for once, so a second
// attempt has another one. Neither the query nor the body is signed.
func sign(r *http.Request, token, secret string, now time.Time, nonce string) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(strings.Join([]string{token, timestamp, nonce, r.Method, r.URL.Path}, "&")))
	r.Header.Set("Auth-Token", token)
	r.Header.Set("Auth-Timestamp", timestamp)
	r.Header.Set("Auth-Nonce", nonce)
	r.Header.Set("Auth-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// paragraph is what Flask's page for a status says in words.
var paragraph = regexp.MustCompile(`(?s)<p>(.*?)</p>`)

func explain(r *httpapi.Response) string {
	var body struct {
		Message string `json:"error_msg"`
	}
	if json.Unmarshal(r.Body, &body) == nil {
		return body.Message
	}
	if found := paragraph.FindSubmatch(r.Body); found != nil {
		return html.UnescapeString(string(found[1]))
	}
	return "" // what there is is shown as it is
}

func (a api) get(ctx context.Context) (current, error) {
	var out current
	err := a.client.JSON(ctx, http.MethodGet, "settings", nil, &out)
	return out, hint(err)
}

// put sends nothing but the pair: fields that are not sent stay as they are. The
// documentation wants all fields of a GET sent back; but there, email_password
// is only true or false, and a PUT would make that the password.
func (a api) put(ctx context.Context, p pair) error {
	return hint(a.client.JSON(ctx, http.MethodPut, "settings", p, nil))
}

func hint(err error) error {
	if httpapi.Status(err) == http.StatusUnauthorized {
		return sdk.Hint(err, "check api_token and api_secret, that API access is enabled for the administrator (it needs an enterprise subscription), and that the clocks here and there agree")
	}
	return err
}
