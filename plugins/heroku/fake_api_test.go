package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// serve is the Platform API.
func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut
	}
	f.mu.Lock()
	recorder := &recording{ResponseWriter: w, status: http.StatusOK}
	below := ""
	if parts := strings.SplitN(r.URL.Path, "/", 4); len(parts) == 4 {
		below = "/" + parts[3]
	}
	at := slices.IndexFunc(f.faults, func(x *fault) bool {
		return x.times > 0 && (x.method == "" || x.method == r.Method) && strings.HasPrefix(below, x.path)
	})
	if at >= 0 {
		x := f.faults[at]
		x.times--
		if !x.late {
			f.mu.Unlock()
			x.do(w, r)
			return
		}
		recorder.ResponseWriter = httptest.NewRecorder()
		defer x.do(w, r)
	}
	defer f.mu.Unlock()
	if wrong := f.answer(recorder, r, body); wrong != nil {
		wrong.write(recorder)
	}
	f.log = append(f.log, exchange{r, string(body), recorder.status, recorder.content.String(), w.Header()})
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request, body []byte) *refusal {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	who := f.tokens[text]
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case !ok || who == nil || who.expired:
		return &refusal{http.StatusUnauthorized, "unauthorized", "Invalid credentials provided."}
	case r.Header.Get("Accept") != "application/vnd.heroku+json; version=3":
		return &refusal{http.StatusNotAcceptable, "not_acceptable", "the version is missing"}
	case len(body) > 0 && r.Header.Get("Content-Type") != "application/json":
		return &refusal{http.StatusBadRequest, "bad_request", "the body is no JSON"}
	case len(parts) < 3 || parts[0] != "apps":
		return &refusal{http.StatusNotFound, "not_found", "The requested API endpoint was not found."}
	}
	a := f.apps[parts[1]]
	switch {
	case a == nil:
		return &refusal{http.StatusNotFound, "not_found", "Couldn't find that app."}
	case !slices.Contains(who.apps, a.name), who.readOnly && r.Method != http.MethodGet:
		return &refusal{http.StatusForbidden, "forbidden", "You do not have access to the app " + a.name + "."}
	}
	identity := ""
	if len(parts) > 3 {
		identity = parts[3]
	}
	switch parts[2] {
	case "config-vars":
		return a.serveVars(w, r, body)
	case "features":
		return a.serveFeature(w, r, body, identity)
	case "dynos":
		a.look()
		return f.pages(w, r, a.listDynos(), "id")
	case "formation":
		if identity != "web" || a.quantity < 0 {
			return &refusal{http.StatusNotFound, "not_found", "Couldn't find that formation."}
		}
		return respond(w, http.StatusOK, a.formation())
	case "releases":
		return f.pages(w, r, a.listReleases(), "version")
	case "domains":
		return f.serveDomains(w, r, a, body, identity)
	case "sni-endpoints":
		return f.serveSNI(w, r, a, body, identity)
	}
	return &refusal{http.StatusNotFound, "not_found", "The requested API endpoint was not found."}
}

func respond(w http.ResponseWriter, status int, value any) *refusal {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
	return nil
}

func invalid(format string, args ...any) *refusal {
	return &refusal{http.StatusUnprocessableEntity, "invalid_params", fmt.Sprintf(format, args...)}
}

func (a *app) serveVars(w http.ResponseWriter, r *http.Request, body []byte) *refusal {
	if r.Method == http.MethodPatch {
		changes := map[string]*string{}
		if err := json.Unmarshal(body, &changes); err != nil {
			return invalid("%v", err)
		}
		different := false
		for name, value := range changes {
			now, there := a.vars[name]
			switch {
			case !regexp.MustCompile(`^\w+$`).MatchString(name):
				return invalid("%q is no name", name)
			case value == nil:
				different = different || there
				delete(a.vars, name)
			default:
				different = different || !there || now != *value
				a.vars[name] = *value
			}
		}
		if different {
			a.restart()
		}
	}
	return respond(w, http.StatusOK, a.vars)
}

func (a *app) serveFeature(w http.ResponseWriter, r *http.Request, body []byte, name string) *refusal {
	if name != "preboot" {
		return &refusal{http.StatusNotFound, "not_found", "Couldn't find that feature."}
	}
	if r.Method == http.MethodPatch {
		var in struct{ Enabled *bool }
		if err := json.Unmarshal(body, &in); err != nil || in.Enabled == nil {
			return invalid("enabled is missing")
		}
		a.preboot = *in.Enabled
	}
	return respond(w, http.StatusOK, map[string]any{"id": uuid(), "name": "preboot", "enabled": a.preboot, "state": "general"})
}

func (a *app) formation() map[string]any {
	return map[string]any{"id": uuid(), "type": "web", "quantity": a.quantity, "size": "basic", "command": "bin/web", "app": map[string]string{"id": a.id, "name": a.name}}
}

func (a *app) listDynos() []any {
	var out []any
	hidden := a.unseen > 0
	if hidden {
		a.unseen--
	}
	for _, d := range a.dynos {
		if hidden && d.kind == "web" {
			continue
		}
		out = append(out, map[string]any{
			"id": d.name, "name": d.name, "type": d.kind, "state": d.state, "command": "bin/web", "size": "basic",
			"app": map[string]string{"id": a.id, "name": a.name}, "release": map[string]any{"id": uuid(), "version": d.version},
		})
	}
	return out
}

func (a *app) listReleases() []any {
	var out []any
	for v := 1; v <= a.version; v++ {
		out = append(out, map[string]any{"id": uuid(), "version": v, "status": "succeeded", "current": v == a.version})
	}
	return out
}

// pages serves a list by Range as the API does: "id ]LAST..; max=200" continues
// after an entry.
func (f *fake) pages(w http.ResponseWriter, r *http.Request, all []any, key string) *refusal {
	size, from := f.page, 0
	if text := r.Header.Get("Range"); text != "" {
		found := regexp.MustCompile(`^(\w+) (?:\](\d+))?\.\.;?(?: ?(?:order=(asc|desc)|max=(\d+)),? ?)*$`).FindStringSubmatch(text)
		if found == nil || found[1] != key {
			return &refusal{http.StatusRequestedRangeNotSatisfiable, "requested_range_not_satisfiable", "Invalid Range"}
		}
		if strings.Contains(text, "order=desc") {
			slices.Reverse(all)
		}
		if found[4] != "" {
			size, _ = strconv.Atoi(found[4])
		}
		if found[2] != "" {
			from, _ = strconv.Atoi(found[2])
		}
	}
	to := min(from+size, len(all))
	status := http.StatusOK
	if to < len(all) {
		status = http.StatusPartialContent
		w.Header().Set("Next-Range", fmt.Sprintf("%s ]%d..; max=%d", key, to, size))
	}
	page := all[min(from, to):to]
	if page == nil {
		page = []any{}
	}
	return respond(w, status, page)
}

func (d *appDomain) json(a *app) map[string]any {
	out := map[string]any{
		"id": d.id, "hostname": d.hostname, "kind": d.kind, "cname": nil, "sni_endpoint": nil, "status": "succeeded",
		"app": map[string]string{"id": a.id, "name": a.name}, "acm_status": nil,
	}
	if d.kind == "custom" {
		out["cname"] = "haystack-" + d.id[:8] + ".herokudns.com"
	}
	if d.sni != nil {
		out["sni_endpoint"] = map[string]string{"id": d.sni.id, "name": d.sni.name}
	}
	return out
}

func (f *fake) serveDomains(w http.ResponseWriter, r *http.Request, a *app, body []byte, identity string) *refusal {
	var in struct {
		Hostname    string
		SNIEndpoint *string `json:"sni_endpoint"`
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &in); err != nil || !strings.Contains(string(body), `"sni_endpoint":`) {
			return invalid("sni_endpoint is missing")
		}
	}
	var to *sni
	if in.SNIEndpoint != nil {
		at := slices.IndexFunc(a.sni, func(s *sni) bool { return s.id == *in.SNIEndpoint || s.name == *in.SNIEndpoint })
		if at < 0 {
			return &refusal{http.StatusNotFound, "not_found", "Couldn't find that SNI endpoint."}
		}
		to = a.sni[at]
	}
	at := slices.IndexFunc(a.domains, func(d *appDomain) bool { return d.id == identity || d.hostname == identity })
	switch {
	case r.Method == http.MethodGet && identity == "":
		var all []any
		for _, d := range a.domains {
			all = append(all, d.json(a))
		}
		return f.pages(w, r, all, "id")
	case r.Method == http.MethodPost && identity == "":
		for _, other := range f.apps {
			if slices.ContainsFunc(other.domains, func(d *appDomain) bool { return d.hostname == in.Hostname }) {
				return invalid("%s is currently in use by another app.", in.Hostname)
			}
		}
		d := &appDomain{id: uuid(), hostname: in.Hostname, kind: "custom", sni: to}
		a.domains = append(a.domains, d)
		return respond(w, http.StatusCreated, d.json(a))
	case at < 0:
		return &refusal{http.StatusNotFound, "not_found", "Couldn't find that domain name."}
	case r.Method == http.MethodPatch && a.acm:
		return invalid("Automated Certificate Management is enabled for this app.")
	case r.Method == http.MethodPatch:
		a.domains[at].sni = to
		return respond(w, http.StatusOK, a.domains[at].json(a))
	}
	return &refusal{http.StatusMethodNotAllowed, "method_not_allowed", "no such method"}
}

func (s *sni) json(a *app) map[string]any {
	domains := []string{}
	for _, d := range a.domains {
		if d.sni == s {
			domains = append(domains, d.id)
		}
	}
	// The key is never given back.
	return map[string]any{
		"id": s.id, "name": s.name, "certificate_chain": s.chain, "display_name": nil, "domains": domains,
		"app": map[string]string{"id": a.id, "name": a.name},
	}
}

func (f *fake) serveSNI(w http.ResponseWriter, r *http.Request, a *app, body []byte, identity string) *refusal {
	at := slices.IndexFunc(a.sni, func(s *sni) bool { return s.id == identity || s.name == identity })
	if identity != "" && at < 0 {
		return &refusal{http.StatusNotFound, "not_found", "Couldn't find that SNI endpoint."}
	}
	var made *sni
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		var in struct {
			CertificateChain string `json:"certificate_chain"`
			PrivateKey       string `json:"private_key"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			return invalid("%v", err)
		}
		pair, err := tls.X509KeyPair([]byte(in.CertificateChain), []byte(in.PrivateKey))
		if err != nil {
			return invalid("Key doesn't match the certificate")
		}
		id := uuid()
		made = &sni{id: id, name: "tokyo-" + id[:5], chain: strings.TrimSpace(in.CertificateChain), key: in.PrivateKey, pair: pair}
	}
	switch {
	case r.Method == http.MethodGet && identity == "":
		var all []any
		for _, s := range a.sni {
			all = append(all, s.json(a))
		}
		return f.pages(w, r, all, "id")
	case r.Method == http.MethodGet:
		return respond(w, http.StatusOK, a.sni[at].json(a))
	case r.Method == http.MethodPost:
		a.sni = append(a.sni, made)
		return respond(w, http.StatusCreated, made.json(a))
	case r.Method == http.MethodPatch:
		made.id, made.name = a.sni[at].id, a.sni[at].name
		*a.sni[at] = *made
		return respond(w, http.StatusOK, made.json(a))
	case r.Method == http.MethodDelete:
		s := a.sni[at]
		if slices.ContainsFunc(a.domains, func(d *appDomain) bool { return d.sni == s }) {
			return invalid("The SNI endpoint %s is attached to domains.", s.name)
		}
		answer := s.json(a)
		a.sni = slices.Delete(a.sni, at, at+1)
		return respond(w, http.StatusOK, answer)
	}
	return &refusal{http.StatusMethodNotAllowed, "method_not_allowed", "no such method"}
}
