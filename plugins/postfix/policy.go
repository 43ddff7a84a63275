package main

import (
	"slices"
	"strings"
)

// rule says how a parameter is to be. What is as secure already, or more, stays.
type rule struct {
	name string
	// better gives the value that must replace this one; false: it may stay. The
	// other parameters are those of main.cf.
	better func(value string, main map[string]string) (string, bool)
}

// certificates are the parameters by which smtpd is given certificates. All
// but the first are ignored where the first is set.
var certificates = []string{
	"smtpd_tls_chain_files",
	"smtpd_tls_cert_file", "smtpd_tls_key_file", "smtpd_tls_dcert_file", "smtpd_tls_dkey_file",
	"smtpd_tls_eccert_file", "smtpd_tls_eckey_file",
}

// excludedCiphers neither authenticate nor encrypt, or are broken.
var excludedCiphers = []string{"aNULL", "eNULL", "EXPORT", "DES", "3DES", "RC4", "MD5", "PSK"}

// rules for the settings of an instance.
func (s settings) rules(version string) []rule {
	out := []rule{level("smtpd_")}
	if !s.TLSOnly {
		out = append(out, rule{"smtpd_tls_auth_only", insteadOf("yes", "", "no")})
		out = append(out, strength("smtpd_", version)...)
		out = append(out, rule{"smtpd_tls_exclude_ciphers", excluding(excludedCiphers)})
	}
	if s.ServerOnly {
		return out
	}
	out = append(out, level("smtp_"))
	if !s.TLSOnly {
		out = append(out, strength("smtp_", version)...)
	}
	return out
}

func strength(prefix, version string) []rule {
	protocols := func(value string, _ map[string]string) (string, bool) { return secureProtocols(value, version) }
	ciphers := insteadOf("medium", "", "null", "export", "low")
	return []rule{
		{prefix + "tls_protocols", protocols},
		{prefix + "tls_mandatory_protocols", protocols},
		{prefix + "tls_ciphers", ciphers},
		{prefix + "tls_mandatory_ciphers", ciphers},
	}
}

// level asks for TLS where the other side can. An empty level leaves it to two
// older parameters, one of which demands TLS.
func level(prefix string) rule {
	want := insteadOf("may", "", "none")
	return rule{prefix + "tls_security_level", func(value string, main map[string]string) (string, bool) {
		if value == "" && strings.EqualFold(main[prefix+"enforce_tls"], "yes") {
			return "", false
		}
		return want(value, main)
	}}
}

// insteadOf replaces values that are known to be weak. One that is not known
// may be stronger; if it is a mistake, Postfix says so.
func insteadOf(better string, weak ...string) func(string, map[string]string) (string, bool) {
	return func(value string, _ map[string]string) (string, bool) {
		return better, slices.ContainsFunc(weak, func(w string) bool { return strings.EqualFold(w, value) })
	}
}

// excluding adds to a list what it lacks.
func excluding(all []string) func(string, map[string]string) (string, bool) {
	return func(value string, _ map[string]string) (string, bool) {
		words := splitList(value)
		n := len(words)
		for _, name := range all {
			if !slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, name) }) {
				words = append(words, name)
			}
		}
		return strings.Join(words, ", "), len(words) > n
	}
}

// splitList takes a list of Postfix apart.
func splitList(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}
