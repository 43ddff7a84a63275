package acmeclient

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ErrNoRenewalInfo says that the CA has no renewal information to give.
var ErrNoRenewalInfo = errors.New("the CA offers no renewal information (RFC 9773)")

// How long an answer about a renewal holds (RFC 9773 section 4.3.2).
const (
	renewalInfoLeast   = time.Minute
	renewalInfoMost    = 24 * time.Hour
	renewalInfoDefault = 6 * time.Hour
)

// RenewalInfo is when the CA wants a certificate to be renewed (RFC 9773 section
// 4.2): at some instant between Start and End, or at once if that is over.
type RenewalInfo struct {
	Start, End time.Time
	// Explanation is the URL of a page for people; mostly empty.
	Explanation string
	// RetryAfter is how long not to ask again: a minute to a day.
	RetryAfter time.Duration
}

// RenewalInfo asks when to renew the certificate with this CertID. It needs no
// account. The error is ErrNoRenewalInfo if the CA does not have that at all. One
// with a *model.ACMEError in it may say when to ask again; nobody should ask
// sooner than six hours after any other (RFC 9773 section 4.3.3).
func (c *Client) RenewalInfo(ctx context.Context, certID string) (RenewalInfo, error) {
	d, err := c.discover(ctx)
	if err != nil {
		return RenewalInfo{}, err
	}
	if d.RenewalInfo == "" {
		return RenewalInfo{}, ErrNoRenewalInfo
	}
	const attempt = "asking when to renew the certificate %s: %w"
	if err := checkCertID(certID); err != nil {
		return RenewalInfo{}, fmt.Errorf(attempt, certID, err)
	}
	a, err := c.get(ctx, strings.TrimSuffix(d.RenewalInfo, "/")+"/"+certID)
	if err != nil {
		return RenewalInfo{}, fmt.Errorf(attempt, certID, err)
	}
	info, err := readRenewalInfo(a.body)
	if err != nil {
		return RenewalInfo{}, fmt.Errorf(attempt, certID, err)
	}
	info.RetryAfter = c.renewalRetry(a.header)
	return info, nil
}

func (c *Client) renewalRetry(h http.Header) time.Duration {
	d, ok := c.told(h)
	if !ok {
		return renewalInfoDefault
	}
	return min(max(d, renewalInfoLeast), renewalInfoMost)
}

func readRenewalInfo(body []byte) (RenewalInfo, error) {
	var w struct {
		Window struct {
			Start time.Time `json:"start"`
			End   time.Time `json:"end"`
		} `json:"suggestedWindow"`
		Explanation string `json:"explanationURL"`
	}
	if err := json.Unmarshal(body, &w); err != nil || w.Window.Start.IsZero() || w.Window.End.IsZero() {
		return RenewalInfo{}, errors.New("the CA's answer has no suggested window (RFC 9773 section 4.2)")
	}
	info := RenewalInfo{Start: w.Window.Start, End: w.Window.End}
	if !info.End.After(info.Start) {
		return RenewalInfo{}, fmt.Errorf("the window that the CA suggests ends at %s, not after its start at %s",
			info.End.Format(time.RFC3339), info.Start.Format(time.RFC3339))
	}
	// It is shown to people, who may follow it.
	if u, err := url.Parse(w.Explanation); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		info.Explanation = oneLine(u.String())
	}
	return info, nil
}

// CertID names a certificate to its CA (RFC 9773 section 4.1): the key identifier
// of its issuer and its serial number, each in base64url, with a dot between.
func CertID(leaf *x509.Certificate) (string, error) {
	if len(leaf.AuthorityKeyId) == 0 {
		return "", errors.New("the certificate does not name its issuer's key, so that its CA cannot be asked about it (RFC 9773 section 4.1)")
	}
	serial, err := derSerial(leaf.RawTBSCertificate)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(leaf.AuthorityKeyId) + "." + base64.RawURLEncoding.EncodeToString(serial), nil
}

// derSerial takes the serial number out of a certificate's signed part (RFC 5280
// section 4.1): the very bytes, with the zero that keeps a number positive.
func derSerial(tbs []byte) ([]byte, error) {
	var head struct {
		Raw     asn1.RawContent
		Version int `asn1:"optional,explicit,default:0,tag:0"`
		Serial  asn1.RawValue
	}
	if _, err := asn1.Unmarshal(tbs, &head); err != nil {
		return nil, fmt.Errorf("reading the certificate's serial number: %w", err)
	}
	s := head.Serial
	if s.Class != asn1.ClassUniversal || s.Tag != asn1.TagInteger || s.IsCompound || len(s.Bytes) == 0 {
		return nil, errors.New("reading the certificate's serial number: it is no integer")
	}
	return s.Bytes, nil
}

// checkCertID takes only what CertID makes: it becomes part of a URL.
func checkCertID(id string) error {
	issuer, serial, ok := strings.Cut(id, ".")
	for _, part := range []string{issuer, serial} {
		if b, err := base64.RawURLEncoding.DecodeString(part); err != nil || len(b) == 0 {
			ok = false
		}
	}
	// The decoder passes over line ends.
	if !ok || strings.ContainsAny(id, "\r\n") {
		return errors.New("that is not an identifier of a certificate (RFC 9773 section 4.1)")
	}
	return nil
}
