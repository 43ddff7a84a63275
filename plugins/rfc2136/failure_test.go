package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/certwright/certwright/sdk"
)

func TestFailuresSayWhatToDo(t *testing.T) {
	// The server's clock, as 48 bits (RFC 8945 section 5.2.3).
	noon := fmt.Sprintf("%012x", time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC).Unix())
	for name, c := range map[string]struct {
		answer answerer
		keyed  bool
		code   sdk.Code
		retry  sdk.Retry
		words  []string // in the error, then in the hint
	}{
		"BADKEY":             {keyError(t, dns.RcodeBadKey, ""), true, sdk.Credentials, sdk.RetryNever, []string{"BADKEY", "tsig_name"}},
		"BADSIG":             {keyError(t, dns.RcodeBadSig, ""), true, sdk.Credentials, sdk.RetryNever, []string{"BADSIG", "tsig_secret"}},
		"BADTIME":            {keyError(t, dns.RcodeBadTime, noon), true, sdk.Credentials, sdk.RetryLater, []string{"2030-01-02T12:00:00Z", "clock"}},
		"BADTIME, no time":   {keyError(t, dns.RcodeBadTime, ""), true, sdk.Credentials, sdk.RetryLater, []string{"BADTIME", "clock"}},
		"BADTRUNC":           {keyError(t, dns.RcodeBadTrunc, ""), true, sdk.Credentials, sdk.RetryNever, []string{"BADTRUNC", "key"}},
		"REFUSED":            {answers(dns.RcodeRefused), true, sdk.PermissionDenied, sdk.RetryNever, []string{"REFUSED", "the key key "}},
		"REFUSED, no proof":  {unsigned(dns.RcodeRefused), true, sdk.Credentials, sdk.RetryNever, []string{"REFUSED", "tsig_secret"}},
		"REFUSED, no key":    {answers(dns.RcodeRefused), false, sdk.PermissionDenied, sdk.RetryNever, []string{"REFUSED", "tsig_name"}},
		"NOTAUTH":            {answers(dns.RcodeNotAuth), true, sdk.NotFound, sdk.RetryNever, []string{"zone.test", "server"}},
		"NOTAUTH, no proof":  {unsigned(dns.RcodeNotAuth), true, sdk.NotFound, sdk.RetryNever, []string{"not authoritative", "server"}},
		"NOTAUTH, no key":    {answers(dns.RcodeNotAuth), false, sdk.NotFound, sdk.RetryNever, []string{"NOTAUTH", "tsig_name"}},
		"NOTZONE":            {answers(dns.RcodeNotZone), true, sdk.NotFound, sdk.RetryNever, []string{"NOTZONE", "zone.test"}},
		"NXDOMAIN":           {answers(dns.RcodeNameError), true, sdk.NotFound, sdk.RetryNever, []string{"NXDOMAIN", "zone.test"}},
		"SERVFAIL":           {answers(dns.RcodeServerFailure), true, sdk.Unavailable, sdk.RetryLater, []string{"SERVFAIL", "log"}},
		"NOTIMP":             {answers(dns.RcodeNotImplemented), true, sdk.Unsupported, sdk.RetryNever, []string{"NOTIMP", "updates"}},
		"FORMERR":            {unsigned(dns.RcodeFormatError), true, sdk.Unsupported, sdk.RetryNever, []string{"FORMERR", "updates"}},
		"YXRRSET":            {answers(dns.RcodeYXRrset), true, sdk.Conflict, sdk.RetryNever, []string{"YXRRSET", "records"}},
		"a code of tomorrow": {answers(14), true, sdk.Internal, sdk.RetryUnspecified, []string{"code 14", "log"}},
		// Signatures mean nothing to who has no key; it must not break on them.
		"a signature, no key": {func(w dns.ResponseWriter, q *dns.Msg) {
			q.SetTsig("key.", dns.HmacSHA256, fudge, time.Now().Unix())
			keyError(t, dns.RcodeBadKey, "")(w, q)
		}, false, sdk.NotFound, sdk.RetryNever, []string{"NOTAUTH", "tsig_name"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, c.answer, c.answer)
			s := settings{Server: f.addr}
			if c.keyed {
				s = signing(f.addr)
			}
			r := configured(t, s)
			_, err := r.SetTXT(t.Context(), txt("value"))
			for verb, p := range map[string]*sdk.Problem{"add": sdk.ProblemOf(err), "delete": sdk.ProblemOf(r.DeleteTXT(t.Context(), txt("value")))} {
				if p == nil {
					t.Fatalf("%s: no problem", verb)
				}
				if p.Code != c.code || p.Retry != c.retry || !strings.Contains(p.Error(), c.words[0]) || !strings.Contains(p.Hint, c.words[1]) {
					t.Errorf("%s: the problem is %+v", verb, p)
				}
				for _, word := range []string{verb, f.addr, "zone.test", "_acme-challenge.www.zone.test"} {
					if !strings.Contains(p.Summary, word) {
						t.Errorf("%s: the summary %q does not say %s", verb, p.Summary, word)
					}
				}
			}
		})
	}
}
