package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

const (
	// fallbackLabel is that of its checkpoint; no certificate has this name.
	fallbackLabel = "__fallback"
	fallbackTitle = "a certificate for haproxy to start with"
	// noCertificate is what haproxy -c says of a bind line without any.
	noCertificate = "no SSL certificate specified for bind"
	fallbackYears = 10
)

// fallback makes a self-signed certificate, so that haproxy can start and
// answer the challenges for the first real one. It is made only if the directory
// is empty and haproxy refuses to start for that very reason.
func (h *haproxy) fallback(ctx context.Context, r sdk.Reporter) error {
	if h.settings.CrtDir == "" || !isEmpty(h.settings.CrtDir) || !h.named() {
		return nil
	}
	p := sdk.ProblemOf(h.testConfiguration(ctx))
	if p == nil || p.Code != sdk.ConfigTestFailed || !strings.Contains(p.Detail, noCertificate) {
		return nil
	}
	content, err := selfSigned()
	if err != nil {
		return fmt.Errorf("make a certificate for haproxy to start with: %w", err)
	}
	draft, err := h.edits.Store().Begin(ctx, fallbackLabel)
	if err != nil {
		return err
	}
	file := filepath.Join(h.settings.CrtDir, fallbackLabel+".pem")
	if err := h.writeFallback(ctx, draft, file, content); err != nil {
		ctx, cancel := undoing(ctx)
		defer cancel()
		return errors.Join(h.explainFile(err), draft.Discard(ctx))
	}
	r.Progress("", fmt.Sprintf("haproxy does not start without a certificate: wrote a self-signed one, %s", file))
	return nil
}

func (h *haproxy) writeFallback(ctx context.Context, draft *checkpoint.Draft, file string, content []byte) error {
	if err := draft.WriteFile(ctx, file, content, checkpoint.Attributes{Mode: bundleMode}); err != nil {
		return err
	}
	_, after, err := h.listWith(file)
	if err != nil {
		return err
	}
	if after != nil {
		if err := draft.WriteFile(ctx, h.settings.CrtList, after, checkpoint.Attributes{}); err != nil {
			return err
		}
	}
	_, err = draft.Finalise(ctx, fallbackTitle)
	return err
}

// named says whether a bind line that wants a certificate reads what we write.
func (h *haproxy) named() bool {
	c, err := readConfiguration(h.settings.Config)
	return err == nil && slices.ContainsFunc(c.binds, func(b bind) bool {
		return b.ssl && !b.strictSNI && b.serves("", h.settings.CrtDir, h.settings.CrtList)
	})
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

func selfSigned() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "no certificate yet"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(fallbackYears, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}
