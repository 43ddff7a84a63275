package testca

import (
	"cmp"
	"io"
	"strconv"
	"time"

	pebbleca "github.com/letsencrypt/pebble/v2/ca"
)

// Options are the knobs of the CA. The zero value is a CA that validates
// promptly, rejects no nonces, binds no accounts, and issues for 90 days.
type Options struct {
	// HTTPPort and TLSPort are where the validator connects for http-01 and
	// tls-alpn-01. Zero: 80 and 443.
	HTTPPort, TLSPort int
	// NonceReject is the percentage of good nonces that are rejected.
	NonceReject int
	// AuthzReuse is the percentage of valid authorizations that are used again
	// in a later order.
	AuthzReuse int
	// Sleep makes every validation wait at random up to SleepSeconds (exclusive,
	// in whole seconds). Zero SleepSeconds: Pebble's 5.
	Sleep        bool
	SleepSeconds int
	// AlwaysValid makes every validation succeed unseen.
	AlwaysValid bool
	// ChainLength is the number of intermediates. Zero: 1.
	ChainLength int
	// AlternateRoots is the number of alternate chains offered.
	AlternateRoots int
	// OrdersPerPage of an account's list of orders. Zero: Pebble's 3.
	OrdersPerPage int
	// RetryAfter is what the CA asks for while something is being processed,
	// in seconds, half the time as a date. Zero: no Retry-After is sent.
	RetryAfter RetryAfter
	// EABKeys are the keys of external account bindings by key id, base64url
	// without padding. EABRequired refuses accounts without one.
	EABKeys     map[string]string
	EABRequired bool
	// Blocked names are refused in newOrder, with their subdomains.
	Blocked []string
	// KeyAlgorithm of the CA's keys, "ecdsa" or "rsa". Empty: ecdsa.
	KeyAlgorithm string
	// Validity of certificates, in whole seconds. Zero: 90 days. Not used if
	// Profiles are given.
	Validity time.Duration
	// Profiles by name. An order without a profile gets one at random, as
	// Pebble does. Empty: one, "default".
	Profiles map[string]Profile
	// Listen is the address of the directory. Empty: 127.0.0.1:0.
	Listen string
	// Zones maps a zone to the address (host:port) of the DNS server that
	// questions for it and below it are passed to.
	Zones map[string]string
	// Log takes Pebble's log until Close. Nil: it is discarded.
	Log io.Writer
	// OnRequest is told of every request before it is answered. It MUST be safe
	// for concurrent use. Nil: nobody is.
	OnRequest func(method, path string)
}

// RetryAfter is in seconds.
type RetryAfter struct{ Authz, Order int }

// Profile is a certificate profile that an order may name.
type Profile struct {
	Description string
	// PromoteCommonName puts the first name into the subject.
	PromoteCommonName bool
	// Validity in whole seconds. Zero: 90 days.
	Validity time.Duration
}

// environment is how Pebble takes the knobs that its constructors have no
// argument for. Every one is set, so that nothing leaks in from outside.
func (o Options) environment() map[string]string {
	env := map[string]string{
		"PEBBLE_WFE_NONCEREJECT":     strconv.Itoa(o.NonceReject),
		"PEBBLE_AUTHZREUSE":          strconv.Itoa(o.AuthzReuse),
		"PEBBLE_WFE_ORDERS_PER_PAGE": "",
		"PEBBLE_VA_NOSLEEP":          "1",
		"PEBBLE_VA_SLEEPTIME":        "",
		"PEBBLE_VA_ALWAYS_VALID":     "",
	}
	if o.OrdersPerPage > 0 {
		env["PEBBLE_WFE_ORDERS_PER_PAGE"] = strconv.Itoa(o.OrdersPerPage)
	}
	if o.Sleep {
		env["PEBBLE_VA_NOSLEEP"] = ""
		env["PEBBLE_VA_SLEEPTIME"] = strconv.Itoa(o.SleepSeconds)
	}
	if o.AlwaysValid {
		env["PEBBLE_VA_ALWAYS_VALID"] = "1"
	}
	return env
}

func (o Options) profiles() map[string]pebbleca.Profile {
	in := o.Profiles
	if len(in) == 0 {
		in = map[string]Profile{"default": {Description: "the default profile", Validity: o.Validity}}
	}
	out := make(map[string]pebbleca.Profile, len(in))
	for name, p := range in {
		out[name] = pebbleca.Profile{
			Description:       p.Description,
			PromoteCommonName: p.PromoteCommonName,
			ValidityPeriod:    uint64(max(p.Validity, 0) / time.Second),
		}
	}
	return out
}

func (o Options) withDefaults() Options {
	o.HTTPPort = cmp.Or(o.HTTPPort, 80)
	o.TLSPort = cmp.Or(o.TLSPort, 443)
	o.ChainLength = cmp.Or(o.ChainLength, 1)
	o.KeyAlgorithm = cmp.Or(o.KeyAlgorithm, "ecdsa")
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.OnRequest == nil {
		o.OnRequest = func(string, string) {}
	}
	return o
}
