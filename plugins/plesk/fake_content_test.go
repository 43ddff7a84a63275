package main

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// What the fake has of zones and certificates.

func (f *fakePlesk) zone(name string, op node, allowed func(*fakeSite) bool) string {
	text := op.text("site-id") + op.text("filter", "site-id")
	if name == "dns/del_rec" {
		id, _ := strconv.Atoi(op.text("filter", "id"))
		for _, s := range f.sites {
			if i := slices.IndexFunc(s.records, func(r fakeRecord) bool { return r.id == id }); i >= 0 && allowed(s) {
				host := s.records[i].host
				s.records = slices.Delete(s.records, i, i+1)
				f.publish(s, host)
				return ok(element("id", fmt.Sprint(id)))
			}
		}
		return failed(1013, "DNS record does not exist")
	}
	i := slices.IndexFunc(f.sites, func(s *fakeSite) bool { return fmt.Sprint(s.id) == text })
	if i < 0 || !allowed(f.sites[i]) {
		return failed(1015, "Site does not exist")
	}
	s := f.sites[i]
	if name == "dns/get_rec" {
		out := ok(element("id", "1") + "<data>" + element("site-id", text) + "<type>NS</type>" + element("host", s.name+".") + element("value", "ns."+s.name+".") + "<opt/></data>")
		for _, r := range s.records {
			out += ok(element("id", fmt.Sprint(r.id)) + "<data>" + element("site-id", text) + "<type>TXT</type>" + element("host", r.host+".") + element("value", r.value) + "<opt/></data>")
		}
		return out
	}
	host := s.name
	if relative := op.text("host"); relative != "" {
		host = relative + "." + s.name
	}
	f.last++
	s.records = append(s.records, fakeRecord{f.last, host, op.text("value")})
	f.publish(s, host)
	return ok(element("id", fmt.Sprint(f.last)))
}

func (f *fakePlesk) publish(s *fakeSite, host string) {
	if f.dns == nil {
		return
	}
	var values []string
	for _, r := range s.records {
		if r.host == host {
			values = append(values, r.value)
		}
	}
	f.dns.SetTXT(host, values...)
}

func (f *fakePlesk) certificate(operation string, op node, s *fakeSite) string {
	pool := f.pools[s.webspace]
	name := op.text("name") + op.text("filter", "name")
	used := slices.ContainsFunc(f.sites, func(o *fakeSite) bool {
		return o.webspace == s.webspace && o.properties["certificate_name"] == name
	})
	switch operation {
	case "certificate/get-pool":
		var out string
		for _, n := range slices.Sorted(maps.Keys(pool)) {
			out += "<certificate>" + element("name", n) + "</certificate>"
		}
		return ok("<certificates>" + out + "</certificates>")
	case "certificate/remove":
		if pool[name] == nil {
			return failed(1013, "Certificate does not exist")
		}
		if used {
			return failed(8002, "Unable to remove the certificate: it is in use")
		}
		delete(pool, name)
		return ok(element("name", name))
	case "certificate/install":
		if pool[name] != nil {
			return failed(1007, "Certificate with this name already exists")
		}
	case "certificate/update":
		if !slices.Contains(f.protos, "1.6.8.0") {
			return failed(1014, "Parser error: unknown operation update")
		}
		if pool[name] == nil {
			return failed(1013, "Certificate does not exist")
		}
	default:
		return failed(1014, "Parser error: unknown operation")
	}
	pair, err := tls.X509KeyPair([]byte(op.text("content", "cert")+"\n"+op.text("content", "ca")), []byte(op.text("content", "pvt")))
	if err != nil {
		return failed(8002, "Unable to set the private key: "+err.Error())
	}
	pool[name] = &pair
	return ok("")
}
