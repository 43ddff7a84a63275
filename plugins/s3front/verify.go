package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// verify looks, where the settings ask for it, whether the answer is there where
// the CA looks: S3 shows an object at once, but what is in front of it may not.
func (f *front) verify(ctx context.Context, c sdk.Challenge, body string) error {
	if f.settings.VerifyPort == "" {
		return nil
	}
	host := c.Identifier.Value
	switch {
	case f.settings.VerifyPort != "80":
		host = net.JoinHostPort(host, f.settings.VerifyPort)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	// As a CA does: redirects are followed, and no certificate is asked for.
	client := &http.Client{Timeout: f.patience.request, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // nothing is sent, and what comes is compared
	}}
	url := "http://" + host + "/.well-known/acme-challenge/" + c.Token
	err := f.cloud.eventually(ctx, f.patience.settle, func() (bool, error) {
		return true, look(ctx, client, url, body)
	})
	if err != nil {
		err = sdk.WithCode(fmt.Errorf("the object is in the bucket, but %s does not show it: %w", url, err), sdk.NotFound)
		return sdk.Hint(err, "let port 80 of the name be served from the bucket, or leave verify_port out if that cannot be seen from here")
	}
	return nil
}

func look(ctx context.Context, client *http.Client, url, want string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(io.LimitReader(answer.Body, int64(len(want))+64))
	switch {
	case err != nil:
		return err
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("it answers %s", answer.Status)
	case strings.TrimRight(string(got), " \t\r\n") != want: // RFC 8555 section 8.3
		return errors.New("it shows something else")
	}
	return nil
}
