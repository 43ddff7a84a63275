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

// secretPatterns find what is nobody's business in a diff: the content of elements
// for passwords, be it CDATA or over several lines, the value of options for
// them, and what is before the host in a URL.
var secretPatterns = []*regexp.Regexp{
	regexp.MustCompile(`(?s)(<(?:[\w-]+:)?[\w-]*password(?:\s[^>]*[^>/])?>)(.*?)(</)`),
	regexp.MustCompile(`(?s)(<option\s[^>]*\bname\s*=\s*["'][^"']*pass[^"']*["'][^>]*?\bvalue\s*=\s*["'])(.*?)(["'])`),
	regexp.MustCompile(`(?s)(<option\s[^>]*?\bvalue\s*=\s*["'])([^"'>]*)(["'][^>]*\bname\s*=\s*["'][^"']*pass)`),
	regexp.MustCompile(`(://[^/\s"'<>@:]*:)([^/\s"'<>@]*)(@)`),
}

// passwordless is a configuration that may be shown; nil stays nil.
func passwordless(data []byte) []byte {
	for _, pattern := range secretPatterns {
		if data != nil {
			data = pattern.ReplaceAll(data, []byte("$1…$3"))
		}
	}
	return data
}
