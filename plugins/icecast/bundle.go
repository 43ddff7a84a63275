package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/checkpoint"
)

// bundle gives the one file that Icecast wants: certificate, chain, key. Without
// the chain most listeners' players would not trust it.
func bundle(d sdk.Deployment) ([]byte, error) {
	if len(d.KeyPEM) == 0 {
		return nil, sdk.Problemf(sdk.Internal, "the host has handed over no key for %s", d.Lineage)
	}
	var out bytes.Buffer
	for _, part := range [][]byte{d.LeafPEM, d.ChainPEM, d.KeyPEM} {
		if part = bytes.TrimSpace(part); len(part) > 0 {
			out.Write(part)
			out.WriteByte('\n')
		}
	}
	if _, err := tls.X509KeyPair(out.Bytes(), d.KeyPEM); err != nil {
		return nil, sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, "the key is not that of the certificate %s: %w", d.Lineage, err))
	}
	return out.Bytes(), nil
}

// passwordPattern finds the content of elements that are nobody's business in a
// diff.
var passwordPattern = regexp.MustCompile(`(<[\w:-]*password[^>]*>)[^<]*`)

// passwordless is a configuration that may be shown; nil stays nil.
func passwordless(data []byte) []byte {
	if data == nil {
		return nil
	}
	return passwordPattern.ReplaceAll(data, []byte("$1…"))
}

// describeChange is the diff of a bundle: of what is public only.
func describeChange(path string, was, is []byte) string {
	before, secretBefore := public(was)
	after, secretAfter := public(is)
	var b strings.Builder
	change := checkpoint.Diff(path, before, after)
	if change == "" {
		fmt.Fprintf(&b, "--- %s\n+++ %s\n", path, path)
	}
	b.WriteString(change)
	switch {
	case bytes.Equal(secretBefore, secretAfter):
		if change == "" {
			b.WriteString("content: changed outside of certificates and keys\n")
		}
	case len(secretBefore) == 0:
		b.WriteString("private key: added\n")
	default:
		b.WriteString("private key: changed\n")
	}
	return b.String()
}

// public splits a file into what may be shown and what may not. The first is nil
// for an empty file.
func public(data []byte) (shown, hidden []byte) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			shown = append(shown, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
		} else {
			hidden = append(hidden, block.Bytes...)
		}
	}
	return shown, hidden
}
