package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// account is a caller that the fake knows.
type account struct {
	id, key, secret string
	// token must come with the request, if there is one; expired: it has ended.
	token   string
	expired bool
	// denied actions, as in "s3:PutObject".
	denied map[string]bool
}

// signed is what a valid signature says.
type signed struct {
	*account
	region, service string
}

// refusal is an answer with an error code.
type refusal struct {
	status        int
	code, message string
}

func (e *refusal) Error() string { return e.code + ": " + e.message }

// verify checks a request's signature from the words of the documentation ("AWS
// Signature Version 4 for API requests", "Create a signed AWS API request"), with
// nothing of the SDK.
func verify(r *http.Request, body []byte, accounts []*account, now time.Time) (signed, *refusal) {
	refuse := func(code, format string, args ...any) (signed, *refusal) {
		return signed{}, &refusal{http.StatusForbidden, code, fmt.Sprintf(format, args...)}
	}
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return refuse("MissingAuthenticationToken", "Missing Authentication Token")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if len(scope) != 5 || scope[4] != "aws4_request" {
		return refuse("IncompleteSignature", "the credential is %q", fields["Credential"])
	}
	at := slices.IndexFunc(accounts, func(a *account) bool { return a.key == scope[0] })
	if at < 0 {
		return refuse("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	}
	who := accounts[at]
	date := r.Header.Get("X-Amz-Date")
	when, err := time.Parse("20060102T150405Z", date)
	if err != nil || !strings.HasPrefix(date, scope[1]) {
		return refuse("IncompleteSignature", "the date is %q", date)
	}
	if d := now.Sub(when); d > 15*time.Minute || d < -15*time.Minute {
		return refuse("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	}
	names := strings.Split(fields["SignedHeaders"], ";")
	if !slices.IsSorted(names) || !slices.Contains(names, "host") {
		return refuse("IncompleteSignature", "the signed headers are %q", names)
	}
	for name := range r.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-amz-") && !slices.Contains(names, lower) {
			return refuse("SignatureDoesNotMatch", "%s is not signed", lower)
		}
	}
	hash := sha256.Sum256(body)
	payload := hex.EncodeToString(hash[:])
	if scope[3] == "s3" {
		told := r.Header.Get("X-Amz-Content-Sha256")
		if told == "UNSIGNED-PAYLOAD" && r.URL.Scheme == "https" { // TLS covers it
			payload = told
		}
		if told != payload {
			return signed{}, &refusal{http.StatusBadRequest, "XAmzContentSHA256Mismatch", "told " + told + ", got " + payload}
		}
	}
	var canonical strings.Builder
	line := func(s string) { canonical.WriteString(s + "\n") }
	line(r.Method)
	line(canonicalPath(r, scope[3] == "s3"))
	line(canonicalQuery(r.URL.RawQuery))
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		line(name + ":" + strings.Join(strings.Fields(value), " "))
	}
	line("")
	line(fields["SignedHeaders"])
	canonical.WriteString(payload)
	sum := sha256.Sum256([]byte(canonical.String()))
	toSign := "AWS4-HMAC-SHA256\n" + date + "\n" + strings.Join(scope[1:], "/") + "\n" + hex.EncodeToString(sum[:])
	key := []byte("AWS4" + who.secret)
	for _, part := range scope[1:] {
		key = mac(key, part)
	}
	if want := hex.EncodeToString(mac(key, toSign)); !hmac.Equal([]byte(want), []byte(fields["Signature"])) {
		return refuse("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	}
	token := r.Header.Get("X-Amz-Security-Token")
	switch {
	case token != who.token:
		return refuse("InvalidClientTokenId", "The security token included in the request is invalid.")
	case who.expired:
		return refuse("ExpiredToken", "The provided token has expired.")
	}
	return signed{who, scope[2], scope[3]}, nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, text)
	return h.Sum(nil)
}

// canonicalPath: each segment is encoded once for S3, twice for all others.
func canonicalPath(r *http.Request, once bool) string {
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	if once {
		return path
	}
	var out bytes.Buffer
	for i, segment := range strings.Split(path, "/") {
		if i > 0 {
			out.WriteByte('/')
		}
		out.WriteString(encode(segment))
	}
	return out.String()
}

func canonicalQuery(raw string) string {
	values, _ := url.ParseQuery(raw)
	var out []string
	for name, all := range values {
		for _, v := range all {
			out = append(out, encode(name)+"="+encode(v))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "&")
}

func encode(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
