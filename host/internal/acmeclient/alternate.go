package acmeclient

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// maxAlternates is more chains than any CA has.
const maxAlternates = 10

// CertificateChain downloads a chain as Certificate does, and, if want does not
// like it, one alternate after the other (RFC 8555 section 7.4.2). If want likes
// none, or there is none, it is the default, and matched is false. An alternate
// that cannot be had is passed over: the certificate is there all the same. Nil
// want likes everything.
func (c *Client) CertificateChain(ctx context.Context, url string, want func(chainPEM []byte) bool) (chainPEM []byte, matched bool, err error) {
	first, header, err := c.certificate(ctx, url)
	if err != nil {
		return nil, false, err
	}
	if want == nil || want(first) {
		return first, true, nil
	}
	alternates := links(header, url, "alternate")
	for _, alternate := range alternates[:min(len(alternates), maxAlternates)] {
		chain, _, err := c.certificate(ctx, alternate)
		switch {
		case ctx.Err() != nil:
			return nil, false, fmt.Errorf("downloading the certificate %s: %w", alternate, ctx.Err())
		case err != nil:
			c.log("passing over a chain: %v", err)
		case !sameLeaf(first, chain):
			// The key that we have belongs to the leaf of the default.
			c.log("passing over the chain %s: it is of another certificate", alternate)
		case want(chain):
			return chain, true, nil
		}
	}
	return first, false, nil
}

func sameLeaf(a, b []byte) bool {
	one, _ := pem.Decode(a)
	other, _ := pem.Decode(b)
	return one != nil && other != nil && bytes.Equal(one.Bytes, other.Bytes)
}

// links are the targets of the Link headers of a relation (RFC 8288 section 3),
// each once, in full, without the page itself. Several may stand in one header.
func links(header http.Header, page, relation string) []string {
	base, err := url.Parse(page)
	if err != nil {
		return nil
	}
	seen := map[string]bool{base.String(): true}
	var out []string
	for _, line := range header.Values("Link") {
		for {
			_, rest, ok := strings.Cut(line, "<")
			target, rest, closed := strings.Cut(rest, ">")
			if !ok || !closed {
				break
			}
			var parameters string
			parameters, line = cutOutsideQuotes(rest, ',')
			at, err := base.Parse(strings.TrimSpace(target))
			if err == nil && hasRelation(parameters, relation) && !seen[at.String()] {
				seen[at.String()] = true
				out = append(out, at.String())
			}
		}
	}
	return out
}

// hasRelation says whether the parameters of a link have it among their rel.
func hasRelation(parameters, relation string) bool {
	for parameters != "" {
		var one string
		one, parameters = cutOutsideQuotes(parameters, ';')
		name, value, _ := strings.Cut(one, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "rel") {
			continue
		}
		for _, r := range strings.Fields(strings.Trim(strings.TrimSpace(value), `"`)) {
			if strings.EqualFold(r, relation) {
				return true
			}
		}
		// Only the first rel counts (RFC 8288 section 3.3).
		return false
	}
	return false
}

func cutOutsideQuotes(s string, at byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == at && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}
