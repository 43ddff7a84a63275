package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/certwright/certwright/host/internal/model"
)

// ParseCSR reads a certificate request (DER or PEM) that was made elsewhere.
func ParseCSR(data []byte) (der []byte, ids []model.Identifier, err error) {
	der, names, err := readCSR(data)
	if err != nil {
		return nil, nil, err
	}
	ids, err = ParseIdentifiers(names)
	return der, ids, err
}

func readCSR(data []byte) (der []byte, names []string, err error) {
	der = data
	if block, _ := pem.Decode(data); block != nil {
		if block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
			return nil, nil, fmt.Errorf("the file holds a %s, not a certificate request", block.Type)
		}
		der = block.Bytes
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, nil, fmt.Errorf("the file is no certificate request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, nil, fmt.Errorf("the request is not signed by its own key: %w", err)
	}
	names = slices.Clone(request.DNSNames)
	for _, ip := range request.IPAddresses {
		names = append(names, ip.String())
	}
	if cn := request.Subject.CommonName; cn != "" && !slices.Contains(names, cn) {
		names = append([]string{cn}, names...)
	}
	if len(names) == 0 {
		return nil, nil, errors.New("the request asks for no name")
	}
	return der, names, nil
}

// parseCSR reads a certificate request and the names that it asks for.
func parseCSR(a Args) (der []byte, names []string, err error) {
	if der, names, err = readCSR(a.CSR); err != nil {
		return nil, nil, err
	}
	switch {
	case len(a.Domains()) > 0:
		return nil, nil, errors.New("the names are those of the request: leave -d out")
	case a.KeyType != "" || a.ReuseKey:
		return nil, nil, errors.New("the key is that of the request: leave --key-type and --reuse-key out")
	case a.MustStaple || a.AllowSubset:
		return nil, nil, errors.New("the request cannot be changed: leave --must-staple and --allow-subset-of-names out")
	}
	return der, names, nil
}
