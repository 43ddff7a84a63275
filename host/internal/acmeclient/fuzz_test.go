package acmeclient

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// Whatever is found as a serial number is an integer that stands in the input as
// it is, and of what x509 can read the right one.
func FuzzSerial(f *testing.F) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	server.Close()
	f.Add(server.Certificate().RawTBSCertificate)
	f.Add([]byte{0x30, 5, 2, 1, 7, 0x30, 0})
	f.Add([]byte{0x30, 11, 0xa0, 3, 2, 1, 2, 2, 2, 0, 0x87, 0x30, 0})
	f.Add([]byte{0x30, 4, 2, 0, 0x30, 0})
	f.Add([]byte{0x30, 0x80, 0xa0, 0x84, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, tbs []byte) {
		serial, err := derSerial(tbs)
		if err != nil {
			return
		}
		if !bytes.Contains(tbs, serial) || len(serial) == 0 {
			t.Errorf("serial %x is not in %x", serial, tbs)
		}
		encoded, err := asn1.Marshal(struct {
			TBS       asn1.RawValue
			Algorithm struct{ ID asn1.ObjectIdentifier }
			Signature asn1.BitString
		}{
			asn1.RawValue{FullBytes: tbs},
			struct{ ID asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
			asn1.BitString{Bytes: []byte{0}, BitLength: 8},
		})
		if err != nil {
			return
		}
		if c, err := x509.ParseCertificate(encoded); err == nil && new(big.Int).SetBytes(serial).Cmp(c.SerialNumber) != 0 {
			t.Errorf("serial %x, x509 reads %x", serial, c.SerialNumber)
		}
	})
}

// Every link is a whole URL, and comes once.
func FuzzLinks(f *testing.F) {
	f.Add(`<https://ca.test/1>;rel="alternate", </2>; title="a, <b>; \"c"; rel="alternate",<3>;REL=alternate`)
	f.Add(`<`)
	f.Add(`<>;rel=alternate,,<>;rel="`)
	f.Add(`<//x>;rel="up alternate";rel=\`)
	f.Fuzz(func(t *testing.T, line string) {
		seen := map[string]bool{}
		for _, link := range links(http.Header{"Link": {line}}, "https://ca.test/dir/cert", "alternate") {
			if u, err := url.Parse(link); err != nil || !u.IsAbs() || seen[link] {
				t.Errorf("link %q of %q, %v", link, line, err)
			}
			seen[link] = true
		}
	})
}
