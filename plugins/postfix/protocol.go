package main

import (
	"slices"
	"strconv"
	"strings"
)

// protocols are the versions of TLS that Postfix knows, oldest first, with their
// numbers on the wire.
var protocols = []struct {
	name   string
	number uint64
}{
	{"SSLv2", 0x0002}, {"SSLv3", 0x0300}, {"TLSv1", 0x0301}, {"TLSv1.1", 0x0302}, {"TLSv1.2", 0x0303}, {"TLSv1.3", 0x0304},
}

const (
	firstTLS = 2 // its place among protocols
	tls12    = 4
)

// versionSet says for each of protocols whether it is allowed.
type versionSet [6]bool

// parseProtocols reads a list of versions as Postfix does: names allow these and
// no others, names with ! forbid, and from 3.6 on >= and <= are bounds.
func parseProtocols(value string) (allowed versionSet, ok bool) {
	var included, excluded versionSet
	some := false
	lowest, highest := uint64(0), uint64(1<<16)
	for word := range strings.FieldsFuncSeq(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n:", r) }) {
		if rest, isBound := strings.CutPrefix(word, ">="); isBound {
			if lowest, ok = protocolNumber(rest); !ok {
				return allowed, false
			}
			continue
		}
		if rest, isBound := strings.CutPrefix(word, "<="); isBound {
			if highest, ok = protocolNumber(rest); !ok {
				return allowed, false
			}
			continue
		}
		name, not := strings.CutPrefix(word, "!")
		place := placeOf(name)
		switch {
		case place < 0:
			return allowed, false
		case not:
			excluded[place] = true
		default:
			included[place], some = true, true
		}
	}
	for i, p := range protocols {
		allowed[i] = (!some || included[i]) && !excluded[i] && (i == 0 || p.number >= lowest && p.number <= highest)
	}
	// SSLv2 is no version of the same kind: any lower bound excludes it.
	if lowest > 0 {
		allowed[0] = false
	}
	return allowed, true
}

// placeOf gives a version's place among protocols, -1 if it is none.
func placeOf(name string) int {
	for i, p := range protocols {
		if strings.EqualFold(p.name, name) {
			return i
		}
	}
	return -1
}

func protocolNumber(text string) (uint64, bool) {
	if i := placeOf(text); i >= 0 {
		return protocols[i].number, true
	}
	n, err := strconv.ParseUint(text, 0, 16)
	return n, err == nil && n > 0
}

// secureProtocols gives what a list is to be replaced by; false: it may stay,
// because it allows nothing older than TLS and something modern. What it forbids
// stays forbidden.
func secureProtocols(value, version string) (string, bool) {
	allowed, ok := parseProtocols(value)
	if !ok {
		return "", false // Postfix complains about it itself
	}
	// Postfix has not spoken SSLv2 since 3.0, so a list that does not forbid it
	// does no harm if it forbids SSLv3.
	if !allowed[1] && (allowed[tls12] || allowed[tls12+1]) {
		return "", false
	}
	allowed[0], allowed[1] = false, false
	if !allowed[tls12] && !allowed[tls12+1] {
		for i := range allowed {
			allowed[i] = i >= tls12
		}
	}
	return allowed.print(version), true
}

func (s versionSet) print(version string) string {
	lowest := slices.Index(s[:], true)
	if !older(version, "3.6") && !slices.Contains(s[lowest:], false) {
		return ">=" + protocols[lowest].name
	}
	var words []string
	for i, p := range protocols {
		if !s[i] {
			words = append(words, "!"+p.name)
		}
	}
	return strings.Join(words, ", ")
}
