package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/script"
)

// variables are all that certbot gives to hooks, or once gave: what is not for
// the challenge at hand must not be left from elsewhere.
var variables = []string{
	"CERTBOT_DOMAIN", "CERTBOT_IDENTIFIER", "CERTBOT_VALIDATION", "CERTBOT_TOKEN", "CERTBOT_AUTH_OUTPUT",
	"CERTBOT_ALL_DOMAINS", "CERTBOT_ALL_IDENTIFIERS", "CERTBOT_REMAINING_CHALLENGES",
	"CERTBOT_CERT_PATH", "CERTBOT_KEY_PATH", "CERTBOT_SNI_DOMAIN",
}

const (
	// maxOutput is how much of its output the cleanup hook is given, in bytes: one
	// variable cannot have more than 128 KiB.
	maxOutput = 100 << 10
	// maxReceipt is how much output goes into a receipt.
	maxReceipt = 32 << 10
)

// receipt is what a cleanup hook is told of the auth hook's run.
type receipt struct {
	Output string `json:"output,omitempty"`
	// All are the identifiers of the challenges that were performed together.
	All       string `json:"all"`
	Remaining int    `json:"remaining"`
}

func values(challenges []sdk.Challenge) string {
	var out []string
	for _, c := range challenges {
		out = append(out, c.Identifier.Value)
	}
	return strings.Join(out, ",")
}

// environment of the hook for one challenge.
func environment(c sdk.Challenge, rec receipt) map[string]string {
	env := map[string]string{
		"CERTBOT_DOMAIN":               c.Identifier.Value,
		"CERTBOT_IDENTIFIER":           c.Identifier.Value,
		"CERTBOT_VALIDATION":           c.KeyAuthorization,
		"CERTBOT_ALL_DOMAINS":          rec.All,
		"CERTBOT_ALL_IDENTIFIERS":      rec.All,
		"CERTBOT_REMAINING_CHALLENGES": strconv.Itoa(rec.Remaining),
	}
	switch {
	case c.DNS != nil:
		env["CERTBOT_VALIDATION"] = c.DNS.Value
	case c.HTTP != nil:
		env["CERTBOT_TOKEN"] = c.Token
	}
	return env
}

// authenticate runs the auth hook for one challenge.
func (m *manual) authenticate(ctx context.Context, c sdk.Challenge, rec receipt, r sdk.Reporter) ([]byte, error) {
	env := environment(c, rec)
	if c.ALPN != nil {
		if err := m.writePair(c); err != nil {
			return nil, err
		}
		m.namePair(c, env)
	}
	out, err := m.run(ctx, "auth_hook", m.settings.AuthHook, c, env, r)
	output := strings.TrimSpace(out)
	m.mu.Lock()
	m.output[c.ID] = output
	m.mu.Unlock()
	if len(output) <= maxReceipt {
		rec.Output = output
	}
	text, encodeErr := json.Marshal(rec)
	return text, errors.Join(err, encodeErr)
}

// cleanup runs the cleanup hook for one challenge, with what the auth hook was
// told and what it printed, as far as that is known.
func (m *manual) cleanup(ctx context.Context, c sdk.Challenge, otherwise receipt, r sdk.Reporter) error {
	rec := otherwise
	if len(c.Receipt) > 0 && json.Unmarshal(c.Receipt, &rec) != nil {
		rec = otherwise
	}
	m.mu.Lock()
	if output, ok := m.output[c.ID]; ok {
		rec.Output = output
	}
	m.mu.Unlock()
	env := environment(c, rec)
	env["CERTBOT_AUTH_OUTPUT"] = rec.Output
	if c.ALPN != nil {
		m.namePair(c, env)
	}
	_, err := m.run(ctx, "cleanup_hook", m.settings.CleanupHook, c, env, r)
	return err
}

// run runs one hook. Its exit code is only reported, as certbot does, unless the
// user wants it strict; one that did not come to its own end has failed.
func (m *manual) run(ctx context.Context, setting, line string, c sdk.Challenge, env map[string]string, r sdk.Reporter) (string, error) {
	name := fmt.Sprintf("the %s for %s", setting, c.Identifier)
	r.Progress("", "running "+name)
	result, err := script.Run(ctx, script.Command{
		Name: name, Line: line, Env: script.Environ(env, variables...),
		Limit: m.settings.HookTimeout, LimitSetting: "hook_timeout", Output: maxOutput,
	})
	result.Warn(r)
	if err != nil && (m.settings.Strict || !result.Exited) {
		return result.Stdout, sdk.Subject(err, setting)
	}
	if err != nil {
		r.Say(sdk.Stderr, fmt.Sprintf("warning: %v\n", err))
		return result.Stdout, nil
	}
	if result.Tail != "" {
		r.Progress("", fmt.Sprintf("%s printed: %s", name, result.Tail))
	}
	return result.Stdout, nil
}

// The certificate and key of tls-alpn-01 are in the instance's own directory,
// where they are found without a receipt.

func (m *manual) pair(c sdk.Challenge) string {
	return filepath.Join(m.instance.StateDir, "alpn-"+hex(c.ID))
}

func (m *manual) namePair(c sdk.Challenge, env map[string]string) {
	env["CERTBOT_CERT_PATH"] = filepath.Join(m.pair(c), "cert.pem")
	env["CERTBOT_KEY_PATH"] = filepath.Join(m.pair(c), "key.pem")
	env["CERTBOT_SNI_DOMAIN"] = c.ALPN.ServerName
}

func (m *manual) writePair(c sdk.Challenge) error {
	dir := m.pair(c)
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make a directory for the challenge's certificate: %w", err)
	}
	for name, data := range map[string][]byte{"cert.pem": c.ALPN.CertPEM, "key.pem": c.ALPN.KeyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return fmt.Errorf("write the challenge's certificate: %w", err)
		}
	}
	return nil
}

func (m *manual) removePair(c sdk.Challenge) error {
	if c.Type != sdk.TLSALPN01 {
		return nil
	}
	if err := os.RemoveAll(m.pair(c)); err != nil {
		return fmt.Errorf("remove the challenge's certificate: %w", err)
	}
	return nil
}

// hex makes a file name of any ID.
func hex(id string) string { return fmt.Sprintf("%x", id) }
