package main

import (
	"crypto/x509"
	"encoding/pem"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/certwright/certwright/host/testca"
)

// checkRevoked is `[!] revoked FILE [REASON]`: the story's CA has revoked the
// certificate, for the reason of that number.
func checkRevoked(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || len(args) > 2 || neg && len(args) > 1 {
		ts.Fatalf("usage: [!] revoked FILE [REASON]")
	}
	block, _ := pem.Decode([]byte(ts.ReadFile(args[0])))
	if block == nil {
		ts.Fatalf("%s holds no PEM", args[0])
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	ts.Check(err)
	found, _ := cas.Load(ts.Getenv("WORK"))
	ca, ok := found.(*testca.CA)
	if !ok {
		ts.Fatalf("no CA is started")
	}
	reason, revoked := ca.Revoked(leaf.SerialNumber)
	if revoked == neg {
		ts.Fatalf("%s: revoked is %v", args[0], revoked)
	}
	if len(args) > 1 && args[1] != strconv.Itoa(reason) {
		ts.Fatalf("%s is revoked for reason %d, not %s", args[0], reason, args[1])
	}
}
