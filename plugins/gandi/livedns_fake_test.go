package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/host/testca"
)

// fakeDNS is LiveDNS as https://api.gandi.net/docs/livedns/ describes it: it
// keeps record sets, and what is in them can be asked for by DNS.
type fakeDNS struct {
	*httptest.Server
	dns *testca.DNS // nil: nobody asks

	mu sync.Mutex
	// accounts by their credentials, as in the header Authorization.
	accounts map[string]*account
	// seen are the requests, with their bodies.
	seen []string
	// before, if set, may answer in place of the fake: then it gives true.
	before func(w http.ResponseWriter, r *http.Request, body string) bool
	// after is called when a request has been answered, without the lock.
	after func(r *http.Request)
}

type account struct {
	domains map[string]map[string]rrset // domain, name, set
	// sharing is the organization; empty: any is right.
	sharing string
	// readOnly tokens may not write.
	readOnly bool
}

func newFakeDNS(t *testing.T, dns *testca.DNS) *fakeDNS {
	t.Helper()
	f := &fakeDNS{dns: dns, accounts: map[string]*account{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// account makes one with domains.
func (f *fakeDNS) account(credentials string, domains ...string) *account {
	a := &account{domains: map[string]map[string]rrset{}}
	for _, d := range domains {
		a.domains[d] = map[string]rrset{}
		if f.dns != nil {
			f.dns.ServeZone(d)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.accounts[credentials] = a
	return a
}

func (f *fakeDNS) endpoint() string { return f.URL + "/v5/livedns" }

// set gives the values of a name, as they are kept.
func (f *fakeDNS) set(a *account, domain, name string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(a.domains[domain][name].Values)
}

// force writes as another program does.
func (f *fakeDNS) force(a *account, domain, name string, ttl int, values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.write(a, domain, name, rrset{TTL: ttl, Values: values})
}

func (f *fakeDNS) write(a *account, domain, name string, set rrset) {
	full := name + "." + domain
	if name == "@" {
		full = domain
	}
	if len(set.Values) == 0 {
		delete(a.domains[domain], name)
	} else {
		a.domains[domain][name] = set
	}
	if f.dns == nil {
		return
	}
	var plain []string
	for _, v := range set.Values {
		plain = append(plain, strings.Trim(v, `"`))
	}
	f.dns.SetTXT(full, plain...)
}

func (f *fakeDNS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	body := string(raw)
	f.mu.Lock()
	line := r.Method + " " + r.URL.RequestURI()
	if body != "" {
		line += " " + body
	}
	f.seen = append(f.seen, line)
	before, after := f.before, f.after
	f.mu.Unlock()
	if before == nil || !before(w, r, body) {
		f.mu.Lock()
		f.answer(w, r, body)
		f.mu.Unlock()
	}
	if after != nil {
		after(r)
	}
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"code": code, "cause": http.StatusText(code), "message": message, "object": "HTTP" + strings.ReplaceAll(http.StatusText(code), " ", ""),
	})
}

func (f *fakeDNS) answer(w http.ResponseWriter, r *http.Request, body string) {
	a := f.accounts[r.Header.Get("Authorization")]
	path, ok := strings.CutPrefix(r.URL.Path, "/v5/livedns/domains")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case a == nil:
		refuse(w, 401, "The server could not verify that you authorized to access the document you requested.")
	case a.sharing != "" && r.URL.Query().Get("sharing_id") != a.sharing:
		refuse(w, 403, "Access was denied to this resource.")
	case !ok:
		refuse(w, 404, "The resource could not be found.")
	case path == "":
		_ = json.NewEncoder(w).Encode([]map[string]string{})
	case a.domains[parts[0]] == nil:
		refuse(w, 404, "Unknown domain")
	case len(parts) == 1:
		_ = json.NewEncoder(w).Encode(map[string]any{"fqdn": parts[0], "automatic_snapshots": true})
	case len(parts) == 4 && parts[1] == "records" && parts[3] == "TXT":
		f.records(w, r, a, parts[0], parts[2], body)
	default:
		refuse(w, 404, "The resource could not be found.")
	}
}

func (f *fakeDNS) records(w http.ResponseWriter, r *http.Request, a *account, domain, name, body string) {
	set, there := a.domains[domain][name]
	switch {
	case r.Method != http.MethodGet && a.readOnly:
		refuse(w, 403, "Access was denied to this resource.")
	case r.Method == http.MethodPut:
		var next rrset
		if r.Header.Get("Content-Type") != "application/json" || json.Unmarshal([]byte(body), &next) != nil {
			refuse(w, 400, "The body is no JSON.")
			return
		}
		if next.TTL < 300 || next.TTL > 2592000 || len(next.Values) == 0 {
			refuse(w, 400, "rrset_ttl: must be between 300 and 2592000")
			return
		}
		for i, v := range next.Values { // they come back quoted
			if !strings.HasPrefix(v, `"`) {
				next.Values[i] = `"` + v + `"`
			}
		}
		f.write(a, domain, name, next)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"message":"DNS Record Created"}`)
	case !there:
		refuse(w, 404, "Can't find the DNS record "+name+"/TXT")
	case r.Method == http.MethodGet:
		_ = json.NewEncoder(w).Encode(map[string]any{
			"rrset_type": "TXT", "rrset_ttl": set.TTL, "rrset_name": name, "rrset_values": set.Values,
			"rrset_href": f.endpoint() + "/domains/" + domain + "/records/" + name + "/TXT",
		})
	case r.Method == http.MethodDelete:
		f.write(a, domain, name, rrset{})
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, 405, "The method is not allowed.")
	}
}

func (f *fakeDNS) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

// everything is the whole state of an account, for comparison.
func (f *fakeDNS) everything(a *account) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out strings.Builder
	for _, domain := range slices.Sorted(maps.Keys(a.domains)) {
		for _, name := range slices.Sorted(maps.Keys(a.domains[domain])) {
			fmt.Fprintf(&out, "%s %s %v\n", domain, name, a.domains[domain][name])
		}
	}
	return out.String()
}
