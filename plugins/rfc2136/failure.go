package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk"
)

// failure is why an answer is not "done", as the user will read it.
type failure struct {
	code  sdk.Code
	why   string
	hint  string
	retry sdk.Retry
}

// problem gives nil for an update that is done. A refusal is believed without
// proof, success is not.
func (c client) problem(r reply, zone, what string) error {
	f := c.failureOf(r, zone)
	if f.code == "" {
		return nil
	}
	return &sdk.Problem{Code: f.code, Summary: what, Detail: f.why, Hint: f.hint, Retry: f.retry}
}

func (c client) failureOf(r reply, zone string) failure {
	if signature := r.IsTsig(); c.key.name != "" && signature != nil && signature.Error != dns.RcodeSuccess {
		return c.keyFailure(r, signature, zone)
	}
	if r.doubt != nil && (r.Rcode == dns.RcodeSuccess || r.Rcode == dns.RcodeRefused) {
		return c.doubtful(r, zone)
	}
	return c.rcodeFailure(r.Rcode, zone)
}

// keyFailure reads the error field of a signature (RFC 8945 section 5.2).
func (c client) keyFailure(r reply, signature *dns.TSIG, zone string) failure {
	f := failure{code: sdk.Credentials, retry: sdk.RetryNever}
	switch signature.Error {
	case dns.RcodeBadKey:
		f.why = fmt.Sprintf("the server does not accept the key %s with %s (BADKEY)", c.key, strings.TrimSuffix(c.key.algorithm, "."))
		f.hint = fmt.Sprintf("compare tsig_name and tsig_algorithm with the key in the server's configuration, and see that the key may update %s", zone)
	case dns.RcodeBadSig:
		f.why = fmt.Sprintf("the server finds the signature of the key %s wrong (BADSIG)", c.key)
		f.hint = "compare tsig_secret with the key's secret in the server's configuration"
	case dns.RcodeBadTime:
		f.why = "the server's clock and ours are too far apart (BADTIME)" + apart(signature)
		f.hint = "set the clock of this machine, or that of the server, by NTP"
		f.retry = sdk.RetryLater
	default:
		f.why = fmt.Sprintf("the server does not accept the signature (%s, %s)", rcodeName(r.Rcode), rcodeName(int(signature.Error)))
		f.hint = "compare the key with that in the server's configuration"
	}
	return f
}

// apart says how far: BADTIME brings the server's time (RFC 8945 section 5.2.3).
func apart(signature *dns.TSIG) string {
	other, err := hex.DecodeString(signature.OtherData)
	if err != nil || len(other) != 6 {
		return ""
	}
	server := time.Unix(int64(binary.BigEndian.Uint64(append([]byte{0, 0}, other...))), 0)
	signed := time.Unix(int64(signature.TimeSigned), 0)
	return fmt.Sprintf(": the server's is at %s, ours at %s", server.UTC().Format(time.RFC3339), signed.UTC().Format(time.RFC3339))
}

// doubtful is an answer to a signed update that is not signed, or wrongly. A
// server that knows the key signs every answer (RFC 8945 section 5.3), so one
// that refuses without a signature (PowerDNS) does not know it.
func (c client) doubtful(r reply, zone string) failure {
	f := failure{code: sdk.Credentials, retry: sdk.RetryNever}
	switch {
	case r.Rcode == dns.RcodeRefused:
		f.why = fmt.Sprintf("the server refuses the update and did not sign its answer (REFUSED): it seems not to accept the key %s", c.key)
		f.hint = fmt.Sprintf("compare tsig_name, tsig_algorithm and tsig_secret with the key in the server's configuration, and see that it may update %s and that both clocks are right", zone)
	case errors.Is(r.doubt, dns.ErrTime):
		f.why = "the answer was signed at another time than now"
		f.hint = "set the clock of this machine, or that of the server, by NTP"
		f.retry = sdk.RetryLater
	default:
		f.why = fmt.Sprintf("the server's answer is not proven to be its own: %v", r.doubt)
		f.hint = fmt.Sprintf("see that the server has the key %s, and that nothing on the way to %s answers in its place", c.key, c.server)
	}
	return f
}

// rcodeFailure reads the response code (RFC 1035 section 4.1.1, RFC 2136 section 2.2).
func (c client) rcodeFailure(rcode int, zone string) failure {
	name := rcodeName(rcode)
	f := failure{retry: sdk.RetryNever}
	switch rcode {
	case dns.RcodeSuccess:
		return failure{}
	case dns.RcodeRefused:
		f.code, f.why = sdk.PermissionDenied, "the server refuses the update ("+name+")"
		f.hint = fmt.Sprintf("allow the key %s to change TXT records of %s in the server's configuration", c.key, zone)
		if c.key.name == "" {
			f.hint = "set tsig_name and tsig_secret to a key that may update " + zone
		}
	case dns.RcodeNotAuth: // not the key: that error stands in the signature
		f.code, f.why = sdk.NotFound, "the server is not authoritative for the zone ("+name+")"
		f.hint = "set server to a name server that takes updates of " + zone
		if c.key.name == "" { // Knot says the same to who may not
			f.hint += ", and tsig_name and tsig_secret if it wants a key"
		}
	case dns.RcodeNotZone, dns.RcodeNameError:
		f.code, f.why = sdk.NotFound, "the server says that the name is not in the zone ("+name+")"
		f.hint = fmt.Sprintf("see where %s ends on the server, and which zone holds the name", zone)
	case dns.RcodeServerFailure:
		f.code, f.why, f.retry = sdk.Unavailable, "the server failed ("+name+")", sdk.RetryLater
		f.hint = "read the server's log; often it cannot write to the file or the journal of the zone"
	case dns.RcodeNotImplemented, dns.RcodeFormatError:
		f.code, f.why = sdk.Unsupported, "the server does not understand the update ("+name+")"
		f.hint = "switch on dynamic updates on the server, or set server to one that takes them"
	case dns.RcodeYXDomain, dns.RcodeYXRrset, dns.RcodeNXRrset:
		f.code, f.why = sdk.Conflict, "what the zone holds is in the way ("+name+")"
		f.hint = "look at the records of the name on the server"
	default:
		f.code, f.why, f.retry = sdk.Internal, "the server answers "+name, sdk.RetryUnspecified
		f.hint = "read the server's log"
	}
	return f
}

func rcodeName(rcode int) string {
	if name := dns.RcodeToString[rcode]; name != "" {
		return name
	}
	return fmt.Sprintf("code %d", rcode)
}
