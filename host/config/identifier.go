package config

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"golang.org/x/net/idna"

	"github.com/certwright/certwright/host/internal/model"
)

// hostLabel is RFC 1123's label, and the underscore that some names have.
var hostLabel = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$`)

var toASCII = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false), idna.VerifyDNSLength(true))

// ParseIdentifier reads a name as a user writes it: any case, Unicode or
// A-labels, a final dot, a wildcard or an IP address.
func ParseIdentifier(name string) (model.Identifier, error) {
	if addr, err := netip.ParseAddr(unbracketed(name)); err == nil {
		if addr.Zone() != "" {
			return model.Identifier{}, fmt.Errorf("the address %s has a zone, which no certificate can hold", name)
		}
		return model.Identifier{Type: "ip", Value: addr.Unmap().String()}, nil
	}
	id := model.Identifier{Type: "dns"}
	rest, wildcard := strings.CutPrefix(strings.TrimSuffix(name, "."), "*.")
	id.Wildcard = wildcard
	if strings.Contains(rest, "*") {
		return id, fmt.Errorf("%q: a wildcard can only stand alone at the front, as in *.example.com", name)
	}
	ascii, err := toASCII.ToASCII(rest)
	if err != nil {
		return id, fmt.Errorf("%q is not a domain name: %w", name, err)
	}
	if err := checkHost(ascii); err != nil {
		return id, fmt.Errorf("%q is not a domain name: %w", name, err)
	}
	id.Value = ascii
	return id, nil
}

// unbracketed takes the brackets off an IPv6 address, as it stands in URLs.
func unbracketed(name string) string {
	if inner, ok := strings.CutPrefix(name, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			return inner
		}
	}
	return name
}

func checkHost(name string) error {
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if !hostLabel.MatchString(label) {
			return fmt.Errorf("the label %q has characters that a host name cannot have", label)
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" {
		// RFC 3696 section 2: otherwise it could be taken for an address.
		return fmt.Errorf("the last label %q is a number", last)
	}
	return nil
}

// ParseMatch reads what a rule of authenticate matches and spells names as
// identifiers are spelt, so that they can be compared.
func ParseMatch(match string) (string, error) {
	if kind, ok := strings.CutPrefix(match, "type:"); ok {
		if kind != "dns" && kind != "ip" {
			return "", fmt.Errorf("match %q: the types are type:dns and type:ip", match)
		}
		return match, nil
	}
	zone, isZone := strings.CutPrefix(match, ".")
	if match == "" {
		return "", nil
	}
	id, err := ParseIdentifier(zone)
	if err != nil {
		return "", fmt.Errorf("match: %w", err)
	}
	if isZone {
		if id.Type != "dns" || id.Wildcard {
			return "", fmt.Errorf("match %q: a zone is a name with a dot in front", match)
		}
		return "." + id.Value, nil
	}
	return id.String(), nil
}

// ParseIdentifiers reads several names; one that stands twice is kept once.
func ParseIdentifiers(names []string) ([]model.Identifier, error) {
	var out []model.Identifier
	var errs []error
	seen := map[model.Identifier]bool{}
	for _, name := range names {
		id, err := ParseIdentifier(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out, errors.Join(errs...)
}

// LineageName is the default name of a certificate for a first name.
func LineageName(id model.Identifier) string {
	return strings.ReplaceAll(id.Value, ":", "-")
}

var lineageName = regexp.MustCompile(`^[a-z0-9_-][a-z0-9._-]*$`)

// validName leaves room for suffixes in the 255 bytes of a file name, as the
// store does.
func validName(name string) bool {
	return len(name) <= 230 && lineageName.MatchString(name)
}

// challengeType is how RFC 8555's registry names them: a plugin may know some
// that this program has never heard of.
var challengeType = regexp.MustCompile(`^[a-z][a-z0-9-]*-[0-9]{2}$`)

// checkChallenges says which challenge type cannot be one.
func checkChallenges(types []string) error {
	for _, t := range types {
		if !challengeType.MatchString(t) {
			return fmt.Errorf("challenge type %q is none of http, dns, tls-alpn, dns-account and dns-persist, nor a full name such as http-01", t)
		}
	}
	return nil
}

// ChallengeTypes spells short names out: http, dns, tls-alpn.
func ChallengeTypes(names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		n = strings.ToLower(strings.TrimSpace(n))
		switch n {
		case "http", "dns", "tls-alpn", "dns-account", "dns-persist":
			n += "-01"
		}
		out = append(out, n)
	}
	return out
}
