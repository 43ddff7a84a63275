//go:build slow

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/certwright/certwright/host/testca"
)

// acmeShDir is the variable that names the directory dnsapi of acme.sh, whose
// scripts are no part of this tree.
const acmeShDir = "CERTWRIGHT_ACMESH_DNSAPI"

// instance is one of a certificate: a script with its variables.
type instance struct {
	name, zone, script string
	env                []string
}

// One certificate for the base names and wildcards of three zones, by three scripts
// against BIND, PowerDNS and Knot, in every shell: with the scripts of these tests,
// and with acme.sh's if the variable names them.
func TestOneCertificateByThreeScripts(t *testing.T) {
	prefix := install(t)
	named, power, knotd := startServer(t, bind), startServer(t, powerDNS), startServer(t, knot)
	ca, err := testca.Start(t.Context(), testca.Options{
		Zones: map[string]string{zoneOne: named.addr, zoneTwo: power.addr, zoneThree: knotd.addr},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	ours := []instance{
		{"dns-bind", zoneOne, "dns_bindzone", servers["BIND"].env(named, zoneOne)},
		{"dns-power", zoneTwo, "dns_pdnsrest", servers["PowerDNS"].env(power, zoneTwo)},
		{"dns-knot", zoneThree, "dns_knotzone", servers["Knot"].env(knotd, zoneThree)},
	}
	theirs := []instance{
		{"dns-bind", zoneOne, "dns_nsupdate", []string{
			"NSUPDATE_SERVER", named.host(), "NSUPDATE_SERVER_PORT", named.port(), "NSUPDATE_KEY", named.keyFile(zoneOne),
		}},
		{"dns-power", zoneTwo, "dns_pdns", []string{"PDNS_Url", power.api, "PDNS_ServerId", "localhost", "PDNS_Token", power.apiKey}},
		{"dns-knot", zoneThree, "dns_knot", []string{
			"KNOT_SERVER", knotd.host() + " " + knotd.port(), "KNOT_KEY", "hmac-sha256:" + keyOf(zoneThree) + ":" + knotd.secrets[zoneThree],
		}},
	}
	sets := map[string][]instance{scripts(t): ours}
	if dir := os.Getenv(acmeShDir); dir != "" {
		sets[copied(t, dir)] = theirs
	}
	for dir, instances := range sets {
		for _, shell := range shells {
			t.Run(instances[0].script+" "+shell, func(t *testing.T) {
				p := newProgram(t, prefix, ca)
				var args, names []string
				for _, i := range instances {
					for key, value := range map[string]string{"plugin": "dnsapi", "dir": dir, "script": i.script, "shell": shell, "wait": "0s"} {
						args = append(args, "--set", i.name+"."+key+"="+value)
					}
					for n := 0; n < len(i.env); n += 2 {
						args = append(args, "--set", i.name+".env."+i.env[n]+"="+i.env[n+1])
					}
					args = append(args, "-a", i.name, "-d", i.zone, "-d", "*."+i.zone)
					names = append(names, i.zone, "*."+i.zone)
				}
				out := p.obtain(t, nil, args...)
				t.Logf("certwright certonly … %s\n%s", strings.Join(args, " "), out)
				first := p.has(t, names...)
				if out, err := p.run(t, nil, "renew", "-n", "--force-renewal"); err != nil {
					t.Errorf("renew by what the scripts kept: %v\n%s", err, out)
				}
				if second := p.has(t, names...); second.SerialNumber.Cmp(first.SerialNumber) == 0 {
					t.Error("nothing was renewed")
				}
				for zone, s := range map[string]*nameServer{zoneOne: named, zoneTwo: power, zoneThree: knotd} {
					s.holds(t, "_acme-challenge."+zone)
				}
			})
		}
	}
}
