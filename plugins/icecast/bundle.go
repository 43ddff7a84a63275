package main

import (
	"bytes"
	"crypto/tls"
	"regexp"

	"github.com/certwright/certwright/sdk"
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
